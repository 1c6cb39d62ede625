"""Job as clients see it: request, progress and outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wav2lip.engines import EngineOptions

State = Literal["queued", "running", "done", "failed", "cancelled"]
REFERENCE, OTHER_AUDIO = "reference", "audio"  # roles of inputs; that of other audio is followed by its number
FINAL_STATES = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Progress:
    """Progress of a running job."""

    stage: str = "waiting"  # then loading (the model), the stages of the engine, done
    done: int = 0  # frames
    total: int = 0  # frames; 0: unknown


@dataclass(frozen=True)
class UploadRef:
    """Input file of a job."""

    id: str
    name: str
    sha256: str
    still: bool  # an image


@dataclass(frozen=True)
class JobEvent:
    """Change of a job's state."""

    time: float  # seconds since the epoch
    event: str  # queued, started, requeued (orderly stop of its worker), lost (with its worker), or a final state
    run: int  # number of the run, from 1; 0: before the first


@dataclass(frozen=True)
class Job:
    """Snapshot of a job. Times are seconds since the epoch."""

    id: str
    client: str
    state: State
    engine: str
    model: str
    options: EngineOptions
    face: UploadRef
    audio: UploadRef | None
    created: float
    other_audio: tuple[UploadRef, ...] = ()  # of the second selected face, and so on
    reference: UploadRef | None = None  # video whose motion is taken
    run: int = 0  # number of the current or last run, from 1; what an earlier run reports later is ignored
    started: float | None = None
    finished: float | None = None
    progress: Progress = field(default_factory=Progress)
    position: int | None = None  # place in the queue, from 1; None unless queued
    error: str | None = None  # one sentence, of a failed job
    without_face: tuple[tuple[float, float], ...] = ()  # spans in seconds whose frames are unchanged
    frames: int | None = None  # length of the result
    fps: float | None = None
    checkpoint_sha256: str | None = None
    result_sha256: str | None = None
    result_size: int | None = None  # bytes
    has_result: bool = False  # the result is stored

    @property
    def inputs(self) -> list[UploadRef]:
        """All input files."""
        uploads = (self.face, self.audio, *self.other_audio, self.reference)
        return [upload for upload in uploads if upload is not None]

    @property
    def is_finished(self) -> bool:
        """True if the state is final."""
        return self.state in FINAL_STATES
