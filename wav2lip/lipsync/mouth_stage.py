"""The Wav2Lip generator as a stage of another engine: it draws the mouth into frames whose face is known."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from face_detection import Detector, build_detector
from wav2lip.audio.mel_stream import MelStream
from wav2lip.devices import choose_devices, inference_dtype
from wav2lip.engine.face_location import build_matching_detector
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.boxes import Pads, pad_boxes, round_boxes
from wav2lip.faces.framing import resolve_pads
from wav2lip.faces.redetection import redetect_face
from wav2lip.faces.roll_alignment import keep_roll
from wav2lip.lipsync.audio_input import mel_windows_from_file
from wav2lip.lipsync.backends.exported import load_backend
from wav2lip.lipsync.backends.interface import Backend
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.generator_runtime import GeneratorRuntime
from wav2lip.lipsync.stages import align_faces, blend_faces, generate_faces
from wav2lip.prefetch import close_together
from wav2lip.types import PathType

BATCH_SIZE = 8  # frames
MIN_FACE_PIXELS = 16  # width and height of a padded face

logger = logging.getLogger(__name__)


class MouthStage:
    """Generate and blend the mouth of each frame."""

    def __init__(
        self, generator: Backend, device: torch.device | Sequence[torch.device], detector: Detector | None = None
    ):
        """generator: its framing sets the pads that are added to the faces.

        detector: that of the generator's training data; None: boxes of any detector are used as they are.
        """
        self.generator = GeneratorRuntime(generator, device)
        self.pads = resolve_pads(None, generator.framing)
        self.detector = detector

    @classmethod
    def from_checkpoint(cls, path: Path, device: str = "auto", s3fd_weights: PathType | None = None) -> MouthStage:
        """Load a generator and the detector of its training data, see `build_matching_detector`.

        Raises: InputError if the file or the device cannot be used; DetectorError for a file of S3FD's weights.
        """
        devices, generator = choose_devices(device), load_backend(path)
        weights = None if s3fd_weights is None else Path(s3fd_weights)

        def build(name: str) -> Detector:
            return build_detector(name, weights=weights, device=devices[0], dtype=inference_dtype(devices[0]))

        own = None if generator.framing is None else generator.framing.detector
        return cls(generator, devices, build_matching_detector(build, "auto", own))

    def find_box(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Return the box of a face as in the training data of the generator, without its pads: (4,) pixels.

        frame: (H, W, 3) uint8 RGB. box: (4,) of any detector; returned if the own detector does not find the face.
        """
        if self.detector is None:
            return box
        face = redetect_face(self.detector, frame, box)
        if face is None:
            logger.warning("--mouth: %s does not find the face; the mouth may be less in sync", self.detector.name)
            return box
        return np.array(face.box)

    def __call__(
        self, items: Iterable[FrameItem], audio: PathType, fps: Fraction
    ) -> Generator[FrameItem, None, None]:  # fmt: skip
        """Yield the frames with the mouth of the generator.

        items: frames with one target each, or none where no mouth is drawn. audio: file with the driving audio.
        fps: of the frames.
        """
        windows = mel_windows_from_file(audio, fps)
        blend = build_blend("feather")
        aligned = align_faces(
            _pad_targets(items, self.pads), keep_roll, self.generator.resolution, self.generator.call_size(BATCH_SIZE)
        )
        first_row = int(blend.unused * self.generator.resolution)
        generated = generate_faces(aligned, [windows], self.generator, None, first_row)
        with closing(windows) if isinstance(windows, MelStream) else nullcontext():
            yield from close_together(aligned, generated, blend_faces(generated, blend))


def _pad_targets(items: Iterable[FrameItem], pads: Pads) -> Generator[FrameItem, None, None]:
    for item in items:
        item.targets = [target for each in item.targets if (target := _pad(each, pads, item.frame.shape)) is not None]
        yield item


def _pad(target: FaceTarget, pads: Pads, shape: tuple[int, ...]) -> FaceTarget | None:
    """Return a target with a padded box; None if the box is too small for a mouth."""
    height, width = shape[:2]
    (box,) = round_boxes(pad_boxes(np.array([target.box], np.float64), pads, height, width), height, width)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < MIN_FACE_PIXELS:
        return None
    return replace(target, box=box)
