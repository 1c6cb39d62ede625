"""Coefficients of every frame of a clip at 25 fps: 64 of the expression, 6 of the head pose, 3 of the crop.

T: number of frames. C: 70 columns, or 73 with scale and position of the head in the crop.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.sadtalker.audio2exp import NUM_EXPRESSION
from models.sadtalker.audio2pose import LATENT, NUM_POSE, POSE
from wav2lip.sadtalker.motion.blinks import draw_blinks
from wav2lip.sadtalker.motion.head_pose import DrawLatent, close_loop, predict_pose, smooth_pose
from wav2lip.sadtalker.networks import HeadNetworks
from wav2lip.sadtalker.options import MotionOptions
from wav2lip.sadtalker.speech import SpeechMel

NUM_CROP = 3
AUDIO_BATCH_FRAMES = 256
LOOP_FADE_FRAMES = 16  # the end of a loop is faded into its start over these frames


@dataclass(frozen=True)
class ReferenceMotion:
    """Coefficients of reference videos at 25 fps, repeated if they are shorter than the clip."""

    eyes: np.ndarray | None = None  # (F, 73): expression that replaces that of the photo
    pose: np.ndarray | None = None  # (F, 73): head motion that is added
    everything: np.ndarray | None = None  # (F, 73): replaces all predicted motion


NO_REFERENCE = ReferenceMotion()


@dataclass(frozen=True)
class MotionSettings:
    """Settings of the motion of a clip."""

    options: MotionOptions
    compat: str = "none"
    loop: bool = False  # the last frame is followed by the first
    with_crop: bool = False  # append the 3 columns of the crop

    def draw_latents(self) -> DrawLatent:
        """Return a function that draws latents of the pose network."""
        generator = np.random.default_rng(self.options.seed)
        return lambda: generator.standard_normal(LATENT).astype(np.float32)


def predict_coefficients(
    networks: HeadNetworks, source: np.ndarray, speech: SpeechMel, settings: MotionSettings,
    reference: ReferenceMotion = NO_REFERENCE, draw_latent: DrawLatent | None = None,
) -> np.ndarray:  # fmt: skip
    """Predict the coefficients of a clip.

    source: (73,) float32, those of the photo. draw_latent: of head motion; by default seeded by the options.
    Returns: (T, C) float32.
    """
    options, frames = settings.options, speech.frames
    if reference.everything is not None:
        target = repeat_frames(reference.everything, frames)[:, : POSE.stop].copy()
        target[:, POSE] += source[POSE] - target[0, POSE]
    else:
        expression = predict_expression(networks, source, speech, options, reference.eyes)
        pose = predict_head_motion(networks, source, speech, settings, draw_latent or settings.draw_latents())
        if reference.pose is not None:
            moved = repeat_frames(reference.pose, frames)[:, POSE]
            pose = pose + moved - moved[0]
        target = np.concatenate([expression, pose], axis=1)
    return finish_coefficients(target, source, settings)


def predict_expression(
    networks: HeadNetworks, source: np.ndarray, speech: SpeechMel, options: MotionOptions,
    eyes: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Predict the expression (T, 64) float32. eyes: see `ReferenceMotion`."""
    frames = speech.frames
    if eyes is not None:
        reference, closure = repeat_frames(eyes, frames)[:, :NUM_EXPRESSION], np.zeros(frames, np.float32)
    else:
        reference = np.broadcast_to(source[:NUM_EXPRESSION], (frames, NUM_EXPRESSION))
        is_blinking = options.blink != "off"
        closure = draw_blinks(frames, random.Random(options.seed)) if is_blinking else np.zeros(frames, np.float32)
    batches = [slice(first, min(first + AUDIO_BATCH_FRAMES, frames)) for first in range(0, frames, AUDIO_BATCH_FRAMES)]
    return np.concatenate([
        networks.expression(speech.windows(batch.start, batch.stop), reference[batch], closure[batch])
        for batch in batches
    ])  # fmt: skip


def predict_head_motion(
    networks: HeadNetworks, source: np.ndarray, speech: SpeechMel, settings: MotionSettings, draw_latent: DrawLatent
) -> np.ndarray:
    """Predict the smoothed head pose (T, 6) float32."""
    options, reference = settings.options, source[POSE].astype(np.float32)
    if options.still:  # its prediction would be replaced
        return np.broadcast_to(reference, (speech.frames, NUM_POSE))
    frames = speech.frames + (min(LOOP_FADE_FRAMES, speech.frames) if settings.loop else 0)
    audio = np.concatenate([
        networks.pose_audio(speech.windows(first, min(first + AUDIO_BATCH_FRAMES, frames)))
        for first in range(0, frames, AUDIO_BATCH_FRAMES)
    ])  # fmt: skip

    pose = predict_pose(
        partial(networks.pose_block, options.pose_style), audio, reference, draw_latent, settings.compat
    )
    if settings.loop:
        pose = close_loop(pose, speech.frames).astype(np.float32)
    return smooth_pose(pose, settings.loop)


def finish_coefficients(target: np.ndarray, source: np.ndarray, settings: MotionSettings) -> np.ndarray:
    """Scale the motion and append the columns of the crop.

    target: (T, 70) float32. source: (73,) float32. Returns: (T, C) float32.
    """
    options = settings.options
    finished = target.astype(np.float32)
    finished[:, :NUM_EXPRESSION] *= np.float32(options.expression_scale)
    if options.still:
        finished[:, POSE] = source[POSE]
    elif options.head_motion_scale != 1:
        motion = finished[:, POSE] - source[POSE]
        finished[:, POSE] = source[POSE] + np.float32(options.head_motion_scale) * motion
    if settings.with_crop:
        crop = np.broadcast_to(source[POSE.stop : POSE.stop + NUM_CROP], (len(target), NUM_CROP))
        finished = np.concatenate([finished, crop], axis=1)
    return finished


def repeat_frames(values: np.ndarray, frames: int) -> np.ndarray:
    """Return the first `frames` rows of values, which are repeated from the start if there are fewer."""
    return values[np.arange(frames) % len(values)]
