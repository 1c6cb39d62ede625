"""Inspection of uploads in child processes, so that no file can stop, fill or crash the server."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wav2lip.errors import InputError
from wav2lip.serve.errors import RateLimited, Unavailable
from wav2lip.serve.jobs.limited_process import ProcessLimits, build_command
from wav2lip.serve.jobs.media_validation import MediaInfo, MediaLimits
from wav2lip.serve.settings import Settings

MODULE = "wav2lip.serve.jobs.media_validation"
MAX_PROCESSES = 2  # concurrent processes
MAX_PER_CLIENT = 4  # files of one client, one of which is inspected and the others wait
MEMORY_MIB = 3072  # decoding a frame of the largest size takes 1 GiB
MAX_WAIT_S = 120.0  # limit of the wait for a free process
STOPPING = "the server stops; try again later"

log = logging.getLogger(__name__)


class MediaInspector:
    """Child processes that inspect files, a bounded number at once and one per client."""

    def __init__(self, settings: Settings):
        self._media_limits = MediaLimits(settings.media_seconds, settings.frame_pixels)
        self._timeout_s = settings.inspect_seconds
        self._limits = ProcessLimits(MEMORY_MIB, max(1, round(settings.inspect_seconds)), file_mib=0)
        self._changed = threading.Condition()
        self._pending: Counter[str] = Counter()  # files of each client
        self._running: dict[str, subprocess.Popen[bytes] | None] = {}  # key: client
        self._closed = False

    def inspect(self, client: str, path: Path, name: str) -> MediaInfo:
        """Check a client's file, see `inspect_upload`.

        Raises: InputError for an invalid file or one that takes too much time or memory, RateLimited, Unavailable.
        """
        with self._slot(client):
            answer = self._run(client, path, name)
        if "error" in answer:
            raise InputError(answer["error"])
        return MediaInfo(**answer)

    def close(self) -> None:
        """Kill all processes; files that wait are refused."""
        with self._changed:
            self._closed = True
            for process in self._running.values():
                if process is not None:
                    process.kill()
            self._changed.notify_all()

    @contextmanager
    def _slot(self, client: str) -> Iterator[None]:
        """Wait for a free process inside the limits of a client."""
        deadline = time.monotonic() + MAX_WAIT_S
        with self._changed:
            if self._pending[client] >= MAX_PER_CLIENT:
                raise RateLimited(f"{MAX_PER_CLIENT} of your files are being checked; wait until one is finished")
            self._pending[client] += 1
            try:
                self._changed.wait_for(lambda: self._is_free(client), deadline - time.monotonic())
                if self._closed or not self._is_free(client):
                    raise Unavailable("the server is checking other files; try again later")
                self._running[client] = None
            except BaseException:
                self._forget(client)
                raise
        try:
            yield
        finally:
            with self._changed:
                del self._running[client]
                self._forget(client)
                self._changed.notify_all()

    def _is_free(self, client: str) -> bool:
        return self._closed or (client not in self._running and len(self._running) < MAX_PROCESSES)

    def _forget(self, client: str) -> None:
        self._pending[client] -= 1
        if not self._pending[client]:
            del self._pending[client]

    def _run(self, client: str, path: Path, name: str) -> dict[str, Any]:
        """Return the fields of MediaInfo, or an error."""
        request = json.dumps([str(path), name, asdict(self._media_limits)])
        with self._changed:
            if self._closed:
                raise Unavailable(STOPPING)
            process = self._running[client] = subprocess.Popen(
                build_command(self._limits, MODULE, request), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        with process:
            try:
                output = process.communicate(timeout=self._timeout_s)[0]
            except subprocess.TimeoutExpired:
                return {"error": f"{name}: cannot be checked within {self._timeout_s:g} s; re-encode it"}
            finally:
                process.kill()
        if self._closed:
            raise Unavailable(STOPPING)
        if process.returncode:
            log.warning("the inspection of an upload of %s ended with exit code %d", client, process.returncode)
            return {"error": f"{name}: decoding takes too much memory or time, or crashes the decoder; re-encode it"}
        return json.loads(output)
