"""With what videos are measured: weights, and choices that change the numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

from wav2lip import __version__
from wav2lip.errors import InputError
from wav2lip.evaluation.takes import Take

EVALUATION = 2  # raised whenever a number may change though the inputs do not
FRAMES = ("track", "whole")
DIGITS = 12  # of a checksum that are told
CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Settings:
    """What the judges are built from; the names are those of the flags."""

    expert: Path | None = None  # a SyncNet, this project's or the public one
    syncnet_v2: Path | None = None
    lpips_backbone: Path | None = None
    lpips_weights: Path | None = None
    fid_weights: Path | None = None
    fid_network: Path | None = None
    landmark_network: Path | None = None
    identity_network: Path | None = None
    lse_frames: str = "track"  # "whole": SyncNet v2 is shown whole frames, as for LRS
    detector: str = "auto"
    s3fd_weights: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.lse_frames not in FRAMES:
            raise InputError(f"--lse_frames is {self.lse_frames}; choose one of {', '.join(FRAMES)}")
        if (self.lpips_backbone is None) != (self.lpips_weights is None):
            raise InputError("--lpips_backbone and --lpips_weights belong together; give both or none")
        for name, path in self.files().items():
            if not path.is_file():
                raise InputError(f"--{name} {path}: no such file; check the path")

    def files(self) -> dict[str, Path]:
        """The files that are given, by flag."""
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: path for name, path in given if isinstance(path, Path)}

    def evaluators(self) -> dict[str, str]:
        """Who judges, in words with checksums: a number without them means nothing."""
        words = {name: f"{path.name} (sha256 {digest(path)})" for name, path in self.files().items()}
        words |= {"lse_frames": self.lse_frames, "detector": self.detector}
        return {"wav2lip.evaluate": f"{__version__}, evaluation {EVALUATION}", **words}

    def fingerprint(self, take: Take) -> str:
        """Changes with whatever the scores of a take depend on: contents of files, not their names or times."""
        order = take.order
        inputs = [take.truth, take.source, *((order.checkpoint, order.face, order.audio) if order else (take.made,))]
        told = {
            "evaluators": self.evaluators(),
            "inputs": [None if path is None else digest(path) for path in inputs],
            "face_only": take.face_only,
            "order": None if order is None else [asdict(order.pads), order.not_longer],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:DIGITS]


def digest(path: Path) -> str:
    """The first digits of the SHA-256 of a file; InputError if it cannot be read."""
    try:
        stat = path.stat()
        return _digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


@lru_cache(maxsize=100_000)
def _digest(path: Path, _size: int, _modified: int) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            sha.update(block)
    return sha.hexdigest()[:DIGITS]
