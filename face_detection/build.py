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

NAMES = ("auto", "s3fd", "haar")
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
) -> Detector:
    """Build a detector.

    name: "s3fd", "haar", or "auto": S3FD if its weights can be had, else Haar with a warning.
    weights: file of S3FD's weights; without it models/s3fd.pth and torch's download cache are looked at.
    device, batch_size: where S3FD runs and how many pictures it takes at a time; Haar runs on the CPU.
    compat: "public" for the boxes of the public Wav2Lip code, see `face_detection.s3fd.S3FD`.
    download: whether S3FD's weights (90 MB) may be downloaded when they are nowhere.
    Raises: DetectorError for an unknown name, for weights that are missing or damaged.
    """
    if name not in NAMES:
        raise DetectorError(f"there is no detector {name!r}; choose one of {', '.join(NAMES)}")
    if compat not in COMPAT:
        raise DetectorError(f"there is no compat {compat!r}; choose one of {', '.join(COMPAT)}")
    if name == "haar":
        return _haar()

    from face_detection.weights import s3fd_weights

    given = None if weights is None else Path(weights)
    try:
        path = s3fd_weights(given, download)
    except DetectorError as error:
        if name == "s3fd" or given is not None:  # a file that the user named is not passed over
            raise
        logger.warning("faces are found with the Haar cascade, less reliable than S3FD: %s", error)
        return _haar()

    from face_detection.s3fd import S3FD

    return S3FD(path, device=device, batch_size=batch_size, compat=compat)


def _haar() -> Detector:
    from face_detection.haar import Haar

    return Haar()
