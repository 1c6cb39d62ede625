"""The package face-alignment as a source of landmarks; it downloads its weights on first use."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from face_detection.interface import DetectorError
from face_detection.landmarks.fan68 import NUM_LANDMARKS, URL, Box

PACKAGE, MIN_VERSION = "face-alignment", (1, 5)


def installed_version() -> tuple[int, int] | None:
    """Return the major and minor version of the package if it is installed and recent enough."""
    try:
        major, minor = (int(number) for number in version(PACKAGE).split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return None
    return (major, minor) if (major, minor) >= MIN_VERSION else None


class FaceAlignmentLandmarker:
    """Locate 68 landmarks of detected faces with the package."""

    def __init__(self, device: str | torch.device = "cpu"):
        import face_alignment

        cache = Path(torch.hub.get_dir()) / "checkpoints"
        try:
            # The detector of folders needs no weights; boxes come from the project's own detectors.
            self.network = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D, device=str(device), flip_input=False, face_detector="folder",
                compile=False,
            )  # fmt: skip
        except (OSError, RuntimeError) as error:  # no connection, or a wrong checksum
            raise DetectorError(
                f"{PACKAGE}: could not load its weights ({error}); download {URL} to {cache}"
            ) from error
        self.fingerprint = f"{PACKAGE} {version(PACKAGE)}"

    def locate(self, frames: Sequence[np.ndarray], boxes: Sequence[Box]) -> np.ndarray:
        """Locate the landmarks of one face in each frame; see `face_detection.landmarks.detector.Landmarker`."""
        points = [
            self.network.get_landmarks_from_image(frame, detected_faces=[np.array(box)])[0]
            for frame, box in zip(frames, boxes, strict=True)
        ]
        return np.reshape(points, (-1, NUM_LANDMARKS, 2)).astype(np.float64)
