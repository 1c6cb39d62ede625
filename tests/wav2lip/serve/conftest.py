"""Fixtures of the server: media, a small generator, services and test clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from models import Wav2Lip
from tests.helpers.media import tone, write_video, write_wav
from tests.helpers.serve import BASE_URL, FRAMES
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import InputError
from wav2lip.serve.app import create_app
from wav2lip.serve.auth.api_keys import manage_keys
from wav2lip.serve.jobs.inspection import MediaInspector
from wav2lip.serve.jobs.job import Job
from wav2lip.serve.jobs.media_validation import inspect_upload
from wav2lip.serve.jobs.options import parse_job_options
from wav2lip.serve.service import Service
from wav2lip.serve.settings import Settings


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Path:
    """Folder with a random generator of width 1/8, 0.4 s of video and audio, and longer audio files."""
    folder = tmp_path_factory.mktemp("served")
    torch.manual_seed(0)
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    frames = list(np.random.default_rng(0).integers(0, 255, (FRAMES, 64, 64, 3), np.uint8))
    write_video(folder / "face.mp4", frames)
    write_wav(folder / "audio.wav", tone(0.4))
    write_wav(folder / "minute.wav", tone(60.0))
    write_wav(folder / "seconds.wav", tone(8.0))
    write_wav(folder / "long.wav", tone(30.0))  # its job still runs when a slow client has sent another
    return folder


@pytest.fixture(autouse=True)
def restore_environment() -> Iterator[None]:
    """Undo the environment variables that create_app sets for Gradio."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def child_processes() -> None:
    """Inspect uploads in child processes, as a server does; other tests save the 0.3 s of their start."""


@pytest.fixture(autouse=True)
def inspect_in_process(request, monkeypatch) -> None:
    """Inspect uploads in this process unless the test requests `child_processes`."""
    if "child_processes" not in request.fixturenames:
        monkeypatch.setattr(MediaInspector, "_run", inspect_here)


def inspect_here(inspector: MediaInspector, _client: str, path: Path, name: str) -> dict[str, object]:
    try:
        return asdict(inspect_upload(path, name, inspector._media_limits))
    except InputError as error:
        return {"error": str(error)}


@pytest.fixture(scope="session")
def make_settings(media) -> Callable[..., Settings]:
    """Build settings with the small generator under the name `thin`."""

    def make(data: Path, **settings: object) -> Settings:
        return Settings(**{"checkpoints": {"thin": media / "thin.pth"}, "data": data, "device": "cpu"} | settings)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_service(tmp_path, make_settings) -> Iterator[Callable[..., Service]]:
    """Build a service whose workers are not started."""
    with ExitStack() as stack:

        def make(**settings: object) -> Service:
            service = Service(make_settings(tmp_path / "data", **settings))
            stack.callback(service.database.close)
            return service

        yield make


@pytest.fixture
def start_server(tmp_path, make_settings) -> Iterator[Callable[..., TestClient]]:
    """Start the application; returns its test client, whose service is client.app.state.service."""
    with ExitStack() as stack:

        def start(**settings: object) -> TestClient:
            app = create_app(make_settings(tmp_path / "data", **settings))
            return stack.enter_context(
                TestClient(app, BASE_URL, raise_server_exceptions=False, client=("127.0.0.1", 50000))
            )

        yield start


@pytest.fixture
def key_file(tmp_path, capsys) -> tuple[Path, dict[str, str]]:
    """File with keys of ann and bob, and the keys by name."""
    path, keys = tmp_path / "keys", {}
    for name in ("ann", "bob"):
        manage_keys(["add", name, "--file", str(path)])
        keys[name] = capsys.readouterr().out.strip()
    return path, keys


@pytest.fixture
def add_job(media) -> Callable[..., Job]:
    """Upload the test files and submit a job in a client's name."""

    def add(service: Service, client: str = "ann", **options: object) -> Job:
        face = service.uploads.save(client, media / "face.mp4", "face.mp4", "face")
        audio = service.uploads.save(client, media / "audio.wav", "audio.wav", "audio")
        return service.jobs.submit(client, face, audio, "", parse_job_options(options))

    return add
