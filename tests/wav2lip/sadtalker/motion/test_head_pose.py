"""Head pose: the reference's blocks, and blocks that are joined without a jump."""

import itertools

import numpy as np
import pytest

from tests.helpers.goldens import tensor
from tests.helpers.sadtalker import golden, load
from wav2lip.sadtalker.motion.head_pose import close_loop, predict_pose, smooth_pose
from wav2lip.sadtalker.networks import TorchHeadNetworks

REFERENCE = np.arange(6, dtype=np.float32) / 10


def ramp(reference, latent, audio):
    """A block that rises by 1 per frame from its latent, in every column."""
    return np.repeat(np.arange(32.0)[:, None] + latent[0], 6, axis=1)


def latents(*values):
    values = itertools.chain(values, itertools.repeat(0.0))
    return lambda: np.full(64, next(values), np.float32)


@pytest.mark.parametrize(("case", "drawn"), [("z0_T33", 0), ("z0_T70", 0), ("z0_T20", 0), ("zU_T70", 1)])
def test_public_pose_matches_golden(case, drawn, pose_networks):
    expected = golden("audio2pose")
    frames = int(case.split("T")[1])
    mels = tensor(200004, (1, 70, 1, 80, 16), -4, 4)[0, :frames].numpy()
    reference = tensor(200005, (1, 70, 70), -1, 1)[0, 0, 64:].numpy()
    ids = itertools.count(200010)
    draw = (lambda: tensor(next(ids), (1, 64), -2, 2)[0].numpy()) if drawn else latents()

    def predict(pose, latent, audio):
        return pose_networks.pose_block(7, pose, latent, audio)

    pose = predict_pose(predict, pose_networks.pose_audio(mels), reference, draw, "public")
    np.testing.assert_allclose(pose, expected[f"{case}_pose"][0], atol=1e-4)
    if case == "z0_T70":
        np.testing.assert_allclose(smooth_pose(pose), expected["savgol_T70"][0], atol=1e-4)


@pytest.fixture(scope="module")
def pose_networks():
    import torch

    return TorchHeadNetworks(load, torch.device("cpu"))


def test_public_blocks_follow_each_other():
    pose = predict_pose(ramp, np.zeros((70, 6), np.float32), REFERENCE, latents(100, 200, 300), "public")
    expected = np.concatenate([[0], 100 + np.arange(32), 200 + np.arange(32), 300 + np.arange(27, 32)])
    np.testing.assert_allclose(pose[:, 0], expected)
    np.testing.assert_allclose(pose[0], REFERENCE)


def largest_border_step(frames, seed, compat):
    """Return the largest step at a border of 32 frames, in medians of all steps; the blocks are waves."""
    rng, time = np.random.default_rng(seed), np.arange(32)[:, None]
    reference = rng.normal(size=6).astype(np.float32)

    def waves(pose, latent, audio):
        return latent[:6] + 0.5 * np.sin(2 * np.pi * time / (20 + 5 * np.arange(6)) + latent[6:12])

    draw = lambda: rng.normal(size=64).astype(np.float32)  # noqa: E731
    pose = smooth_pose(predict_pose(waves, np.zeros((frames, 6), np.float32), reference, draw, compat))
    steps = np.linalg.norm(np.diff(pose, axis=0), axis=1)
    borders = [index for border in range(32, frames - 1, 32) for index in (border - 1, border, border + 1)]
    return max(steps[index] for index in borders if index < len(steps)) / np.median(steps)


@pytest.mark.parametrize("frames", [70, 97, 200, 500])
def test_step_at_every_border_is_at_most_twice_the_median(frames):
    assert max(largest_border_step(frames, seed, "none") for seed in range(20)) <= 2
    assert np.median([largest_border_step(frames, seed, "public") for seed in range(20)]) > 2  # the reference jumps


@pytest.mark.parametrize("compat", ["none", "public"])
def test_every_length_works(compat):
    for frames in range(1, 41):
        pose = predict_pose(ramp, np.zeros((frames, 6), np.float32), REFERENCE, latents(), compat)
        assert smooth_pose(pose).shape == (frames, 6)
        assert np.isfinite(smooth_pose(pose)).all()


def test_smoothing_keeps_parabolas_and_dtype():
    pose = ((np.arange(20) / 10)[:, None] ** 2 * np.ones(6)).astype(np.float32)
    smoothed = smooth_pose(pose)
    np.testing.assert_allclose(smoothed, pose, atol=1e-5)
    assert smoothed.dtype == np.float32


def test_loop_has_no_step_at_its_end():
    values = np.arange(60.0)[:, None] * np.ones(6)
    looped = close_loop(values, 44)
    steps = np.abs(np.diff(np.concatenate([looped, looped[:1]]), axis=0))
    assert steps.max() < 2.5  # 44 in a step without the cross-fade
