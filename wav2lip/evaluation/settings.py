"""Settings that affect the scores: weights, and how they are applied."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wav2lip import __version__
from wav2lip.errors import InputError
from wav2lip.evaluation.samples import EvalSample
from wav2lip.hashing import hash_file_cached

EVALUATION_VERSION = 4  # increased when the scores or cached results of the same inputs change
LSE_FRAMES = ("track", "whole")
HASH_DIGITS = 12


@dataclass(frozen=True)
class EvalSettings:
    """Files and options of the scorers, named like the flags."""

    expert: Path | None = None  # a SyncNet of this project or of upstream
    second_expert: Path | None = None  # another, that the generators were not trained against
    syncnet_v2: Path | None = None
    lpips_backbone: Path | None = None
    lpips_weights: Path | None = None
    fid_weights: Path | None = None
    fid_network: Path | None = None
    landmark_network: Path | None = None
    identity_network: Path | None = None
    lse_frames: str = "track"  # "whole": SyncNet v2 receives whole frames, as for LRS
    detector: str = "auto"  # of the measured faces
    generator_detector: str = "auto"  # of generated videos; auto: as the checkpoint was trained
    s3fd_weights: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.lse_frames not in LSE_FRAMES:
            raise InputError(f"--lse_frames={self.lse_frames}: must be one of {', '.join(LSE_FRAMES)}")
        if (self.lpips_backbone is None) != (self.lpips_weights is None):
            raise InputError("--lpips_backbone and --lpips_weights must be set together; set both or none")
        for name, path in self.files().items():
            if not path.is_file():
                raise InputError(f"--{name} {path}: no such file; check the path")
        if self.expert and self.second_expert and short_hash(self.expert) == short_hash(self.second_expert):
            raise InputError(
                f"--second_expert {self.second_expert}: has the weights of --expert; train one with another seed"
            )

    def files(self) -> dict[str, Path]:
        """Return the files that are set, by flag."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: path for name, path in values if isinstance(path, Path)}

    def evaluators(self) -> dict[str, str]:
        """Return the versions and checksums of everything that computes scores, which the reports state."""
        files = {name: f"{path.name} (sha256 {short_hash(path)})" for name, path in self.files().items()}
        version = {"wav2lip.evaluate": f"{__version__}, evaluation {EVALUATION_VERSION}"}
        return (
            version
            | files
            | {
                "lse_frames": self.lse_frames,
                "detector": self.detector,
                "generator_detector": self.generator_detector,
            }
        )

    def fingerprint(self, sample: EvalSample) -> str:
        """Hash everything that the scores of a sample depend on: contents of files, not their names or times."""
        request = sample.request
        generated_from = (request.checkpoint, request.face, request.audio) if request else (sample.video,)
        content = {
            "evaluators": self.evaluators(),
            "inputs": [None if p is None else short_hash(p) for p in (sample.truth, sample.source, *generated_from)],
            "is_face_crop": sample.is_face_crop,
            "request": None if request is None else [asdict(request.pads), request.reject_longer_audio],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:HASH_DIGITS]


def short_hash(path: Path) -> str:
    """Return the first digits of a file's SHA-256; InputError if it cannot be read."""
    try:
        return hash_file_cached(path)[:HASH_DIGITS]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
