"""The inference command gives a result or one error message for corrupt files of every kind."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from models import Wav2Lip
from tests.helpers.media import tone, write_video, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.media import read_frames
from wav2lip.media.writer import ffmpeg_binary


def write_seeds(folder, portrait):
    """Write small valid videos, audio files, images and weights."""
    seeds = folder / "seeds"
    seeds.mkdir(parents=True)
    audio = write_wav(seeds / "speech.wav", tone(0.4))
    small = np.ascontiguousarray(portrait[30:222:3, 30:222:3])
    frames = [np.roll(small, shift, axis=1) for shift in range(10)]
    for name in ("face.mp4", "face.mkv", "face.avi", "face.mov", "face.ts"):
        write_video(seeds / name, frames, audio=audio)
    for name in ("speech.mp3", "speech.flac", "speech.ogg", "face.gif"):
        source = seeds / ("face.mp4" if name == "face.gif" else "speech.wav")
        subprocess.run([ffmpeg_binary(), "-loglevel", "error", "-i", source, seeds / name], check=True)
    for name in ("face.png", "face.jpg", "face.webp"):
        Image.fromarray(small).save(seeds / name)
    torch.manual_seed(0)
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.0625).state_dict()))
    save_checkpoint(seeds / "weights.pth", Checkpoint(Wav2Lip(width=0.0625).state_dict()))


@pytest.mark.parametrize("count", [42, pytest.param(200, marks=pytest.mark.slow)])
def test_corrupt_file_gives_result_or_one_error(tmp_path, portrait, count):
    write_seeds(tmp_path, portrait)
    program = [sys.executable, "-m", "tests.wav2lip.lipsync.fuzz_inputs", tmp_path, "0", str(count)]
    process = subprocess.run([*map(str, program)], capture_output=True, text=True, timeout=550)
    cases = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(cases) == count, f"died or hung after {cases[-1:]}:\n{process.stderr[-4000:]}"
    assert [case for case in cases if case["code"] not in (0, 2)] == []
    rejected = [case for case in cases if case["code"] == 2]
    assert [case for case in rejected if len(case["errors"]) != 1 or case["errors"][0].count(";") < 1] == []
    assert len(rejected) > count / 10  # the corruption has an effect
    results = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert results == sorted(f"{case['case'].split('_')[0]}.mp4" for case in cases if case["code"] == 0)
    for name in results[::10]:
        assert next(read_frames(tmp_path / "results" / name)).shape[2] == 3
