"""The closed-form expert on synthetic clips."""

import numpy as np
import pytest

from wav2lip.dataset.clip import Clip, ClipWriter
from wav2lip.sync.cca_expert import LOWER_HALF_SIZE, NUM_BANDS, NUM_MOMENTS, CCAExpert, ClipFeatures
from wav2lip.sync.offset import estimate_offset

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def noise_clip(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    with ClipWriter(root, "a/0") as clip:
        for frame in (*range(3, 30), *range(33, 60)):
            clip.write_frame(frame, RNG.integers(0, 255, (96, 96, 3), np.uint8))
        clip.write_audio([RNG.normal(0, 0.1, 60 * 640).astype(np.float32)])
    return Clip.open(root / "a/0")


def make_features(lag, seed, frames=150):
    """Features of a mouth that is bright while its audio is loud."""
    rng = np.random.default_rng(seed)
    loud = np.convolve(rng.normal(size=frames + 60), np.ones(3) / 3, "same")
    width, height = LOWER_HALF_SIZE
    images = rng.normal(120, 4, (frames, height, width))
    images[:, 8:16, 18:30] += 25 * loud[30 : 30 + frames, None, None] + rng.uniform(-30, 30)
    starts = range(28, 28 + NUM_MOMENTS)  # from 2 moments before the frame
    audio = np.stack([np.roll(loud, lag)[start : start + frames] for start in starts], axis=1)
    audio = np.tile(audio + rng.normal(0, 0.3, audio.shape), NUM_BANDS)
    return ClipFeatures(np.arange(frames), images.clip(0, 255).astype(np.uint8), audio.astype(np.float16))


def test_expert_finds_the_offset_of_an_unseen_face():
    expert = CCAExpert.fit([make_features(0, seed) for seed in range(6)], [0] * 6)
    negatives = [expert.embed_features(make_features(0, seed)).audio for seed in range(6)]
    estimate = estimate_offset(expert.embed_features(make_features(7, 99)), negatives)
    assert estimate.offset == 7
    assert estimate.confidence > 8


def test_fit_aligns_clips_by_their_offsets():
    clips = [make_features(lag, seed) for seed, lag in enumerate((5, -4, 9, 0, -8, 3))]
    expert = CCAExpert.fit(clips, [5, -4, 9, 0, -8, 3])
    negatives = [expert.embed_features(clip).audio for clip in clips]
    assert estimate_offset(expert.embed_features(make_features(-6, 99)), negatives).offset == -6


def test_features_have_a_row_of_audio_for_each_frame(noise_clip):
    features = ClipFeatures.from_clip(noise_clip)
    assert features.frames.tolist() == noise_clip.frames.tolist()  # from frame 0: frame 3 is within MAX_SHIFT
    assert features.starts.tolist() == [*range(3, 26), *range(33, 56)]
    assert features.audio.shape == (60 - 4, NUM_BANDS * NUM_MOMENTS)  # the last 0.2 s begin with frame 55
