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

from wav2lip import mps_fallback  # noqa: F401  # before torch
from wav2lip.errors import InputError, run
from wav2lip.serve.settings import Settings, parse

WEB = {  # what pip install 'wav2lip-toolkit[web]' brings
    "alembic", "fastapi", "fastapi_offline", "gradio", "limits", "prometheus_client", "python_multipart", "sqlalchemy",
    "uvicorn",
}  # fmt: skip
GOODBYE = 3  # seconds that open connections have to end after the server was told to stop

log = logging.getLogger(__name__)


def serve(argv: list[str] | None = None) -> None:
    """Parse, build, run."""
    settings = parse(argv)
    try:
        from wav2lip.serve.service import claimed

        with claimed(settings):
            _serve(settings)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in WEB:
            raise
        raise InputError(
            f"the web app needs {error.name}, which is not installed; pip install 'wav2lip-toolkit[web]'"
        ) from error


def _serve(settings: Settings) -> None:
    import uvicorn

    from wav2lip.serve.app import create_app

    app = create_app(settings)
    app.state.service.generators.load_all()  # a file that cannot be used is said now
    with _listen(settings) as listening:
        warn_of_openness(settings)
        _keep_temporary_files_in(settings.data.resolve() / "coming")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _done)
        config = uvicorn.Config(
            app, log_level="warning", proxy_headers=settings.proxy is not None,
            forwarded_allow_ips=settings.proxy, timeout_graceful_shutdown=GOODBYE, server_header=False,
        )  # fmt: skip
        log.info("http://%s:%d/ is the page, /docs explains the API; Ctrl-C stops", *listening.getsockname()[:2])
        uvicorn.Server(config).run([listening])


def _done(_number: int, _frame: FrameType | None) -> None:
    """uvicorn hears signals while it runs and, once it has stopped for one, raises it again: that is an orderly end."""


def _keep_temporary_files_in(folder: Path) -> None:
    """Bodies of requests wait on the disk of the data folder: /tmp may be memory. What a killed server left goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # it is looked up anew


def warn_of_openness(settings: Settings) -> None:
    """Say so where everyone who reaches the server may use it."""
    if not settings.on_loopback and settings.keys is None:
        log.warning(
            "--host %s without --keys: whoever reaches this machine may use it and fill its disk; make keys with "
            "python -m wav2lip.serve.keys", settings.host,
        )  # fmt: skip


def _listen(settings: Settings) -> socket.socket:
    """Raises: InputError if nothing can listen there."""
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        raise InputError(f"--host {settings.host} --port {settings.port}: {error}; give another one") from error


def main() -> None:
    """Entry point."""
    run(serve)


if __name__ == "__main__":
    main()
