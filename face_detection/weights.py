"""Locate or download the weights of S3FD."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import torch

from face_detection.hashing import hash_file
from face_detection.interface import DetectorError

URL = "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth"
FILE_NAME = "s3fd-619a316812.pth"
SHA256_PREFIX = "619a316812"
LOCAL_PATH = Path("models/s3fd.pth")  # relative to the working directory, as is upstream's place
UPSTREAM_PATH = Path("face_detection/detection/sfd/s3fd.pth")
TIMEOUT_S = 10.0  # limit for connecting, and between two reads
RETRY_AFTER_S = 24 * 3600.0  # delay after a failed download

REMEDY = f"download {URL} to {LOCAL_PATH}"

logger = logging.getLogger(__name__)


def find_s3fd_weights(path: Path | None, download: bool, retry: bool = True) -> Path:
    """Return the path of S3FD's weights file.

    path: a file named by the user; None for `LOCAL_PATH`, `UPSTREAM_PATH`, torch's cache, then a download.
    download: download the file into torch's cache if it is not found.
    retry: download even if a download failed within `RETRY_AFTER_S`.
    Raises: DetectorError if there are no weights.
    """
    if path is not None:
        if path.is_file():
            return path
        raise DetectorError(f"{path}: no such file; {REMEDY}, or give the path of S3FD's weights")
    cached = cache_path()
    for candidate in (LOCAL_PATH, UPSTREAM_PATH, cached):
        if candidate.is_file():
            return candidate
    if not download:
        raise DetectorError(f"no weights of S3FD at {LOCAL_PATH}, {UPSTREAM_PATH} or {cached}; {REMEDY}")
    failure_marker = cached.with_name(cached.name + ".failed")
    if not retry and _is_recent(failure_marker):
        raise DetectorError(f"a download of S3FD's weights failed recently; {REMEDY}, or delete {failure_marker}")
    try:
        download_file(URL, cached, SHA256_PREFIX)
    except DetectorError:
        with contextlib.suppress(OSError):  # without a marker the next build tries again
            failure_marker.touch()
        raise
    failure_marker.unlink(missing_ok=True)
    return cached


def cache_path() -> Path:
    """Return the path of the weights in torch's download cache, which it shares with other programs."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME


def download_file(url: str, path: Path, sha256_prefix: str) -> None:
    """Download a file atomically.

    sha256_prefix: first hexadecimal digits of the expected SHA-256.
    Raises: DetectorError if the download fails or the checksum differs; no partial file remains.
    """
    logger.info("downloading %s to %s", url, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".partial", dir=path.parent)
    except OSError as error:
        raise DetectorError(f"{path.parent}: not writable ({error}); {REMEDY}") from error
    partial = Path(name)  # unique, because several processes may download at the same time
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            shutil.copyfileobj(response, file)
        sha256 = hash_file(partial)
        if not sha256.startswith(sha256_prefix):
            raise DetectorError(f"{url}: SHA-256 is {sha256[:10]}, expected {sha256_prefix}; {REMEDY}")
        os.replace(partial, path)
    except (OSError, http.client.HTTPException) as error:
        raise DetectorError(f"{url}: download failed ({error}); {REMEDY}") from error
    finally:
        partial.unlink(missing_ok=True)


def _is_recent(marker: Path) -> bool:
    return marker.is_file() and time.time() - marker.stat().st_mtime < RETRY_AFTER_S
