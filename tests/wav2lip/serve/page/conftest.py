"""A server in this process that makes lips with a thin generator, and logs of trainings."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("gradio", reason="pip install 'wav2lip-toolkit[web]'")

import uvicorn
from PIL import Image

from models import Wav2Lip
from tests.conftest import tone, write_video, write_wav
from train.watching.monitor import Monitor
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.serve.app import create_app
from wav2lip.serve.settings import Settings

VERDICT = (
    "step 4 | over-fitting: validation rises\n  likely cause: 1 < 2 speakers\n  next, add videos:\n    python -m x"
)


@pytest.fixture(scope="session")
def given(tmp_path_factory, portrait) -> Path:
    """A folder with a thin random generator, a photo, 0.4 s of sound, and a video without any."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    Image.fromarray(portrait).save(folder / "photo.png")
    write_wav(folder / "sound.wav", tone(0.4))
    write_video(folder / "mute.mp4", [portrait] * 2)
    return folder


def write_log(folder: Path, steps: range = range(1, 5)) -> None:
    """What a training leaves: curves, a strip, a verdict."""
    with Monitor(folder) as monitor:
        for step in steps:
            monitor.scalars("train", {"loss": 1 / step, "learning_rate": 1e-3}, step)
        monitor.scalars("val", {"loss": 0.5, "sync": float("nan")}, steps[-1])
        monitor.picture("val", torch.full((3, 4, 6), 0.5), steps[-1])
        monitor.text("verdict", VERDICT, steps[-1])


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder with one training, two folders down."""
    root = tmp_path_factory.mktemp("runs")
    write_log(root / "speakers" / "expert")
    return root


@pytest.fixture(scope="module")
def address(tmp_path_factory, given, runs) -> Iterator[str]:
    """Of a server that runs in this process, with a photo's face found by Haar's cascade."""
    data = tmp_path_factory.mktemp("data")
    settings = Settings({"thin": given / "thin.pth"}, data=data, device="cpu", detector="haar", runs=runs)
    before = dict(os.environ)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), "127.0.0.1", port, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()
    os.environ.clear()
    os.environ.update(before)
