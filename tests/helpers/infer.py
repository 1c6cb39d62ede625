"""Inputs of the inference command, valid and invalid, and runs of it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from tests.helpers.media import ffmpeg, tone, write_video, write_wav
from wav2lip import infer
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.cli import run

BOX = ["--box", "8", "56", "8", "56"]
OLD_RESULT = b"an older result"


def write_inputs(folder: Path) -> Path:
    """Write thin random checkpoints, one second of video and audio, and files with every kind of fault."""
    torch.manual_seed(0)
    for name, network in {"generator": Wav2Lip(width=0.125), "expert": SyncNet(width=0.125),
                          "discriminator": VisualQualityDiscriminator(width=0.125)}.items():  # fmt: skip
        save_checkpoint(folder / f"{name}.pth", Checkpoint(network.state_dict()))
    frames = list(np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), np.uint8))
    audio = write_wav(folder / "audio.wav", tone(1.0))
    video = write_video(folder / "face.mp4", frames, audio=audio)
    write_video(folder / "silent.mp4", frames[:3])
    content, last = video.read_bytes(), folder / "last.mp4"
    ffmpeg("-i", video, "-c", "copy", last)
    (folder / "cut_last.mp4").write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    (folder / "cut_front.mp4").write_bytes(content[: len(content) // 3])
    for name in ("text.mp4", "text.wav", "text.png", "text.pth"):
        (folder / name).write_text("Dear diary,\n" * 30)
    for name in ("empty.mp4", "empty.wav", "empty.png", "empty.pth"):
        (folder / name).write_bytes(b"")
    write_wav(folder / "nothing.wav", np.zeros(0))
    (folder / "nan.wav").write_bytes(float_wav([0.1] * 8000 + [float("nan")] + [0.1] * 8000))
    Image.fromarray(frames[0]).save(folder / "face.png")
    (folder / "cut.png").write_bytes((folder / "face.png").read_bytes()[:3000])
    (folder / "a folder.mp4").mkdir()
    return folder


def float_wav(values: list[float]) -> bytes:
    """A WAV file of 32-bit floats at 16 kHz."""
    data = np.array(values, "<f4").tobytes()
    form = np.array([3, 1], "<u2").tobytes() + np.array([16_000, 64_000], "<u4").tobytes()
    form += np.array([4, 32], "<u2").tobytes()
    chunks = b"WAVEfmt " + np.uint32(16).tobytes() + form + b"data" + np.uint32(len(data)).tobytes() + data
    return b"RIFF" + np.uint32(len(chunks)).tobytes() + chunks


def command_line(media: Path, out: Path, **flags: object) -> list[str]:
    """Return a valid command line, changed by the flags."""
    values = {"checkpoint_path": media / "generator.pth", "face": media / "face.mp4", "audio": media / "audio.wav",
             "outfile": out, "device": "cpu"} | flags  # fmt: skip
    return [argument for flag, value in values.items() if value is not None for argument in (f"--{flag}", str(value))]


def run_command(argv: list[str]) -> None:
    """Run the command and check that it succeeds."""
    with pytest.raises(SystemExit) as raised:
        run(lambda: infer.infer(argv))
    assert raised.value.code == 0


class DecodedVideo:
    """A video decoded by PyAV."""

    def __init__(self, path: Path):
        with av.open(str(path)) as file:
            self.fps = file.streams.video[0].average_rate
            self.images = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]

    def __len__(self) -> int:
        return len(self.images)
