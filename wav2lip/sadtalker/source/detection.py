"""Detector and landmarks of a photo: the networks in the checkpoint folder, else those of the toolkit."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from face_detection import Detector, build_detector
from face_detection.build import DETECTORS
from face_detection.detectors.retinaface import RetinaFace
from face_detection.landmarks.detector import Landmarker
from face_detection.landmarks.fan98 import FAN98Landmarker
from models.retinaface import RetinaFace as RetinaFaceNetwork
from wav2lip.errors import InputError
from wav2lip.faces.landmarks import build_landmarker
from wav2lip.sadtalker.checkpoints import find_network
from wav2lip.types import PathType
from wav2lip.weights.catalog import KEYED_FILES

PHOTO_DETECTORS = (*DETECTORS, RetinaFace.name)
RETINAFACE, FAN98 = "retinaface_resnet50", "landmark_fan98"  # names in `models.sadtalker.NETWORKS`


def build_photo_detector(
    checkpoint_dir: PathType, name: str, s3fd_weights: PathType | None, device: torch.device, batch_size: int,
    compat: str,
) -> Detector:  # fmt: skip
    """Build a face detector.

    name: one of PHOTO_DETECTORS; auto: RetinaFace if its file is in the checkpoint folder, else MTCNN, which has
        landmarks too.
    Raises: InputError or DetectorError if it is not available.
    """
    if name in ("auto", RetinaFace.name):
        network = find_network(checkpoint_dir, RETINAFACE)
        if network is not None:
            return RetinaFace(cast(RetinaFaceNetwork, network), device, batch_size, compat)
        if name == RetinaFace.name:
            file = KEYED_FILES[RETINAFACE][0]
            raise InputError(
                f"--detector={name}: {file} is not in {checkpoint_dir}; run python -m wav2lip.weights fetch "
                f"{checkpoint_dir} {file}, or use --detector mtcnn"
            )
        name = "mtcnn"
    weights = None if s3fd_weights is None else Path(s3fd_weights)
    return build_detector(name, weights=weights, device=device, batch_size=batch_size, compat=compat)


def build_photo_landmarker(
    checkpoint_dir: PathType, weights: PathType | None, device: torch.device, compat: str
) -> Landmarker | None:  # fmt: skip
    """Build FAN-98 if its file is in the checkpoint folder, else the landmarks of `build_landmarker`.

    weights: file of 2DFAN4. Raises: InputError or DetectorError for a file that cannot be used.
    """
    network = find_network(checkpoint_dir, FAN98)
    return build_landmarker(weights, device) if network is None else FAN98Landmarker(network, device, compat)
