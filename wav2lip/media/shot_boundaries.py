"""Online shot boundary detection with PySceneDetect."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

DETECTION_WIDTH = 256  # pixels to which frames are downscaled: a cut changes the whole image
THRESHOLD = 3.0  # ratio of a frame's difference to its neighbors' differences
MIN_SHOT_FRAMES = 8
NEIGHBOR_FRAMES = 2  # before and after
NOMINAL_FPS = 25.0  # required by the detector; the result does not depend on it


def detect_shot_boundaries(
    frames: Iterable[np.ndarray], threshold: float = THRESHOLD, min_shot_frames: int = MIN_SHOT_FRAMES
) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield each frame, and True if it begins a new shot; the first frame of the video does not.

    frames: (H, W, 3) uint8 RGB; `NEIGHBOR_FRAMES` + 1 of them are buffered.
    """
    detector = AdaptiveDetector(
        adaptive_threshold=threshold, min_scene_len=min_shot_frames, window_width=NEIGHBOR_FRAMES
    )
    buffer: deque[np.ndarray] = deque()
    boundaries: set[int] = set()
    num_yielded = 0
    for number, frame in enumerate(frames):
        small = cv2.resize(frame, (DETECTION_WIDTH, max(1, frame.shape[0] * DETECTION_WIDTH // frame.shape[1])))
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        boundaries.update(cut.frame_num for cut in detector.process_frame(FrameTimecode(number, NOMINAL_FPS), bgr))
        buffer.append(frame)
        if len(buffer) > NEIGHBOR_FRAMES:
            yield buffer.popleft(), num_yielded in boundaries
            num_yielded += 1
    for frame in buffer:
        yield frame, num_yielded in boundaries
        num_yielded += 1
