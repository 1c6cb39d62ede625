"""Shot boundaries."""

import numpy as np
import pytest
import skimage.data

from preprocess.config import ShotSettings
from preprocess.stages.shots import detect_boundaries
from wav2lip.media import read_frames


def shot(image, frames):
    """Return frames of a camera that pans over an image by two pixels per frame."""
    return [np.ascontiguousarray(np.roll(image, 2 * n, axis=1)[:200, :300]) for n in range(frames)]


@pytest.fixture(scope="module")
def images():
    return [skimage.data.astronaut(), skimage.data.coffee()[:, :512], skimage.data.chelsea()]


def test_boundaries_are_at_content_changes(images):
    a, b, c = images
    frames = shot(a, 30) + shot(b, 40) + shot(c, 12) + shot(a, 20)
    assert detect_boundaries(frames, ShotSettings()) == [30, 70, 82]


def test_pan_and_slow_fade_have_no_boundary(images):
    frames = [np.uint8(frame * (1 - n / 120)) for n, frame in enumerate(shot(images[0], 60))]
    assert detect_boundaries(frames, ShotSettings()) == []


def test_empty_and_single_frame_have_no_boundary(images):
    assert detect_boundaries([], ShotSettings()) == []
    assert detect_boundaries(shot(images[0], 1), ShotSettings()) == []


@pytest.mark.parametrize("name", ["speaker_a_512_25fps.mp4", "speaker_b_700_vfr.mp4", "speaker_d_524_25fps.mp4"])
def test_real_talking_head_is_one_shot(shared_media, name):
    assert detect_boundaries(read_frames(shared_media / name, 25), ShotSettings()) == []


def test_two_real_speakers_are_two_shots(shared_media):
    frames = [
        [frame[:400, :400] for frame in read_frames(shared_media / name, 25, last=50)]
        for name in ("speaker_a_512_25fps.mp4", "speaker_d_524_25fps.mp4")
    ]
    assert detect_boundaries(frames[0] + frames[1], ShotSettings()) == [50]
