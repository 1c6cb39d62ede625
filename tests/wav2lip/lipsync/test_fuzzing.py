"""Damaged files of every kind end inference with a result or with one sentence, never otherwise."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from models import Wav2Lip
from tests.conftest import tone, write_video, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.media import read_frames
from wav2lip.media.writer import ffmpeg_binary


def whole_files(folder, portrait):
    """What is damaged afterwards: videos, sounds, pictures and weights, small ones."""
    seeds = folder / "seeds"
    seeds.mkdir(parents=True)
    sound = write_wav(seeds / "speech.wav", tone(0.4))
    small = np.ascontiguousarray(portrait[30:222:3, 30:222:3])
    frames = [np.roll(small, shift, axis=1) for shift in range(10)]
    for name in ("face.mp4", "face.mkv", "face.avi", "face.mov", "face.ts"):
        write_video(seeds / name, frames, audio=sound)
    for name in ("speech.mp3", "speech.flac", "speech.ogg", "face.gif"):
        given = seeds / ("face.mp4" if name == "face.gif" else "speech.wav")
        subprocess.run([ffmpeg_binary(), "-loglevel", "error", "-i", given, seeds / name], check=True)
    for name in ("face.png", "face.jpg", "face.webp"):
        Image.fromarray(small).save(seeds / name)
    torch.manual_seed(0)
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.0625).state_dict()))
    save_checkpoint(seeds / "weights.pth", Checkpoint(Wav2Lip(width=0.0625).state_dict()))


@pytest.mark.parametrize("count", [42, pytest.param(500, marks=pytest.mark.slow)])
def test_a_damaged_file_gives_a_result_or_one_sentence(tmp_path, portrait, count):
    whole_files(tmp_path, portrait)
    program = [sys.executable, "-m", "tests.wav2lip.lipsync.fuzzing", tmp_path, "0", str(count)]
    done = subprocess.run([*map(str, program)], capture_output=True, text=True, timeout=550)
    tried = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(tried) == count, f"it died or hung after {tried[-1:]}:\n{done.stderr[-4000:]}"
    assert [case for case in tried if case["code"] not in (0, 2)] == []
    refused = [case for case in tried if case["code"] == 2]
    assert [case for case in refused if len(case["errors"]) != 1 or case["errors"][0].count(";") < 1] == []
    assert len(refused) > count / 10  # the damage is not all harmless
    made = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert made == sorted(f"{case['case'].split('_')[0]}.mp4" for case in tried if case["code"] == 0)
    for name in made[::10]:
        assert next(read_frames(tmp_path / "results" / name)).shape[2] == 3
