"""A server in this process, with a thin generator and a second of a made-up video."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from models import Wav2Lip
from tests.conftest import tone, write_video, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.serve.app import create_app
from wav2lip.serve.service import Service
from wav2lip.serve.settings import Settings

HERE = "http://127.0.0.1"
OPTIONS = {"box": [8, 56, 8, 56], "silence": "off"}  # no face is searched for in noise
FRAMES = 10  # of face.mp4, at 25 a second
MANY = 100_000  # requests a minute, for tests that look again and again


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Path:
    """A folder with a thin random generator, 0.4 s of video and of sound, and a minute of sound."""
    folder = tmp_path_factory.mktemp("served")
    torch.manual_seed(0)
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    frames = list(np.random.default_rng(0).integers(0, 255, (FRAMES, 64, 64, 3), np.uint8))
    write_video(folder / "face.mp4", frames)
    write_wav(folder / "sound.wav", tone(0.4))
    write_wav(folder / "minute.wav", tone(60.0))
    write_wav(folder / "seconds.wav", tone(8.0))
    return folder


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What create_app sets for Gradio ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def settings_for(media) -> Callable[..., Settings]:
    """Settings with the thin generator under the name `thin`."""

    def settings(data: Path, **more: object) -> Settings:
        return Settings(**{"checkpoints": {"thin": media / "thin.pth"}, "data": data, "device": "cpu"} | more)  # type: ignore[arg-type]

    return settings


@pytest.fixture
def service(tmp_path, settings_for) -> Iterator[Callable[..., Service]]:
    """Build a service whose workers were not started."""
    with ExitStack() as held:

        def built(**more: object) -> Service:
            one = Service(settings_for(tmp_path / "data", **more))
            held.callback(one.database.close)
            return one

        yield built


@pytest.fixture
def server(tmp_path, settings_for) -> Iterator[Callable[..., TestClient]]:
    """Start the application; returns a client of it, whose service is client.app.state.service."""
    with ExitStack() as held:

        def started(**more: object) -> TestClient:
            app = create_app(settings_for(tmp_path / "data", **more))
            return held.enter_context(TestClient(app, HERE, raise_server_exceptions=False, client=("127.0.0.1", 50000)))

        yield started


def submit(client: TestClient, media: Path, sound: str = "sound.wav", **options: object):  # type: ignore[no-untyped-def]
    """Ask for a job by multipart; the answer."""
    with (media / "face.mp4").open("rb") as face, (media / sound).open("rb") as audio:
        return client.post(
            "/v1/jobs", files={"face": face, "audio": audio}, data={"options": json.dumps(OPTIONS | options)}
        )


def ended(client: TestClient, job_id: str) -> dict:
    """A job once it has ended."""
    for _ in range(10):
        job = client.get(f"/v1/jobs/{job_id}", params={"wait": 10}).json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job
    raise AssertionError(f"does not end: {job}")


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
