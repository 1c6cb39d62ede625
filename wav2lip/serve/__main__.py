"""Serve the web page and the HTTP API: python -m wav2lip.serve --checkpoint NAME=FILE"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from types import FrameType

from wav2lip.cli import run
from wav2lip.errors import InputError
from wav2lip.serve.process import GRACE_PERIOD_S, exit_after, report_missing_package
from wav2lip.serve.settings import Settings, parse_settings

SHUTDOWN_TIMEOUT_S = 3  # until open connections are closed

log = logging.getLogger(__name__)


def serve(argv: list[str] | None = None) -> None:
    """Parse the command line, build the application and run it until a signal."""
    settings = parse_settings(argv)
    with report_missing_package():
        from wav2lip.serve.service import exclusive_access

        with exclusive_access(settings):
            _serve(settings)


def _serve(settings: Settings) -> None:
    import uvicorn

    from wav2lip.serve.app import create_app
    from wav2lip.serve.live.messages import MAX_MESSAGE_BYTES
    from wav2lip.serve.middleware.connection_limit import CountedWebSocket, build_protocol

    app = create_app(settings)
    # Called when the server begins to stop.
    app.state.service.on_stop.append(lambda: exit_after(GRACE_PERIOD_S))
    if not settings.no_worker:
        app.state.service.engines.load_all()  # so that an unusable checkpoint fails at start
    with _listen(settings) as listener:
        warn_if_public(settings)
        _use_temp_folder(settings.data.resolve() / "incoming")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _ignore_signal)
        config = uvicorn.Config(
            app, log_level="warning", proxy_headers=settings.proxy is not None, forwarded_allow_ips=settings.proxy,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S, server_header=False, root_path=settings.root_path,
            http=build_protocol(settings), ws="none" if settings.live_faces is None else CountedWebSocket,
            ws_max_size=2 * MAX_MESSAGE_BYTES, ws_per_message_deflate=False,  # JPEG images are compressed
        )  # fmt: skip
        log.info("serving on http://%s:%d/ (API documentation: /docs); Ctrl-C to stop", *listener.getsockname()[:2])
        uvicorn.Server(config).run([listener])


def _ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """Ignore the signal that uvicorn raises again after its shutdown, so that the exit code is 0."""


def _use_temp_folder(folder: Path) -> None:
    """Buffer request bodies in the data folder, because /tmp may be in memory; delete files of a killed server."""
    from wav2lip.serve.jobs.retention import find_temporary

    folder.mkdir(exist_ok=True)
    for path in find_temporary(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # clears the cached path


def warn_if_public(settings: Settings) -> None:
    """Log a warning if other machines can connect without authentication."""
    if not settings.is_loopback and settings.keys is None:
        log.warning(
            "--host=%s without --keys: everyone who can reach this machine can use it and fill its disk; create keys "
            "with python -m wav2lip.serve.auth.api_keys", settings.host,
        )  # fmt: skip


def _listen(settings: Settings) -> socket.socket:
    """Open the server's socket. Raises: InputError if the address cannot be used."""
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host={settings.host} --port={settings.port}: cannot listen ({error}); give another address"
        ) from error


def main() -> None:
    """Run the entry point."""
    run(serve)


if __name__ == "__main__":
    main()
