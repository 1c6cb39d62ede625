"""Protocol of an engine that runs jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wav2lip.engine.interface import IsCancelled, OnProgress, Result
from wav2lip.engines import EngineOptions
from wav2lip.serve.jobs.job import Job


@dataclass(frozen=True)
class JobFiles:
    """Files of a job on this machine."""

    face: Path
    audio: Sequence[Path]  # of each selected face; none without speech
    reference: Path | None
    result: Path  # to be written


@dataclass(frozen=True)
class Generated:
    """A written result."""

    result: Result
    checkpoint_sha256: str


class JobEngine(Protocol):
    """An engine that runs jobs."""

    @property
    def models(self) -> Sequence[str]:
        """Names of its models; the first is the default."""

    @property
    def choices(self) -> Mapping[str, Sequence[str | int]]:
        """Values of the options that depend on the settings of the server."""

    def load(self) -> None:
        """Check its files. Raises: InputError if one cannot be used."""

    def check(self, options: EngineOptions, num_audio: int) -> None:
        """Check a request before it is queued. num_audio: number of its audio files. Raises: InputError."""

    def run(self, job: Job, files: JobFiles, progress: OnProgress, is_cancelled: IsCancelled) -> Generated:
        """Generate the result of a job. Raises: InputError, Cancelled."""
