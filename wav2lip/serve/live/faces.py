"""Prepared faces of a folder, addressed by the names that clients use."""

from __future__ import annotations

import threading
from pathlib import Path

from wav2lip.engine.prepared import PreparedFace
from wav2lip.engine.prepared.file import SUFFIX
from wav2lip.errors import InputError
from wav2lip.serve.errors import NotFound

MAX_LISTED_NAMES = 10  # in an error


class FaceFolder:
    """Files of `wav2lip.prepare` in a folder; they are checked once, and mapped into memory for all sessions."""

    def __init__(self, folder: Path):
        """Raises: InputError if the folder does not exist."""
        if not folder.is_dir():
            raise InputError(f"--live_faces={folder}: is not a folder; give a folder with files of wav2lip.prepare")
        self._folder = folder
        self._faces: dict[str, tuple[int, PreparedFace]] = {}  # by name: modification time in ns, face
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names of the files without their suffix, sorted."""
        return sorted(path.stem for path in self._folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))

    def get(self, name: str) -> PreparedFace:
        """Return a face; a changed file is read again. Raises: NotFound; InputError for a damaged file."""
        names = self.names
        if name not in names:
            listed = ", ".join(names[:MAX_LISTED_NAMES]) or "none"
            raise NotFound(f"face={name[:100]!r}: is not a prepared face of this server; choose one of: {listed}")
        path = self._folder / f"{name}{SUFFIX}"
        with self._lock:
            modified = path.stat().st_mtime_ns
            if name not in self._faces or self._faces[name][0] != modified:
                self._faces[name] = modified, PreparedFace(path)
            return self._faces[name][1]

    def redact(self, message: str) -> str:
        """Replace the paths of faces in an error by their file names."""
        for name in self.names:
            message = message.replace(str(self._folder / f"{name}{SUFFIX}"), f"{name}{SUFFIX}")
        return message
