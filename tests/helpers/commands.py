"""Commands run in the process of the tests, which saves the seconds that importing torch takes in another one."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Callable
from subprocess import CompletedProcess
from unittest import mock


def run_main(main: Callable[[], None], *arguments: object) -> CompletedProcess[str]:
    """Run an entry point with arguments; return its exit code and what it printed and logged.

    An exception other than SystemExit, of which a process would print the traceback, propagates.
    """
    out, err = io.StringIO(), io.StringIO()
    argv = ["command", *map(str, arguments)]
    handler = logging.StreamHandler(err)
    handler.setFormatter(logging.Formatter("%(message)s"))
    code: object = 0
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        logging.getLogger().addHandler(handler)
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            logging.getLogger().removeHandler(handler)
    assert isinstance(code, int)
    return CompletedProcess(argv, code, out.getvalue(), err.getvalue())
