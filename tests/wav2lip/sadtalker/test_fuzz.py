"""Corrupt photos, videos, audio files, landmarks and prepared faces: each ends in a video or in one sentence."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.helpers.media import noise, write_video, write_wav
from tests.helpers.talking_head import tiny_sadtalker
from tests.wav2lip.lipsync.fuzz_inputs import AUDIO_SUFFIXES, write_case
from wav2lip.cli import run
from wav2lip.media.writer import ffmpeg_binary
from wav2lip.sadtalker import SadTalker
from wav2lip.sadtalker.__main__ import animate

SLOW_CASES = range(50), range(50, 100), range(100, 150), range(150, 200)


def write_seeds(folder, portrait):
    """Write valid files of every kind."""
    folder.mkdir()
    photo = np.ascontiguousarray(portrait[::2, ::2])
    for name in ("photo.png", "photo.jpg", "photo.webp"):
        Image.fromarray(photo).save(folder / name)
    speech = write_wav(folder / "speech.wav", noise(0.12))
    for name in ("speech.mp3", "speech.flac", "speech.ogg"):
        subprocess.run([ffmpeg_binary(), "-loglevel", "error", "-i", speech, folder / name], check=True)
    write_video(folder / "face.mp4", [photo] * 3, audio=speech)
    np.savetxt(folder / "points.txt", [[52, 47], [72, 46], [64, 59], [56, 72], [73, 71]], "%.1f")
    tiny_sadtalker().prepare(photo, note="CC0").save(folder / "face.w2l")


def flags(seeds, corrupt, number):
    """Return the inputs of a case: the corrupt file in its place, valid files in the others."""
    names = {"--source_image": seeds / "photo.png", "--driven_audio": seeds / "speech.wav"}
    if corrupt.suffix in AUDIO_SUFFIXES:
        names["--driven_audio"] = corrupt
    elif corrupt.suffix == ".txt":
        names["--points"] = corrupt
    elif corrupt.suffix == ".mp4":
        places = ("--source_image", "--driven_audio", "--ref_pose", "--ref_eyeblink", "--ref_video")
        names[places[number // 10 % len(places)]] = corrupt
    else:
        names["--source_image"] = corrupt
    return [str(word) for pair in names.items() for word in pair]


@pytest.mark.parametrize("cases", [range(10), *(pytest.param(c, marks=pytest.mark.slow) for c in SLOW_CASES)], ids=str)
def test_corrupt_file_gives_a_video_or_one_sentence(tmp_path, portrait, monkeypatch, capsys, cases):
    write_seeds(tmp_path / "seeds", portrait)
    engine = tiny_sadtalker()
    monkeypatch.setattr(SadTalker, "from_checkpoint", lambda *arguments: engine)
    codes = []
    for number in cases:
        corrupt = write_case(tmp_path, number)
        outfile = tmp_path / f"result{number}.mp4"
        words = [*flags(tmp_path / "seeds", corrupt, number), "--outfile", str(outfile), "--no_cache"]
        with pytest.raises(SystemExit) as end:  # any other exception is a finding
            run(lambda words=words: animate(words))
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        codes.append(end.value.code)
        assert (end.value.code, len(errors)) in ((0, 0), (2, 1)), (corrupt.name, errors)
        assert outfile.is_file() == (end.value.code == 0), corrupt.name
    assert set(codes) == {0, 2}  # the corruption has an effect, and some files are still usable
