"""Engines of the jobs: their options, and factories that load them in the workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wav2lip.batch.jobs import Job
from wav2lip.engine.inputs import FaceInput
from wav2lip.engine.interface import OnProgress, Result
from wav2lip.engine.option_parsing import file_options
from wav2lip.execution.interface import choose_worker_device
from wav2lip.execution.manifest import hash_values
from wav2lip.hashing import hash_file_cached
from wav2lip.lipsync import LipSync
from wav2lip.lipsync.mouth_stage import MouthStage
from wav2lip.sadtalker import SadTalker
from wav2lip.types import PathType

RESULTS = "lipsync"  # stage
FORMAT = 2  # incremented when the same inputs and options give another result than before
WITHOUT_EFFECT = ("cache", "max_pixels")  # options that change no frame


class Engine(Protocol):
    """A loaded engine."""

    def __call__(self, face: FaceInput, audio: Any, outfile: PathType, options: Any, progress: OnProgress) -> Result:
        """Write a result; audio, options: of its engine. Raises: InputError naming the input that cannot be used."""


@dataclass(frozen=True)
class EngineFactory:
    """Common part of the factories: the workers are spread over the devices."""

    checkpoint: str  # file of a generator; folder of SadTalker's checkpoints
    device: str  # one, or several separated by commas
    detector: str
    s3fd_weights: str | None
    checkpoint_digest: str
    landmark_weights: str | None = None

    def device_of(self, worker: int) -> str:
        """Return the device of a worker."""
        names = self.device.split(",")
        return str(choose_worker_device(names[worker % len(names)].strip(), worker))

    def fingerprint(self, job: Job) -> str:
        """Hash what decides the frames of a result: contents and options, no paths."""
        files = file_options(type(job.options))
        values = vars(job.options)
        options = {name: str(value) for name, value in values.items() if name not in {*files, *WITHOUT_EFFECT}}
        paths = {file: values[file] for file in files}
        paths |= {"s3fd_weights": self.s3fd_weights, "landmark_weights": self.landmark_weights}
        named = {name: _digest(Path(path)) for file in paths for name, path in _named_files(file, paths[file])}
        contents = job.face_digest, job.audio_digest, self.checkpoint_digest, self.detector
        return hash_values(RESULTS, FORMAT, contents, options, named)


def _named_files(name: str, value: Any) -> list[tuple[str, PathType]]:
    """Return the files of an option, numbered where it takes several."""
    if isinstance(value, tuple):
        return [(f"{name} {number}", path) for number, path in enumerate(value)]
    return [] if value is None else [(name, value)]


def _digest(path: Path) -> str:
    """Return the digest of a file that an option names; its absence is reported by the job."""
    return hash_file_cached(path) if path.is_file() else ""


@dataclass(frozen=True)
class LipSyncFactory(EngineFactory):
    """Load a generator and the detector."""

    def build(self, worker: int) -> LipSync:
        """Load them on the worker's device."""
        return LipSync.from_checkpoint(
            self.checkpoint, self.device_of(worker), self.detector, self.s3fd_weights, self.landmark_weights
        )


@dataclass(frozen=True)
class SadTalkerFactory(EngineFactory):
    """Load SadTalker's networks and the detector."""

    def build(self, worker: int) -> SadTalker:
        """Load them on the worker's device; networks of a size with its first job."""
        device = self.device_of(worker)
        return SadTalker.from_checkpoint(
            self.checkpoint, device, self.detector, self.s3fd_weights, self.landmark_weights,
            load_mouth=lambda path: MouthStage.from_checkpoint(path, device, self.s3fd_weights),
        )  # fmt: skip


Factory = LipSyncFactory | SadTalkerFactory
