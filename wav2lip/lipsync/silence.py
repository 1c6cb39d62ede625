"""Closed mouths while nobody speaks.

In silence the audio does not constrain the generator: it copies the mouth of its reference, and the mouth of the result
moves with that of the source. So the reference is faded to a closed mouth of the same person, and the mel to
silence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np

from face_detection import Detector
from wav2lip.audio.mel import SAMPLE_RATE, SILENT_MEL
from wav2lip.audio.voice_activity import STEP_RATE, detect_voice
from wav2lip.engine.interface import FaceTarget, FrameItem, IsCancelled, Source, never
from wav2lip.engine.result_stream import check_cancelled
from wav2lip.faces.boxes import Pads
from wav2lip.faces.roll_alignment import align_roll, keep_roll
from wav2lip.lipsync.closed_mouth_reference import ClosedMouthReference
from wav2lip.lipsync.options import LipSyncOptions
from wav2lip.media import read_audio
from wav2lip.types import PathType

logger = logging.getLogger(__name__)

MIN_PAUSE_S = 0.3  # the generator closes the mouth in shorter pauses by itself
LEAD_S = 0.08  # the mouth may open this long before a voice: lips part before the voice starts
LAG_S = 0.04  # the mouth may stay open this long after a voice
OPENING_S = 0.12  # from closed to fully open
CLOSING_S = 0.15  # from fully open to closed

Openness = Callable[[int], float]  # from the index of a frame to a share from 0 (closed) to 1 (unrestricted)


class SilenceControl:
    """Audio and reference of the generator while nobody speaks, for one request."""

    def __init__(
        self, openness: Sequence[Openness], closed_mouth: Callable[[FaceTarget, np.ndarray], np.ndarray | None]
    ):  # fmt: skip
        """openness: of each voice.
        closed_mouth: from a target and its crop to a crop of the same person with a closed mouth, None if not found.
        """
        self._openness, self.closed_mouth = openness, closed_mouth

    def is_open(self, index: int) -> bool:
        """Return whether all mouths of a frame are unrestricted; never with several voices, as others rest."""
        return len(self._openness) == 1 and self._openness[0](index) == 1

    def fade_mel(self, item: FrameItem, target: FaceTarget, window: np.ndarray) -> np.ndarray:
        """Fade the mel window of a face to silence."""
        share = self._share(item, target)
        return window if share == 1 else (share * window + (1 - share) * SILENT_MEL).astype(np.float32)

    def reference(self, item: FrameItem, target: FaceTarget, crop: np.ndarray) -> np.ndarray:
        """Fade the crop (R, R, 3) uint8 to a closed mouth."""
        share = self._share(item, target)
        closed = None if share == 1 else self.closed_mouth(target, crop)
        return crop if closed is None else np.asarray(cv2.addWeighted(crop, share, closed, 1 - share, 0))

    def _share(self, item: FrameItem, target: FaceTarget) -> float:
        return 0.0 if target.voice is None else self._openness[target.voice](item.index)


def build_silence_control(
    source: Source, audios: Sequence[PathType], length: int, options: LipSyncOptions,
    landmark_detector: Callable[[], Detector | None], resolution: int, pads: Pads, is_cancelled: IsCancelled = never,
) -> SilenceControl | None:  # fmt: skip
    """Build the control for audio of `length` frames; None if it would have no effect.

    audios: one for each voice.
    landmark_detector, resolution: see `ClosedMouthReference`. pads: of the face boxes.
    """
    if options.silence == "off" or options.compat == "public":
        return None
    openness = [_file_openness(audio, length, float(source.fps), is_cancelled) for audio in audios]
    if len(openness) == 1 and openness[0].min() == 1:
        return None
    align = align_roll if options.align else keep_roll
    closed_mouth = ClosedMouthReference(
        source, landmark_detector, pads if options.box is None else None, resolution, is_cancelled, align
    )
    return SilenceControl([partial(_at, shares) for shares in openness], closed_mouth)


def _file_openness(audio: PathType, frames: int, fps: float, is_cancelled: IsCancelled) -> np.ndarray:
    """Return the openness (frames,) of the mouth that speaks a file."""
    on_packet = partial(check_cancelled, is_cancelled)
    voice = detect_voice(read_audio(audio, SAMPLE_RATE, on_problem=lambda _: None, on_packet=on_packet))
    if not voice.any():
        logger.warning(
            "%s: no voice detected in the audio: mouths stay closed; use --silence off if that is wrong", audio
        )
    return mouth_openness(voice, frames, fps)


def _at(shares: np.ndarray, index: int) -> float:
    """Return the openness of a frame; after the last one, that of the last."""
    return float(shares[min(index, len(shares) - 1)])


def mouth_openness(voice: np.ndarray, frames: int, fps: float) -> np.ndarray:
    """Compute how far the mouth of each frame may open.

    voice: (T,) bool, see `detect_voice`.
    Returns: (frames,) float32 from 0, closed, to 1, unrestricted.
    """
    edges = np.flatnonzero(np.diff(voice, prepend=False, append=False)) / STEP_RATE  # begin, end, begin, end, ...
    begins, ends = edges[::2], edges[1::2]
    is_pause = begins[1:] - ends[:-1] > MIN_PAUSE_S
    begins = np.concatenate([begins[:1], begins[1:][is_pause]]) - LEAD_S
    ends = np.concatenate([ends[:-1][is_pause], ends[-1:]]) + LAG_S
    times = np.arange(frames) / fps
    num_begun = np.searchsorted(begins, times, side="right")  # voice segments begun by each frame
    to_begin = np.append(begins, np.inf)[num_begun] - times
    since_end = times - np.insert(ends, 0, -np.inf)[num_begun]  # negative within a segment
    closure = np.minimum(to_begin / OPENING_S, since_end / CLOSING_S)
    openness = np.clip(1 - closure, 0, 1)
    return (openness * openness * (3 - 2 * openness)).astype(np.float32)
