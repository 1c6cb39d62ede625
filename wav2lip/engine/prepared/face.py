"""Prepared face of one person: a source whose faces are located."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from wav2lip.engine.interface import Detection, FaceTarget, FrameItem, LocatedFrame
from wav2lip.engine.prepared.file import read_prepared
from wav2lip.engine.prepared.frame_order import FrameOrder
from wav2lip.errors import InputError
from wav2lip.types import PathType

ENGINE = "wav2lip"


class PreparedFace:
    """Frames, boxes and closed mouth of a file of `wav2lip.prepare`, mapped into memory.

    It is a Source and a FaceLocator.
    """

    def __init__(self, path: PathType):
        """Raises: InputError for another or a damaged file."""
        self.path = Path(path)
        content = read_prepared(path, ENGINE)
        settings, arrays = content.settings, content.arrays
        self.note = content.note  # license and consent
        try:
            self.fps = Fraction(settings["fps"])
            self.resolution = int(settings["resolution"])  # pixels: of the generator for which it was prepared
            self.images = arrays["frames"]  # (N, H, W, 3) uint8 RGB
            self._boxes = arrays["boxes"]  # (N, 4) int32: left, top, right, bottom; -1 without a face
            self._landmarks = arrays["landmarks"]  # (N, 5, 2) float32; NaN without landmarks
            self._missed = arrays.get("missed", np.zeros(len(self.images), np.uint8))  # (N,) uint8: 0 or 1
            self._idle = tuple(settings["idle"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is damaged ({error}); prepare it again") from error
        self.closed_mouth = arrays.get("closed_mouth")  # (1, R, R, 3) uint8 RGB
        self.static = len(self.images) == 1
        self.stated_frames = 0  # unlimited: frames play back and forth

    def frame_order(self) -> FrameOrder:
        """Return the order of the frames of a new result."""
        return FrameOrder(len(self.images), (self._idle[0], self._idle[1]))

    def item(self, index: int, image_index: int) -> FrameItem:
        """Return frame `index` of a result: a copy of image `image_index` with its face."""
        return FrameItem(index, np.array(self.images[image_index]), self.targets(image_index))

    def targets(self, image_index: int) -> list[FaceTarget]:
        """Return the face in an image; an empty list if there is none."""
        box = self._boxes[image_index]
        if box[0] < 0:
            return []
        landmarks = self._landmarks[image_index]
        left, top, right, bottom = (int(value) for value in box)
        points = None if np.isnan(landmarks).any() else np.array(landmarks)
        return [FaceTarget((left, top, right, bottom), points, is_missed=bool(self._missed[image_index]))]

    def require_resolution(self, resolution: int) -> None:
        """Raise InputError if the generator is of another resolution in pixels."""
        if resolution != self.resolution:
            raise InputError(
                f"{self.path}: was prepared for a generator of {self.resolution} pixels, this one has {resolution}; "
                "prepare the face again with this checkpoint"
            )

    def frames(self, first: int = 0, last: int | None = None) -> Generator[np.ndarray, None, None]:
        """Yield copies of the images from `first` up to but not including `last`, (H, W, 3) uint8 RGB."""
        for image in self.images[first:last]:
            yield np.array(image)

    def detect(self, frames: Iterable[np.ndarray]) -> Generator[Detection, None, None]:
        """Yield the frames without detection."""
        yield from ((frame, ()) for frame in frames)

    def select(self, detections: Iterable[Detection]) -> Generator[LocatedFrame, None, None]:
        """Yield each frame with its prepared face."""
        for index, (frame, _) in enumerate(detections):
            yield frame, self.targets(index)
