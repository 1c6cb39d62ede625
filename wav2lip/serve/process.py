"""What the processes of a server and of a worker share: errors of missing packages, and a bounded shutdown."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from wav2lip.errors import InputError

WEB_PACKAGES = {  # installed by pip install 'wav2lip-toolkit[web]'
    "alembic", "fastapi", "fastapi_offline", "fsspec", "gradio", "h11", "limits", "prometheus_client",
    "python_multipart", "sqlalchemy", "uvicorn", "websockets",
}  # fmt: skip
GRACE_PERIOD_S = 20.0  # until the process ends, whatever a thread waits for; compose.yaml allows 30 s


@contextmanager
def report_missing_package() -> Iterator[None]:
    """Raise InputError with the remedy if a package of the web app is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in WEB_PACKAGES:
            raise
        raise InputError(
            f"{error.name}: is required by the web app, but not installed; pip install 'wav2lip-toolkit[web]'"
        ) from error


def exit_after(seconds: float) -> None:
    """End the process after a time, even if a thread of a library never returns; jobs are re-queued by then."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()
