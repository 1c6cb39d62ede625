"""Head pose of every frame: blocks of 32 frames that the pose network predicts, joined and smoothed.

T: number of frames of a clip at 25 fps. A pose is three angles in radians and three translations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.signal import savgol_filter

from models.sadtalker.audio2pose import NUM_POSE, blocks
from models.sadtalker.audio2pose import WINDOW as BLOCK_FRAMES

HOP_FRAMES = BLOCK_FRAMES // 2
SMOOTH_FRAMES = 13
SMOOTH_ORDER = 2

DrawLatent = Callable[[], np.ndarray]  # returns (64,) float32
# Pose network with a fixed style: reference (6,), latent (64,) and audio features (32, 6) to motion (32, 6)
# relative to the reference, all float32.
PredictBlock = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def predict_pose(
    predict: PredictBlock, audio: np.ndarray, reference: np.ndarray, draw_latent: DrawLatent, compat: str = "none"
) -> np.ndarray:
    """Predict the pose of a clip, without smoothing.

    audio: (T, 6) float32 features. reference: (6,) float32, the pose of the photo.
    compat: "public" joins independent blocks, between which the head jumps; otherwise blocks overlap by half and are
        cross-faded, and the first frame has the pose of the second instead of the reference.
    Returns: (T, 6) float32.
    """
    frames = len(audio)
    if frames == 1:
        return np.array(reference[None], np.float32)
    if compat == "public":
        motion = np.concatenate(list(_separate_blocks(predict, audio[1:], reference, draw_latent)))
    else:
        motion = _crossfaded_blocks(predict, audio[1:], reference, draw_latent)
    first = np.zeros((1, NUM_POSE), np.float32) if compat == "public" else motion[:1]
    return (reference + np.concatenate([first, motion])).astype(np.float32)


def _separate_blocks(
    predict: PredictBlock, audio: np.ndarray, reference: np.ndarray, draw_latent: DrawLatent
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield the motion of consecutive blocks; the last one ends at the last frame and yields its new frames."""
    for start, new in blocks(len(audio)):
        yield predict(reference, draw_latent(), _block_from(audio, start))[-new:]


def _block_from(audio: np.ndarray, start: int) -> np.ndarray:
    """Return the 32 features from `start`; before 0 the first one is repeated."""
    return audio[np.clip(np.arange(start, start + BLOCK_FRAMES), 0, None)]


def _crossfaded_blocks(
    predict: PredictBlock, audio: np.ndarray, reference: np.ndarray, draw_latent: DrawLatent
) -> np.ndarray:  # fmt: skip
    """Return the motion of blocks that begin every 16 frames, with a latent for each, cross-faded."""
    frames = len(audio)
    if frames <= BLOCK_FRAMES:
        return predict(reference, draw_latent(), _block_from(audio, frames - BLOCK_FRAMES))[-frames:]
    total, weights = np.zeros((frames, NUM_POSE)), np.zeros((frames, 1))
    fade = np.sin(np.pi * (np.arange(BLOCK_FRAMES) + 0.5) / BLOCK_FRAMES)[:, None] ** 2
    for start in [*range(0, frames - BLOCK_FRAMES, HOP_FRAMES), frames - BLOCK_FRAMES]:
        block = slice(start, start + BLOCK_FRAMES)
        total[block] += fade * predict(reference, draw_latent(), audio[block])
        weights[block] += fade
    return total / weights


def smooth_pose(pose: np.ndarray, loop: bool = False) -> np.ndarray:
    """Smooth poses (T, 6) float32 over 13 frames; fewer in shorter clips, none below three frames.

    loop: the last frame is followed by the first.
    """
    window = min(SMOOTH_FRAMES, 2 * ((len(pose) - 1) // 2) + 1)
    if window <= SMOOTH_ORDER:
        return pose
    return savgol_filter(pose, window, SMOOTH_ORDER, axis=0, mode="wrap" if loop else "interp")


def close_loop(values: np.ndarray, frames: int) -> np.ndarray:
    """Shorten values (T, N) to `frames`, such that the last is followed by the first without a jump.

    The values after `frames` are cross-faded into the first ones.
    """
    surplus = len(values) - frames
    fade = ((np.arange(surplus) + 1) / (surplus + 1))[:, None]
    looped = values[:frames].copy()
    looped[:surplus] = fade * values[:surplus] + (1 - fade) * values[frames:]
    return looped
