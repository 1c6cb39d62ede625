"""Choice of the landmarks for face detectors that have none."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from face_detection import Detector, DetectorError
from face_detection.landmarks.detector import LandmarkDetector, Landmarker
from face_detection.landmarks.face_alignment import FaceAlignmentLandmarker, installed_version
from face_detection.landmarks.fan68 import FAN68, URL, FANLandmarker, find_cached_weights
from wav2lip.checkpoints import load_checkpoint
from wav2lip.types import PathType

DETECTORS_WITH_LANDMARKS = ("mtcnn", "retinaface")
REMEDY = f"give --landmark_weights a file of 2DFAN4 ({URL})"

logger = logging.getLogger(__name__)


def load_fan(path: PathType) -> FAN68:
    """Load 2DFAN4 as a state_dict or a TorchScript archive. Raises: InputError, DetectorError for other files."""
    return FAN68.from_weights(load_checkpoint(path).state_dict, str(path))


def build_landmarker(weights: PathType | None = None, device: str | torch.device = "cpu") -> Landmarker | None:
    """Build the source of landmarks; None if there are neither weights nor the package face-alignment with its own.

    weights: file of 2DFAN4; None for the one in torch's cache, else the package.
    Raises: InputError or DetectorError for a file that cannot be used.
    """
    path = find_cached_weights() if weights is None else Path(weights)
    if path is not None:
        logger.info("landmarks: FAN with weights %s", path)
        return FANLandmarker(load_fan(path), device)
    if installed_version() is None:
        return None
    try:
        landmarker = FaceAlignmentLandmarker(device)
    except DetectorError as error:  # its weights are neither cached nor reachable; nobody asked for it by name
        logger.warning("no landmarks from %s", error)
        return None
    logger.info("landmarks: the package face-alignment")
    return landmarker


def add_landmarks(detector: Detector, landmarker: Landmarker | None) -> Detector:
    """Return a detector with landmarks: itself if it has them or there is no source of them."""
    return detector if landmarker is None or has_landmarks(detector) else LandmarkDetector(detector, landmarker)


def has_landmarks(detector: Detector) -> bool:
    """Return whether the faces of a detector have landmarks."""
    return detector.name in DETECTORS_WITH_LANDMARKS or isinstance(detector, LandmarkDetector)
