"""Cache of tracked faces on disk, shared by all runs of a user.

The key of a file covers the content of the video, its reading, the detector and the tracking parameters.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import tempfile
from contextlib import suppress
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.arrays import read_arrays

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2  # increased when the faces of a key or the file format change
MAX_CACHE_BYTES = 200_000_000  # sum over all files; the least recently used are deleted
CHECKSUM_BYTES = 32  # length of the checksum at the start of a file
SUFFIX = ".tracks"


@dataclass(frozen=True)
class CachedTracks:
    """Faces of the first frames of a video."""

    faces: list[list[TrackedFace]]  # one list for each frame
    is_complete: bool  # the video has no further frame


def user_cache() -> TrackCache | None:
    """Return the cache of this user; None for a user without a home folder, as in containers."""
    try:
        return TrackCache(cache_folder())
    except RuntimeError as error:
        logger.info("tracked faces are not cached: %s", error)
        return None


def cache_folder() -> Path:
    """Return the cache folder of this user. Raises: RuntimeError if the user has no home folder."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wav2lip" / "tracks"


class TrackCache:
    """Cache in a folder that several processes may use concurrently."""

    def __init__(self, folder: Path, max_bytes: int = MAX_CACHE_BYTES):
        self.folder, self.max_bytes = folder, max_bytes

    def load(self, key: str) -> CachedTracks | None:
        """Return the entry of a key; None if there is none, or if it is corrupt."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)  # marks it as recently used
        except OSError:  # absent or unreadable
            return None
        payload = content[CHECKSUM_BYTES:]
        if _checksum(payload) != content[:CHECKSUM_BYTES]:
            logger.info("%s: is corrupt; faces are detected again", path)
            return None
        return _deserialize(payload)

    def save(self, key: str, tracks: CachedTracks) -> None:
        """Write an entry atomically; log and continue if the folder is not writable."""
        payload = _serialize(tracks)
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
            self._evict()
        except OSError as error:
            logger.info("tracked faces are not cached: %s", error)

    def _path(self, key: str) -> Path:
        return self.folder / (hashlib.blake2b(f"{FORMAT_VERSION} {key}".encode(), digest_size=20).hexdigest() + SUFFIX)

    def _evict(self) -> None:
        """Delete the least recently used files; another process may do so concurrently."""
        files = []
        for path in self.folder.iterdir():  # including partial files of killed processes
            with suppress(FileNotFoundError):
                stat = path.stat()
                files.append((stat.st_mtime, stat.st_size, path))
        spare = self.max_bytes - sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if spare >= 0:
                return
            path.unlink(missing_ok=True)
            spare += size


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=CHECKSUM_BYTES).digest()


def _serialize(tracks: CachedTracks) -> bytes:
    faces = [face for frame in tracks.faces for face in frame]
    points = {row: face.landmarks for row, face in enumerate(faces) if face.landmarks is not None}
    file = io.BytesIO()
    np.savez_compressed(
        file,
        is_complete=np.array(tracks.is_complete),
        counts=np.array([len(frame) for frame in tracks.faces], np.int32),
        boxes=np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        persons=np.array([face.person for face in faces], np.int32),
        scores=np.array([face.score for face in faces], np.float64),
        filled=np.array([face.filled for face in faces], bool),
        with_landmarks=np.array(list(points), np.int64),
        landmarks=np.array(list(points.values()), np.float32).reshape(-1, 5, 2),
    )
    return file.getvalue()


def _deserialize(payload: bytes) -> CachedTracks:
    arrays = read_arrays(io.BytesIO(payload))
    points = dict(zip(arrays["with_landmarks"].tolist(), arrays["landmarks"], strict=True))
    rows = zip(arrays["persons"].tolist(), arrays["boxes"], arrays["scores"].tolist(), arrays["filled"].tolist(),
               strict=True)  # fmt: skip
    faces = [TrackedFace(*row, points.get(number)) for number, row in enumerate(rows)]
    ends = np.cumsum(arrays["counts"]).tolist()
    frames = [faces[first:end] for first, end in pairwise([0, *ends])]
    return CachedTracks(frames, bool(arrays["is_complete"]))


def cache_key(source: object, detector: object, params: Any) -> str | None:
    """Return the key of the tracks of a source: everything that they depend on.

    params: dataclass of the tracker's parameters. Returns: None if the source or the detector has no fingerprint.
    """
    fingerprints = getattr(source, "fingerprint", None), getattr(detector, "fingerprint", None)
    return None if None in fingerprints else f"{'; '.join(map(str, fingerprints))}; {astuple(params)}"
