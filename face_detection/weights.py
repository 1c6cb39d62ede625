"""Where the weights of S3FD are: given, in models/, in the download cache, or on the net."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import os
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import torch

from face_detection.interface import DetectorError

URL = "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth"
FILE_NAME = "s3fd-619a316812.pth"
SHA256_START = "619a316812"
LOCAL = Path("models/s3fd.pth")  # from the working directory
TIMEOUT = 10.0  # seconds to connect, and between two pieces of data
PATIENCE = 24 * 3600.0  # seconds after a failed download before it is tried again unasked

REMEDY = f"download {URL} and put it at {LOCAL}"

logger = logging.getLogger(__name__)


def s3fd_weights(given: Path | None, download: bool, retry: bool = True) -> Path:
    """The file with the weights of S3FD.

    given: a file that the user named; it is used, or missing is an error.
    download: whether to fetch the file into torch's cache when it is nowhere.
    retry: whether to do so even if that failed less than a day ago.
    Raises: DetectorError with the reason and the remedy when there are no weights.
    """
    if given is not None:
        if given.is_file():
            return given
        raise DetectorError(f"there is no file {given}; to have S3FD, {REMEDY}, or name the file you have")
    cached = cached_file()
    for path in (LOCAL, cached):
        if path.is_file():
            return path
    if not download:
        raise DetectorError(f"the weights of S3FD are neither at {LOCAL} nor at {cached}; {REMEDY}")
    note = cached.with_name(cached.name + ".failed")
    if not retry and _is_recent(note):
        raise DetectorError(f"S3FD's weights could not be downloaded lately; {REMEDY}, or remove {note} to try again")
    try:
        fetch(URL, cached, SHA256_START)
    except DetectorError:
        with contextlib.suppress(OSError):  # where no note can be left, the next build tries again
            note.touch()
        raise
    note.unlink(missing_ok=True)
    return cached


def cached_file() -> Path:
    """Where torch's download cache keeps the weights, shared with other programs that use S3FD."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME


def fetch(url: str, path: Path, sha256_start: str) -> None:
    """Download a file whole or not at all.

    sha256_start: first hexadecimal digits of the file's SHA-256.
    Raises: DetectorError if the file cannot be had or is not the one expected; then nothing is left behind.
    """
    logger.info("downloading %s to %s", url, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".partial", dir=path.parent)
    except OSError as error:
        raise DetectorError(f"{path.parent} cannot be written ({error}); {REMEDY}") from error
    partial = Path(name)  # a name of its own: several processes may download at once
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            shutil.copyfileobj(answer, file)
        digest = _sha256(partial)
        if not digest.startswith(sha256_start):
            raise DetectorError(f"{url} gave a file with SHA-256 {digest[:10]}, not {sha256_start}; {REMEDY}")
        os.replace(partial, path)
    except (OSError, http.client.HTTPException) as error:
        raise DetectorError(f"{url} cannot be downloaded ({error}); {REMEDY}") from error
    finally:
        partial.unlink(missing_ok=True)


def _is_recent(note: Path) -> bool:
    return note.is_file() and time.time() - note.stat().st_mtime < PATIENCE


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
