"""Cuts are where the picture changes at once, and nowhere else."""

import numpy as np
import pytest
import skimage.data

from preprocess.settings import ShotSettings
from preprocess.shots import find_cuts
from wav2lip.media import read_frames


def shot(picture, frames):
    """A camera that pans over a picture by two pixels a frame."""
    return [np.ascontiguousarray(np.roll(picture, 2 * n, axis=1)[:200, :300]) for n in range(frames)]


@pytest.fixture(scope="module")
def pictures():
    return [skimage.data.astronaut(), skimage.data.coffee()[:, :512], skimage.data.chelsea()]


def test_a_new_shot_begins_where_the_picture_changes(pictures):
    a, b, c = pictures
    frames = shot(a, 30) + shot(b, 40) + shot(c, 12) + shot(a, 20)
    assert find_cuts(frames, ShotSettings()) == [30, 70, 82]


def test_a_pan_and_a_slow_fade_of_light_are_no_cuts(pictures):
    frames = [np.uint8(frame * (1 - n / 120)) for n, frame in enumerate(shot(pictures[0], 60))]
    assert find_cuts(frames, ShotSettings()) == []


def test_nothing_and_a_single_frame_have_no_cuts(pictures):
    assert find_cuts([], ShotSettings()) == []
    assert find_cuts(shot(pictures[0], 1), ShotSettings()) == []


@pytest.mark.parametrize("name", ["speaker_a_512_25fps.mp4", "speaker_b_700_vfr.mp4", "speaker_d_524_25fps.mp4"])
def test_a_real_talking_head_is_one_shot(shared_media, name):
    assert find_cuts(read_frames(shared_media / name, 25), ShotSettings()) == []


def test_two_real_speakers_one_after_the_other_are_two_shots(shared_media):
    frames = [
        [frame[:400, :400] for frame in read_frames(shared_media / name, 25, last=50)]
        for name in ("speaker_a_512_25fps.mp4", "speaker_d_524_25fps.mp4")
    ]
    assert find_cuts(frames[0] + frames[1], ShotSettings()) == [50]
