"""Client calls and constants that tests of the server share."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from PIL import Image

from wav2lip.serve.jobs.job import Job
from wav2lip.serve.jobs.queue import result_key, result_name
from wav2lip.serve.jobs.uploads import Upload, UploadStore
from wav2lip.serve.service import Service

BASE_URL = "http://127.0.0.1"
OPTIONS = {"box": [8, 56, 8, 56], "silence": "off"}  # no detection, as the test video is noise
FRAMES = 10  # of face.mp4, at 25 fps
UNLIMITED = 100_000  # requests per minute, for tests that poll


def submit_job(client: httpx.Client, media: Path, audio_name: str = "audio.wav", **options: object) -> httpx.Response:
    """Submit a job of two files as multipart form."""
    with (media / "face.mp4").open("rb") as face, (media / audio_name).open("rb") as audio:
        return client.post(
            "/v1/jobs", files={"face": face, "audio": audio}, data={"options": json.dumps(OPTIONS | options)}
        )


def wait_for_end(client: httpx.Client, job_id: str) -> dict:
    """Poll a job over HTTP until it is finished."""
    for _ in range(10):
        job = client.get(f"/v1/jobs/{job_id}", params={"wait": 10}).json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job
    raise AssertionError(f"job does not finish: {job}")


def wait_for_job(service: Service, client: str, job_id: str, timeout_s: float = 60.0) -> Job:
    """Poll a job of a service in this process until it is finished."""
    deadline = time.monotonic() + timeout_s
    while not (job := service.jobs.get(client, job_id)).is_finished:
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def result_path(service: Service, job: Job) -> Path:
    """Return the local path of the result of a job's current run."""
    return service.storage.path(result_key(result_name(job)))


def bearer(key: str) -> dict[str, str]:
    """Build the header that authenticates with a key."""
    return {"Authorization": f"Bearer {key}"}


def list_files(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def find_free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server_thread(app: FastAPI, **options: object) -> Iterator[str]:
    """Serve an application in a thread of this process inside the block; yields its URL. options: of uvicorn."""
    port = find_free_port()
    config = uvicorn.Config(app, "127.0.0.1", port, log_level="warning", timeout_graceful_shutdown=1, **options)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()


def png_bytes(size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a PNG file of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "PNG")
    return file.getvalue()


def save_upload(uploads: UploadStore, content: bytes, name: str = "a file", kind: str = "any") -> Upload:
    """Save a file in the name of ann."""
    return uploads.save("ann", io.BytesIO(content), name, kind)


class ServerProcess:
    """Server process on a free port, and an HTTP client of it."""

    def __init__(self, media: Path, data: Path, *flags: str):
        arguments = ["--checkpoint", f"thin={media / 'thin.pth'}", "--data", str(data), "--port", "0",
                     "--device", "cpu", "--requests_per_minute", str(UNLIMITED)]  # fmt: skip
        self.process = subprocess.Popen([sys.executable, "-m", "wav2lip.serve", *arguments, *flags],
                                        stderr=subprocess.PIPE, text=True)  # fmt: skip
        assert self.process.stderr is not None
        lines: list[str] = []
        for line in self.process.stderr:
            lines.append(line)
            if match := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(match[1])
                break
        else:
            raise AssertionError("".join(lines))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def stop(self, number: signal.Signals) -> int:
        self.client.close()
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def server_process(media: Path, data: Path, *flags: str) -> Iterator[ServerProcess]:
    server = ServerProcess(media, data, *flags)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
        server.process.stderr.close()  # type: ignore[union-attr]
