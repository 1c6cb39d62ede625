"""Commands of the toolkit run from a notebook, with their output streamed into the cell."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from wav2lip.errors import InputError

TAIL_CHARACTERS = 4096  # end of the output that is searched for the error message
READ_BYTES = 65_536


def run_command(module: str, *arguments: str | Path, ok_codes: Collection[int] = (0,)) -> int:
    """Run `python -m MODULE` as in a terminal, stream its output and return its exit code.

    Raises: InputError with the last line of output for an exit code outside ok_codes, or if the cell was interrupted;
        a trainer has saved a checkpoint by then.
    """
    sys.stdout.write(f"$ python -m {module} {shlex.join(map(str, arguments))}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
    )
    try:
        output = _stream_output(process)
    except KeyboardInterrupt:
        # The notebook may have sent SIGINT to the command too; a trainer handles one signal of each kind.
        process.terminate()
        _stream_output(process)
        process.wait()
        raise InputError(f"{module} was stopped; run this cell again to resume") from None
    if process.wait() not in ok_codes:
        raise InputError(last_line(output) or f"{module} exited with code {process.returncode}")
    return process.returncode


def last_line(output: str) -> str:
    """Return the last non-empty line without its "error: "; a progress bar counts in its last state."""
    lines = [line.strip() for line in re.split(r"[\r\n]", output)]
    return next((line.removeprefix("error: ") for line in reversed(lines) if line), "")


def _stream_output(process: subprocess.Popen[bytes]) -> str:
    """Copy the output to the cell as it arrives; return its end."""
    assert process.stdout is not None  # opened with a pipe
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    tail = ""
    while chunk := os.read(process.stdout.fileno(), READ_BYTES):
        text = decoder.decode(chunk)
        sys.stdout.write(text)
        sys.stdout.flush()
        tail = (tail + text)[-TAIL_CHARACTERS:]
    return tail
