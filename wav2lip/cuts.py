"""Where one shot ends and the next begins, while a video is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

WIDTH = 256  # pixels to which frames are shrunk: a cut changes all of a picture
THRESHOLD = 3.0  # times that a frame differs more than its neighbours do
SHORTEST = 8  # frames between two cuts
NEIGHBOURS = 2  # frames before and after
TICKS = 25.0  # a second; frames are counted, the rate is of no consequence


def mark_cuts(
    frames: Iterable[np.ndarray], threshold: float = THRESHOLD, shortest: int = SHORTEST
) -> Iterator[tuple[np.ndarray, bool]]:
    """Each frame, and whether a new shot begins with it; the first frame of all begins none.

    frames: (H, W, 3) uint8 RGB; `NEIGHBOURS` and one more are held.
    """
    detector = AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=shortest, window_width=NEIGHBOURS)
    waiting: deque[np.ndarray] = deque()
    begins: set[int] = set()
    told = 0
    for number, frame in enumerate(frames):
        small = cv2.resize(frame, (WIDTH, max(1, frame.shape[0] * WIDTH // frame.shape[1])))
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        begins.update(cut.frame_num for cut in detector.process_frame(FrameTimecode(number, TICKS), bgr))
        waiting.append(frame)
        if len(waiting) > NEIGHBOURS:
            yield waiting.popleft(), told in begins
            told += 1
    for frame in waiting:
        yield frame, told in begins
        told += 1
