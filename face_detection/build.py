"""A detector from its name; "auto" takes what is at hand.

The detectors are imported when one is built: a program that only asks for its flags does not wait for torch.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from face_detection.interface import Detector, DetectorError

if TYPE_CHECKING:
    import torch

NAMES = ("auto", "s3fd", "mtcnn", "haar")
COMPAT = ("none", "public")

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
    """Build a detector.

    name: "s3fd", "mtcnn", "haar", or "auto": the first of these that can be had. One line of the log says which it is:
        a warning unless it is S3FD, whose boxes the published weights were trained with.
    weights: file of S3FD's weights; without it models/s3fd.pth and torch's download cache are looked at.
    device, batch_size: where the networks run and how many pictures they take at a time; Haar runs on the CPU.
    compat: "public" for the boxes of the public Wav2Lip code, see `face_detection.s3fd.S3FD`.
    dtype: numbers that S3FD computes in, if not float32; with compat="public" it always does.
    download: whether S3FD's weights (90 MB) may be downloaded when they are nowhere. "auto" tries once a day.
    Raises: DetectorError for an unknown name, for weights that are missing or damaged.
    """
    if name not in NAMES:
        raise DetectorError(f"there is no detector {name!r}; choose one of {', '.join(NAMES)}")
    if compat not in COMPAT:
        raise DetectorError(f"there is no compat {compat!r}; choose one of {', '.join(COMPAT)}")
    if name == "haar":
        return _haar()
    if name == "mtcnn":
        return _mtcnn(device, batch_size)

    from face_detection.weights import s3fd_weights

    given = None if weights is None else Path(weights)
    try:
        path = s3fd_weights(given, download, retry=name == "s3fd")
    except DetectorError as error:
        if name == "s3fd" or given is not None:  # a file that the user named is not passed over
            raise
        return _last_resort(error, device, batch_size)
    if name == "auto":
        logger.info("faces are found with S3FD, whose weights are %s", path)

    import torch

    from face_detection.s3fd import S3FD

    numbers = torch.float32 if dtype is None or compat == "public" else dtype
    return S3FD(path, device=device, batch_size=batch_size, compat=compat, dtype=numbers)


def _last_resort(without_s3fd: DetectorError, device: str | torch.device, batch_size: int) -> Detector:
    try:
        detector = _mtcnn(device, batch_size)
    except DetectorError as error:
        logger.warning(
            "faces are found with the Haar cascade, less reliable than S3FD and MTCNN: %s; %s", without_s3fd, error
        )
        return _haar()
    logger.warning("faces are found with MTCNN, the published weights know S3FD's boxes: %s", without_s3fd)
    return detector


def _mtcnn(device: str | torch.device, batch_size: int) -> Detector:
    from face_detection.mtcnn import MTCNN
    from face_detection.mtcnn_weights import installed_weights

    return MTCNN(installed_weights(), device=device, batch_size=batch_size)


def _haar() -> Detector:
    from face_detection.haar import Haar

    return Haar()
