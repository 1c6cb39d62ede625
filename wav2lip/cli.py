"""Entry points: log format, progress, exit codes, and one-line messages instead of tracebacks for user errors."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import distributions

from tqdm import tqdm

from wav2lip.errors import USER_ERRORS

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
OPENCV_WHEELS = (
    "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip
LOGGERS = ("__main__", "configs", "face_detection", "preprocess", "train", "wav2lip")  # logged from INFO on

logger = logging.getLogger(__name__)


def configure_logging() -> None:
    """Log this project's INFO messages and other packages' warnings to standard error, one line each."""
    logging.basicConfig(format="%(message)s")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def exit_with_error(message: object) -> None:
    """Print an error message to standard error and exit with `EXIT_BAD_INPUT`."""
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(EXIT_BAD_INPUT)


def opencv_conflict() -> str | None:
    """Return a sentence about OpenCV wheels that overwrite each other's files; None if there is one wheel."""
    installed = [name for name in OPENCV_WHEELS if any(True for _ in distributions(name=name))]
    if len(installed) < 2:
        return None
    return (
        f"{' and '.join(installed)} are installed and overwrite each other's files; keep one: "
        f'pip uninstall -y {" ".join(installed)}, then pip install "opencv-python-headless<5"'
    )


def run(main: Callable[[], int | None]) -> None:
    """Run an entry point and exit: with its own code or 0, with 2 on a user error, with 130 on Ctrl-C."""
    configure_logging()
    if conflict := opencv_conflict():
        logger.warning("%s", conflict)
    try:
        raise SystemExit(main() or 0)
    except USER_ERRORS as error:
        exit_with_error(error)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        raise SystemExit(EXIT_INTERRUPTED) from None


def join_dashed_file_names(arguments: Sequence[str], file_flags: Collection[str]) -> list[str]:
    """Join a file flag and a name that begins with one dash, which argparse would parse as a flag."""
    words: list[str] = []
    for argument in arguments:
        if words and words[-1] in file_flags and argument.startswith("-") and not argument.startswith("--"):
            words[-1] += f"={argument}"
        else:
            words.append(argument)
    return words


class ProgressBars:
    """One progress bar per stage."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Update the bar of a stage to `done` of `total` frames."""
        if stage != self._stage:
            self.close()
            self._stage, self._bar = stage, tqdm(total=total, desc=stage, unit="frame")
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Close the last bar."""
        if self._bar is not None:
            self._bar.close()
