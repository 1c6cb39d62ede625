"""The faces of videos, kept from one run to the next in the user's cache folder.

A file is named by what its faces depend on: the video's content, how it is read, the detector, how faces are followed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from face_detection.stream import TrackedFace

log = logging.getLogger(__name__)

FORMAT = 1  # raised when the same settings give other faces, or files are written in another way, than before
LIMIT = 200_000_000  # bytes of all files; those used longest ago go first
DIGEST = 32  # bytes of a file's own checksum, at its head
ENDING = ".tracks"


@dataclass(frozen=True)
class Remembered:
    """The faces of the frames of a video."""

    faces: list[list[TrackedFace]]  # of each frame
    whole: bool  # the last of these frames is the last of the video


def user_cache() -> TrackCache | None:
    """The cache of this user; None for one without a home, as containers have."""
    try:
        return TrackCache(cache_folder())
    except RuntimeError as error:
        log.info("faces are not kept for the next run: %s", error)
        return None


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again. Raises: RuntimeError if the user has no home."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wav2lip" / "tracks"


class TrackCache:
    """Faces by name, in a folder that several processes may use at a time."""

    def __init__(self, folder: Path, limit: int = LIMIT):
        self.folder, self.limit = folder, limit

    def load(self, key: str) -> Remembered | None:
        """What was saved under a key; None if nothing was, or if it is damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)  # used now
        except OSError:  # not there, or not ours to read: it is found anew
            return None
        payload = content[DIGEST:]
        if _checksum(payload) != content[:DIGEST]:
            log.info("%s is damaged; faces are found anew", path)
            return None
        return _unpacked(payload)

    def save(self, key: str, found: Remembered) -> None:
        """Keep it, whole or not at all; where the folder cannot be written to, say so and go on."""
        payload = _packed(found)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=self.folder, suffix=".partial")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_checksum(payload) + payload)
                os.replace(partial, self._path(key))
            except OSError:
                os.unlink(partial)
                raise
            self._make_room()
        except OSError as error:
            log.info("faces are not kept for the next run: %s", error)

    def _path(self, key: str) -> Path:
        return self.folder / (hashlib.blake2b(f"{FORMAT} {key}".encode(), digest_size=20).hexdigest() + ENDING)

    def _make_room(self) -> None:
        """Remove what was used longest ago; another process may do so at the same time."""
        files = []
        for path in self.folder.iterdir():  # those of a killed process too
            with suppress(FileNotFoundError):
                told = path.stat()
                files.append((told.st_mtime, told.st_size, path))
        spare = self.limit - sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if spare >= 0:
                return
            path.unlink(missing_ok=True)
            spare += size


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=DIGEST).digest()


def _packed(found: Remembered) -> bytes:
    faces = [face for frame in found.faces for face in frame]
    points = {row: face.landmarks for row, face in enumerate(faces) if face.landmarks is not None}
    file = io.BytesIO()
    np.savez_compressed(
        file,
        whole=np.array(found.whole),
        counts=np.array([len(frame) for frame in found.faces], np.int32),
        boxes=np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        persons=np.array([face.person for face in faces], np.int32),
        scores=np.array([face.score for face in faces], np.float64),
        filled=np.array([face.filled for face in faces], bool),
        with_landmarks=np.array(list(points), np.int64),
        landmarks=np.array(list(points.values()), np.float32).reshape(-1, 5, 2),
    )
    return file.getvalue()


def _unpacked(payload: bytes) -> Remembered:
    with np.load(io.BytesIO(payload)) as file:
        arrays = dict(file)
    points = dict(zip(arrays["with_landmarks"].tolist(), arrays["landmarks"], strict=True))
    rows = zip(arrays["persons"].tolist(), arrays["boxes"], arrays["scores"].tolist(), arrays["filled"].tolist(),
               strict=True)  # fmt: skip
    faces = [TrackedFace(*row, points.get(number)) for number, row in enumerate(rows)]
    ends = np.cumsum(arrays["counts"]).tolist()
    frames = [faces[first:end] for first, end in pairwise([0, *ends])]
    return Remembered(frames, bool(arrays["whole"]))
