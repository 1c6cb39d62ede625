"""Factory of face detectors.

Detector modules are imported when a detector is built, so that reading the names does not import torch.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from face_detection.interface import Detector, DetectorError

if TYPE_CHECKING:
    import torch

DETECTORS = ("auto", "s3fd", "mtcnn", "haar")
COMPAT_MODES = ("none", "public")

logger = logging.getLogger(__name__)


def build_detector(
    name: str = "auto",
    *,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    batch_size: int = 8,
    compat: str = "none",
    download: bool = True,
    dtype: torch.dtype | None = None,
) -> Detector:
    """Build a face detector.

    name: "s3fd", "mtcnn", "haar", or "auto" for the first of these that is available. The choice of "auto" is logged,
        as a warning unless it is S3FD, because the published weights were trained with S3FD's boxes.
    weights: S3FD weights file; by default models/s3fd.pth, upstream's place, then torch's download cache.
    device: of the networks; Haar always runs on the CPU. batch_size: images per batch.
    compat: "public" for upstream's boxes, see `face_detection.detectors.s3fd.S3FD`.
    dtype: precision of S3FD's network; float32 by default and always with compat="public".
    download: download S3FD's weights (90 MB) if no file is found; "auto" tries at most once a day.
    Raises: DetectorError for an unknown name, and for missing or corrupt weights.
    """
    if name not in DETECTORS:
        raise DetectorError(f"detector={name}: must be one of {', '.join(DETECTORS)}")
    if compat not in COMPAT_MODES:
        raise DetectorError(f"compat={compat}: must be one of {', '.join(COMPAT_MODES)}")
    if name == "haar":
        return _build_haar()
    if name == "mtcnn":
        return _build_mtcnn(device, batch_size)

    from face_detection.weights import find_s3fd_weights

    try:
        path = find_s3fd_weights(None if weights is None else Path(weights), download, retry=name == "s3fd")
    except DetectorError as error:
        if name == "s3fd" or weights is not None:  # never ignore a file that the user named
            raise
        return _build_fallback(error, device, batch_size)
    if name == "auto":
        logger.info("face detector: S3FD with weights %s", path)

    import torch

    from face_detection.detectors.s3fd import S3FD

    dtype = torch.float32 if dtype is None or compat == "public" else dtype
    return S3FD(path, device=device, batch_size=batch_size, compat=compat, dtype=dtype)


def _build_fallback(s3fd_error: DetectorError, device: str | torch.device, batch_size: int) -> Detector:
    try:
        detector = _build_mtcnn(device, batch_size)
    except DetectorError as error:
        logger.warning(
            "face detector: Haar cascade, less reliable than S3FD and MTCNN, which are unavailable: %s; %s",
            s3fd_error, error,
        )  # fmt: skip
        return _build_haar()
    logger.warning("face detector: MTCNN, but the published weights expect S3FD's boxes: %s", s3fd_error)
    return detector


def _build_mtcnn(device: str | torch.device, batch_size: int) -> Detector:
    from face_detection.detectors.mtcnn import MTCNN
    from face_detection.detectors.mtcnn_weights import find_installed_weights

    return MTCNN(find_installed_weights(), device=device, batch_size=batch_size)


def _build_haar() -> Detector:
    from face_detection.detectors.haar import Haar

    return Haar()
