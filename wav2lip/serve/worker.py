"""Run the jobs of servers: python -m wav2lip.serve.worker --database URL --storage URL --checkpoint NAME=FILE"""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from wav2lip.cli import run
from wav2lip.errors import InputError
from wav2lip.serve.process import GRACE_PERIOD_S, exit_after, report_missing_package
from wav2lip.serve.settings import Settings, parse_worker_settings

CHECK_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


def work(argv: list[str] | None = None) -> None:
    """Parse the command line and run jobs until a signal."""
    settings = parse_worker_settings(argv)
    with report_missing_package():
        from wav2lip.serve.service import exclusive_access

        with exclusive_access(settings):
            _work(settings)


def _work(settings: Settings) -> None:
    from wav2lip.serve.service import WorkerService

    stop = threading.Event()

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        exit_after(GRACE_PERIOD_S)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    service = WorkerService(settings)
    service.start()
    log.info("running jobs of %s; Ctrl-C to stop", service.database.engine.url.render_as_string())
    try:
        while not stop.wait(CHECK_INTERVAL_S):
            if service.is_exhausted:
                raise InputError(f"{service.problem}; see the log for the files, and start the worker again")
    finally:
        service.stop()


def main() -> None:
    """Run the entry point."""
    run(work)


if __name__ == "__main__":
    main()
