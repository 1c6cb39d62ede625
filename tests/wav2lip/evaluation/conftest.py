"""A synthetic talking head, and an untrained expert and generator: enough to run everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import SyncNet, Wav2Lip
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.dataset.clip import ClipWriter
from wav2lip.synthetic import Speaker, encode_video, render, speak

SECONDS = 1.6  # a curve requires 1.5


@pytest.fixture(scope="package")
def talking_heads(tmp_path_factory) -> Path:
    """A folder of two videos, of two speakers: a.mp4 and b/c.mp4."""
    folder = tmp_path_factory.mktemp("talking")
    for seed, name in enumerate(("a", "b/c")):
        speaker = Speaker.from_seed(seed)
        speech = speak(SECONDS, speaker, seed)
        encode_video(folder / f"{name}.mp4", render(speech, speaker, seed), speech.wav)
    return folder


def save_network(network: torch.nn.Module, path: Path) -> Path:
    """A checkpoint of a network as it is."""
    save_checkpoint(path, Checkpoint(network.state_dict()))
    return path


@pytest.fixture(scope="package")
def expert_file(tmp_path_factory) -> Path:
    """An untrained expert."""
    torch.manual_seed(0)
    return save_network(SyncNet(width=0.125), tmp_path_factory.mktemp("expert") / "expert.pth")


@pytest.fixture(scope="package")
def generator_files(tmp_path_factory) -> tuple[Path, Path]:
    """Two untrained generators."""
    folder = tmp_path_factory.mktemp("generators")
    files = []
    for seed in range(2):
        torch.manual_seed(seed)
        files.append(save_network(Wav2Lip(width=0.125), folder / f"generator_{seed}.pth"))
    return files[0], files[1]


@pytest.fixture(scope="package")
def data_root(tmp_path_factory) -> Path:
    """A data set with two clips of faces in val.txt; the second has a gap."""
    root = tmp_path_factory.mktemp("data")
    for seed, frames in enumerate((range(50), [*range(3), *range(5, 57)])):
        speaker = Speaker.from_seed(seed)
        speech = speak(2.4, speaker, seed)
        with ClipWriter(root, f"speaker/{seed}") as clip:
            for number, frame in enumerate(render(speech, speaker, seed)):
                if number in frames:
                    clip.write_frame(number, np.ascontiguousarray(frame[60:210, 50:200]))
            clip.write_audio([speech.wav])
    (root / "filelists").mkdir()
    (root / "filelists/val.txt").write_text("speaker/0\nspeaker/1\n")
    return root
