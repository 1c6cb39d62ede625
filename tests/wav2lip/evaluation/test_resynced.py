"""ReSyncED's videos are shown to the generator as the paper's script shows them."""

import math

import numpy as np
import pytest

from tests.conftest import tone, write_wav
from wav2lip.evaluate import build_parser
from wav2lip.evaluation.lists import Pair
from wav2lip.evaluation.resynced import lengthened, made_ready, scaled
from wav2lip.media import VideoWriter, probe, read_frames


@pytest.mark.parametrize(("size", "wanted"), [
    ((1080, 1920), (720, 1280)), ((1920, 1080), (1280, 720)), ((720, 1280), (720, 1280)), ((480, 640), (480, 640)),
])  # fmt: skip
def test_only_a_short_side_above_720_is_scaled_down(size, wanted):
    assert scaled(np.zeros((*size, 3), np.uint8)).shape == (*wanted, 3)


@pytest.mark.parametrize("wanted", [4, 5, 7, 8, 13])
def test_a_video_is_lengthened_by_showing_its_frames_equally_often_or_once_more(wanted):
    shown = list(lengthened(iter(np.arange(4)), 4, wanted))
    assert len(shown) == wanted
    assert shown == sorted(shown)
    times = np.bincount(shown, minlength=4)
    assert (times.min(), times.max()) == (wanted // 4, math.ceil(wanted / 4))


def test_a_short_video_lasts_as_long_as_synthetic_speech_and_others_are_shown_as_they_are(tmp_path):
    face = tmp_path / "face.mp4"
    with VideoWriter(face, 25) as video:
        for shade in range(0, 200, 20):  # 10 frames
            video.write(np.full((64, 48, 3), shade, np.uint8))
    speech = write_wav(tmp_path / "speech.wav", tone(0.7))
    (pair,) = made_ready([Pair(0, face, speech)], tmp_path / "shown", lengthen=True)
    shown = [round(float(frame.mean()), -1) for frame in read_frames(pair.shown)]
    assert len(shown) == 18  # 0.7 s at 25 frames a second, rounded up
    assert sorted(set(shown)) == pytest.approx(list(range(0, 200, 20)), abs=10)
    assert probe(pair.shown).seconds >= probe(speech).seconds
    for other, lengthen in ((speech, False), (write_wav(tmp_path / "word.wav", tone(0.3)), True)):
        assert made_ready([Pair(0, face, other)], tmp_path / "shown", lengthen)[0].shown == face


def test_dubbed_videos_are_each_paired_with_themselves(tmp_path):
    for name in ("b", "a"):
        with VideoWriter(tmp_path / "data" / f"{name}.mp4", 25, write_wav(tmp_path / "x.wav", tone(0.2))) as video:
            for _ in range(5):
                video.write(np.zeros((64, 48, 3), np.uint8))
    args = build_parser().parse_args(
        ["filelist", "--checkpoint_path", "g.pth", "--protocol", "resynced_dubbed", "--data_root",
         str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    )  # fmt: skip
    real, made = args.work(args)
    assert [take.clip for take in real.takes] == ["a", "b"]
    for take, name in zip(made.takes, ("a", "b"), strict=True):
        assert take.order.face == take.order.audio == take.source == tmp_path / "data" / f"{name}.mp4"
        assert take.order.pads.bottom == 10
