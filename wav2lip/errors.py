"""What a user can cause and mend: one sentence on the terminal, exit code 2, no traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from face_detection.interface import DetectorError

BAD_INPUT = 2  # exit code


class InputError(Exception):
    """One sentence that names the thing, says what is wrong with it and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook: the sentence, no traceback."""
        return [f"error: {self}"]


OURS = ("__main__", "configs", "face_detection", "preprocess", "train", "wav2lip")  # whose news a user wants to read
# What entry points turn into a sentence; everything else is a fault of ours and keeps its traceback.
USER_ERRORS = (InputError, DetectorError)


def exit_with(sentence: object) -> None:
    """Print one sentence to standard error and leave with the exit code for bad input."""
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(BAD_INPUT)


def log_to_terminal() -> None:
    """Print this project's news, and the warnings of others, one line each."""
    logging.basicConfig(format="%(message)s")
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def run(main: Callable[[], int | None]) -> None:
    """Run an entry point: exit code 0, or its own, or 2 and a sentence, or 130 after Ctrl-C."""
    log_to_terminal()
    try:
        raise SystemExit(main() or 0)
    except USER_ERRORS as error:
        exit_with(error)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        raise SystemExit(130) from None
