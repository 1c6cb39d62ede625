"""ReSyncED's videos are prepared as by the paper's script."""

import math

import numpy as np
import pytest

from tests.helpers.media import tone, write_wav
from wav2lip.evaluate import build_parser
from wav2lip.evaluation.dataset import downscale, prepare_resynced, repeat_evenly
from wav2lip.evaluation.protocols import Pair
from wav2lip.evaluation.systems import build_systems
from wav2lip.media import VideoWriter, probe, read_frames


@pytest.mark.parametrize(("size", "expected"), [
    ((1080, 1920), (720, 1280)), ((1920, 1080), (1280, 720)), ((720, 1280), (720, 1280)), ((480, 640), (480, 640)),
])  # fmt: skip
def test_shorter_side_is_limited_to_720(size, expected):
    assert downscale(np.zeros((*size, 3), np.uint8)).shape == (*expected, 3)


@pytest.mark.parametrize("num_frames", [4, 5, 7, 8, 13])
def test_frames_are_repeated_evenly(num_frames):
    repeated = list(repeat_evenly(iter(np.arange(4)), 4, num_frames))
    assert len(repeated) == num_frames
    assert repeated == sorted(repeated)
    counts = np.bincount(repeated, minlength=4)
    assert (counts.min(), counts.max()) == (num_frames // 4, math.ceil(num_frames / 4))


def test_short_video_is_lengthened_for_synthetic_speech(tmp_path):
    face = tmp_path / "face.mp4"
    with VideoWriter(face, 25) as video:
        for shade in range(0, 200, 20):  # 10 frames
            video.write(np.full((64, 48, 3), shade, np.uint8))
    speech = write_wav(tmp_path / "speech.wav", tone(0.7))
    (pair,) = prepare_resynced([Pair(0, face, speech)], tmp_path / "prepared", lengthen=True)
    levels = [round(float(frame.mean()), -1) for frame in read_frames(pair.prepared)]
    assert len(levels) == 18  # 0.7 s at 25 fps, rounded up
    assert sorted(set(levels)) == pytest.approx(list(range(0, 200, 20)), abs=10)
    assert probe(pair.prepared).seconds >= probe(speech).seconds
    for audio, lengthen in ((speech, False), (write_wav(tmp_path / "word.wav", tone(0.3)), True)):
        assert prepare_resynced([Pair(0, face, audio)], tmp_path / "prepared", lengthen)[0].prepared == face


def test_dubbed_videos_are_paired_with_themselves(tmp_path):
    for name in ("b", "a"):
        with VideoWriter(tmp_path / "data" / f"{name}.mp4", 25, write_wav(tmp_path / "x.wav", tone(0.2))) as video:
            for _ in range(5):
                video.write(np.zeros((64, 48, 3), np.uint8))
    args = build_parser().parse_args(
        ["filelist", "--checkpoint_path", "g.pth", "--protocol", "resynced_dubbed", "--data_root",
         str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    )  # fmt: skip
    real, generated = build_systems(args)
    assert [sample.clip for sample in real.samples] == ["a", "b"]
    for sample, name in zip(generated.samples, ("a", "b"), strict=True):
        assert sample.request.face == sample.request.audio == sample.source == tmp_path / "data" / f"{name}.mp4"
        assert sample.request.pads.bottom == 10
