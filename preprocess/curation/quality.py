"""Quality of a clip's images and audio, and the limits it must keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from preprocess.curation.duplicates import MAX_AUDIO_SECONDS, fingerprint_clip
from wav2lip.audio.mel import MEL_RATE, SAMPLE_RATE, stream_mel
from wav2lip.audio.voice_activity import is_below_level
from wav2lip.audio.windows import SAMPLES_PER_FRAME
from wav2lip.dataset.clip import AUDIO, Clip, read_crop
from wav2lip.errors import InputError
from wav2lip.media import read_audio

NUM_SAMPLED_FRAMES = 16  # decoded at full size, spread over the clip
FACE_SIZE = 96  # pixels to which crops are scaled, as for the networks
FACE_CENTER = slice(FACE_SIZE // 6, FACE_SIZE - FACE_SIZE // 6)  # face without hair and background
REBLUR_PIXELS = 9  # window of the second blur of `sharpness`, at FACE_SIZE
BLACK_LUMA, WHITE_LUMA = 16, 250  # range of 0 to 255 in which detail is visible

THUMBNAIL_SIZE = 48  # pixels to which frames are scaled before they are compared
PATCH_SIZE = 8  # pixels of a thumbnail, about a corner of the mouth
MIN_CHANGE = 1.0  # gray levels of 255, mean over the patch with the largest change; coding noise stays below

CLIPPED_DB = -0.1  # dBFS of a single sample


@dataclass(frozen=True)
class Quality:
    """Measurements of a clip; None where the data they need is missing."""

    face_pixels: float  # median of the shorter side of the face, in pixels of the source
    sharpness: float  # fraction of the detail that a second blur removes, in [0, 1]; focused faces give 0.45-0.7
    exposure: float  # mean luma of the center of the face, in [0, 1]
    black_share: float  # fraction of these pixels with luma below 16 of 255
    white_share: float  # fraction of these pixels with luma of at least 250
    head_turn: float | None  # median of `head_turn`: 0 frontal, 0.25 about 30 degrees, 0.4 about 50
    filled_share: float | None  # fraction of frames with an interpolated box
    silent_share: float  # fraction of 40 ms audio blocks below -50 dBFS
    clipped_share: float  # fraction of audio samples at or above -0.1 dBFS
    static_share: float  # fraction of frames that look like the previous one
    fingerprint: str  # see `duplicates.find_duplicates`

    def to_json(self) -> dict[str, Any]:
        """Return the fields, rounded to their meaningful precision."""
        return {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Limits:
    """Limits that a clip must keep to be trained on; None disables one."""

    min_face_pixels: float | None = 48  # half the input size of the networks
    min_sharpness: float | None = 0.42  # a blur over 2% of the size of the face is below it
    min_exposure: float | None = 0.08  # low enough for faces of any color
    max_white_share: float | None = 0.4
    max_head_turn: float | None = 0.4  # the far corner of the mouth is still visible
    max_filled_share: float | None = 0.2
    max_silent_share: float | None = 0.8
    max_clipped_share: float | None = 0.003  # speech 20 dB too loud is above, a limiter at full scale below
    max_static_share: float | None = 0.5  # a 12.5 fps camera gives half

    def __post_init__(self) -> None:
        for name, limit in asdict(self).items():
            if limit is not None and limit < 0:
                raise InputError(f"quality.{name}={limit}: must be 0 or more, or null for no limit")


# Field of `Quality`, whether its limit is a minimum, cause, and reason, in the order in which they are checked.
CHECKS = (
    ("face_pixels", True, "small face", "its face is {value:.0f} pixels wide, below {limit:.0f}"),
    ("exposure", True, "dark", "its face is dark: mean luma {value:.3f} of 1, below {limit:g}"),
    ("white_share", False, "overexposed", "{value:.0%} of its face is white, above {limit:.0%}"),
    ("sharpness", True, "blurred", "its face is blurred: sharpness {value:.2f}, below {limit:g}"),
    ("static_share", False, "static video", "{value:.0%} of its frames repeat the previous one, above {limit:.0%}"),
    ("filled_share", False, "face often lost", "{value:.0%} of its boxes are interpolated, above {limit:.0%}"),
    ("head_turn", False, "head turned away", "its head is turned to the side by {value:.2f}, above {limit:g}"),
    ("silent_share", False, "silent", "{value:.0%} of its audio is below -50 dBFS, above {limit:.0%}"),
    ("clipped_share", False, "clipped audio", "{value:.1%} of its samples are at full scale, above {limit:.1%}"),
)


def check_limits(quality: Quality, limits: Limits) -> tuple[str, str] | None:
    """Return cause and reason of the first limit that a clip violates, or None."""
    for name, is_minimum, cause, template in CHECKS:
        key = f"min_{name}" if is_minimum else f"max_{name}"
        value, limit = getattr(quality, name), getattr(limits, key)
        if value is None or limit is None or (value >= limit if is_minimum else value <= limit):
            continue
        return cause, f"{template.format(value=value, limit=limit)}; quality.{key} changes the limit"
    return None


def measure_clip(clip: Clip, info: dict[str, Any] | None) -> Quality:
    """Measure a clip from 16 frames at full size, all frames as thumbnails, and its audio.

    info: content of clip.json. Without it the size of the face is that of the crops, which are not rescaled.
    Raises: InputError if an image or the audio is corrupt.
    """
    count = min(NUM_SAMPLED_FRAMES, len(clip.frames))
    sampled = clip.frames[np.linspace(0, len(clip.frames) - 1, count).astype(int)]
    crops = [read_crop(clip.frame_path(number), cv2.IMREAD_GRAYSCALE) for number in sampled]
    faces = [_resize(crop, FACE_SIZE)[FACE_CENTER, FACE_CENTER] for crop in crops]
    crop_pixels = min(min(crop.shape) for crop in crops)
    silent, clipped, mel = _measure_audio(clip.path / AUDIO)
    boxes = [box for box in (info or {}).get("boxes", ()) if box is not None]
    sizes = [min(right - left, bottom - top) for left, top, right, bottom in boxes] or [min(c.shape) for c in crops]
    landmarks = [points for points in (info or {}).get("landmarks") or () if points is not None]
    filled = (info or {}).get("filled")
    return Quality(
        face_pixels=float(np.median(sizes)),
        sharpness=float(np.median([sharpness(face) for face in faces])),
        exposure=float(np.mean(faces)) / 255,
        black_share=float(np.mean([face < BLACK_LUMA for face in faces])),
        white_share=float(np.mean([face >= WHITE_LUMA for face in faces])),
        head_turn=float(np.median([head_turn(np.asarray(points)) for points in landmarks])) if landmarks else None,
        filled_share=None if filled is None else len(filled) / len(clip.frames),
        silent_share=silent,
        clipped_share=clipped,
        static_share=_static_share(clip, crop_pixels),
        fingerprint=fingerprint_clip(crops, mel, int(clip.frames[-1]) + 1),
    )


def _resize(gray: np.ndarray, size: int) -> np.ndarray:
    interpolation = cv2.INTER_AREA if min(gray.shape) > size else cv2.INTER_LINEAR
    return cv2.resize(gray, (size, size), interpolation=interpolation)


def sharpness(face: np.ndarray) -> float:
    """Return the sharpness of a gray image (h, w) in [0, 1], independent of its brightness and contrast.

    Crete et al., "The blur effect" (2007): a second blur along a row or a column removes much of the difference between
    neighboring pixels of a sharp image, and little of a blurred one. This is the fraction removed, in the direction
    with the smaller one.
    """
    face = face.astype(np.float32)
    fractions = []
    for axis, window in ((0, (1, REBLUR_PIXELS)), (1, (REBLUR_PIXELS, 1))):
        before = np.abs(np.diff(face, axis=axis))
        after = np.abs(np.diff(cv2.blur(face, window), axis=axis))
        total = float(before.sum())
        fractions.append(float(np.maximum(0, before - after).sum()) / total if total else 0.0)
    return min(fractions)


def head_turn(points: np.ndarray) -> float:
    """Return the turn of a head to the side from its five landmarks (5, 2): eyes, nose, mouth corners.

    The distance of the nose from the line between the midpoints of eyes and mouth, relative to the length of that line,
    which a turn does not shorten. It is about half the sine of the yaw angle, and invariant to roll.
    """
    eyes, nose, mouth = points[:2].mean(axis=0), points[2], points[3:].mean(axis=0)
    axis, to_nose = mouth - eyes, nose - eyes
    length = float(np.hypot(*axis))
    return abs(float(axis[0] * to_nose[1] - axis[1] * to_nose[0])) / length**2 if length else 0.0


def _static_share(clip: Clip, crop_pixels: int) -> float:
    """Return the fraction of frames that look like the previous one, among those that directly follow it.

    crop_pixels: shorter side of the crops, by which JPEGs are decoded at a fraction of their size.
    """
    static = pairs = 0
    previous: tuple[int, np.ndarray] | None = None
    for number in clip.frames:
        gray = read_crop(clip.frame_path(number), _reduced_decode_flag(crop_pixels))
        thumbnail = _resize(gray, THUMBNAIL_SIZE).astype(np.float32)
        if previous is not None and number == previous[0] + 1:
            pairs += 1
            change = cv2.blur(np.abs(thumbnail - previous[1]), (PATCH_SIZE, PATCH_SIZE))
            static += float(change.max()) < MIN_CHANGE
        previous = int(number), thumbnail
    return static / pairs if pairs else 0.0


def _reduced_decode_flag(crop_pixels: int) -> int:
    if crop_pixels >= 8 * THUMBNAIL_SIZE:
        return cv2.IMREAD_REDUCED_GRAYSCALE_8
    if crop_pixels >= 4 * THUMBNAIL_SIZE:
        return cv2.IMREAD_REDUCED_GRAYSCALE_4
    return cv2.IMREAD_REDUCED_GRAYSCALE_2 if crop_pixels >= 2 * THUMBNAIL_SIZE else cv2.IMREAD_GRAYSCALE


def _measure_audio(path: Path) -> tuple[float, float, np.ndarray]:
    """Return the fractions of silent blocks and clipped samples, and the mel (80, T) of the first 50 seconds."""
    silent = blocks = clipped = samples = 0
    beginning: list[np.ndarray] = []
    for block in _read_blocks(path):
        silent += int(is_below_level(block).sum())
        clipped += int(np.sum(np.abs(block) >= 10 ** (CLIPPED_DB / 20)))
        if blocks * SAMPLES_PER_FRAME < MAX_AUDIO_SECONDS * SAMPLE_RATE:
            beginning.append(block.ravel())
        blocks, samples = blocks + len(block), samples + block.size
    if not blocks:
        return 1.0, 0.0, np.zeros((80, 0), np.float32)
    mel = np.concatenate(list(stream_mel(beginning)), axis=1)[:, : int(MAX_AUDIO_SECONDS * MEL_RATE)]
    return silent / blocks, clipped / samples, mel


def _read_blocks(path: Path) -> Iterator[np.ndarray]:
    """Yield the audio as (n, 640) float32 blocks; an incomplete last block is dropped."""
    buffer = np.zeros(0, np.float32)
    for piece in read_audio(path, SAMPLE_RATE):
        buffer = np.concatenate([buffer, piece])
        if len(buffer) >= SAMPLE_RATE:
            complete = len(buffer) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
            yield buffer[:complete].reshape(-1, SAMPLES_PER_FRAME)
            buffer = buffer[complete:]
    if len(buffer) >= SAMPLES_PER_FRAME:
        yield buffer[: len(buffer) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)
