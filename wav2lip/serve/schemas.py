"""Request and response models of the API, as documented at /docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from wav2lip.engines import SADTALKER, WAV2LIP
from wav2lip.serve.jobs.job import Job, JobEvent, State, UploadRef
from wav2lip.serve.jobs.options import SCHEMAS, job_values
from wav2lip.serve.jobs.uploads import Upload

EXAMPLE_ID = "k3J0b6kQ9w0mZ1xV4sYtR8uPq2nLcDfE"
EXAMPLE_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
Id = Annotated[str, Field(description="Random id, valid only for the client that created it.", examples=[EXAMPLE_ID])]
Sha256 = Annotated[str, Field(description="SHA-256 of the file.", examples=[EXAMPLE_HASH])]


class ErrorOut(BaseModel):
    """Error response: one sentence with the problem and the remedy."""

    error: str = Field(examples=["speech.txt: is not a supported image, video or audio file, or is corrupt; ..."])


class UploadOut(BaseModel):
    """Valid uploaded file."""

    id: Id
    name: str = Field(description="The client's file name.", examples=["person.mp4"])
    sha256: Sha256
    size: int = Field(description="Bytes.", examples=[742113])
    width: int | None = Field(description="Pixels; null without image or video.", examples=[1280])
    height: int | None = Field(examples=[720])
    still: bool = Field(description="True for an image, false for a video.")
    seconds: float | None = Field(description="Duration of the audio; null without audio.", examples=[7.2])
    created: datetime

    @classmethod
    def from_upload(cls, upload: Upload) -> UploadOut:
        """Convert an upload."""
        return cls(
            id=upload.id, name=upload.name, sha256=upload.sha256, size=upload.size, width=upload.width,
            height=upload.height, still=upload.still, seconds=upload.seconds, created=_datetime(upload.created),
        )  # fmt: skip


class UploadRefOut(BaseModel):
    """Input file of a job."""

    id: Id
    name: str = Field(examples=["person.mp4"])
    sha256: Sha256

    @classmethod
    def from_ref(cls, upload: UploadRef) -> UploadRefOut:
        """Convert a reference."""
        return cls(id=upload.id, name=upload.name, sha256=upload.sha256)


class JobEventOut(BaseModel):
    """Change of a job's state."""

    time: datetime
    event: str = Field(
        description="queued, started, requeued (its worker was stopped), lost (its worker died), or a final state.",
        examples=["started"],
    )
    run: int = Field(description="Number of the run, from 1; 0 before the first.")

    @classmethod
    def from_event(cls, event: JobEvent) -> JobEventOut:
        """Convert an event."""
        return cls(time=_datetime(event.time), event=event.event, run=event.run)


class ProgressOut(BaseModel):
    """Progress of a job."""

    stage: str = Field(
        description="waiting, loading (the model), done, or a stage of the engine. wav2lip: faces, lips. sadtalker: "
        "mel, landmarks, 3DMM, audio2exp, face render, enhance.", examples=["lips"],
    )  # fmt: skip
    done: int = Field(description="Frames.", examples=[120])
    total: int = Field(description="Frames; 0 while unknown.", examples=[180])


class SecondsOut(BaseModel):
    """Durations of a job in seconds."""

    waited: float | None = Field(description="From submission to start.", examples=[0.4])
    ran: float | None = Field(description="From start to end.", examples=[8.1])


class JobOut(BaseModel):
    """Job with its progress and outcome."""

    id: Id
    state: State
    progress: ProgressOut
    position: int | None = Field(description="In the queue, from 1; null unless queued.", examples=[None])
    error: str | None = Field(description="Reason of a failure in one sentence.", examples=[None])
    engine: str = Field(examples=["wav2lip"])
    model: str = Field(examples=["wav2lip_gan"])
    checkpoint_sha256: str | None = Field(description="SHA-256 of the model's checkpoint.", examples=[EXAMPLE_HASH])
    options: SCHEMAS[WAV2LIP] | SCHEMAS[SADTALKER] = Field(description="Options of the engine.")  # type: ignore[valid-type]
    face: UploadRefOut
    audio: UploadRefOut | None = Field(description="Null for a job of sadtalker without speech.")
    other_audio: list[UploadRefOut] = Field(description="Audio of the second selected face, and so on.")
    reference: UploadRefOut | None = Field(description="Video whose motion sadtalker takes.", examples=[None])
    created: datetime
    started: datetime | None
    finished: datetime | None
    seconds: SecondsOut
    frames: int | None = Field(description="Number of frames of the result.", examples=[180])
    fps: float | None = Field(examples=[25.0])
    without_face: list[tuple[float, float]] = Field(
        description="Spans in seconds without a detected face, where frames are unchanged.", examples=[[[1.2, 1.8]]]
    )
    result: str | None = Field(
        description="Path of the video; null before it exists and after it is deleted.",
        examples=[f"/v1/jobs/{EXAMPLE_ID}/result"],
    )
    result_sha256: str | None = Field(examples=[EXAMPLE_HASH])
    result_size: int | None = Field(description="Bytes.", examples=[911374])

    @classmethod
    def from_job(cls, job: Job) -> JobOut:
        """Convert a job."""
        unchanged: dict[str, Any] = {
            name: getattr(job, name)
            for name in ("id", "state", "position", "error", "engine", "model", "checkpoint_sha256", "frames", "fps",
                         "result_sha256", "result_size")
        }  # fmt: skip
        return cls(
            **unchanged,
            options=SCHEMAS[job.engine](**job_values(job.options)),
            progress=ProgressOut(stage=job.progress.stage, done=job.progress.done, total=job.progress.total),
            face=UploadRefOut.from_ref(job.face),
            audio=None if job.audio is None else UploadRefOut.from_ref(job.audio),
            other_audio=[UploadRefOut.from_ref(upload) for upload in job.other_audio],
            reference=None if job.reference is None else UploadRefOut.from_ref(job.reference),
            created=_datetime(job.created),
            started=None if job.started is None else _datetime(job.started),
            finished=None if job.finished is None else _datetime(job.finished),
            seconds=SecondsOut(waited=_elapsed(job.created, job.started), ran=_elapsed(job.started, job.finished)),
            without_face=list(job.without_face),
            result=f"/v1/jobs/{job.id}/result" if job.has_result else None,
        )


class ModelOut(BaseModel):
    """Model that jobs can use."""

    name: str = Field(examples=["wav2lip_gan"])
    engine: str = Field(examples=["wav2lip"])
    default: bool = Field(description="Used by jobs of the engine that name no model.")


class EngineOut(BaseModel):
    """Engine that jobs can use."""

    name: str = Field(examples=["wav2lip"])
    default: bool = Field(description="Used by jobs that name no engine.")
    models: Sequence[str] = Field(description="The first is the default.", examples=[["wav2lip_gan"]])
    choices: Mapping[str, Sequence[str | int]] = Field(
        description="Values of the options that depend on the server.", examples=[{"enhancer": ["gfpgan"]}]
    )


class HealthOut(BaseModel):
    """Health of a working server."""

    status: Literal["ok"]
    version: str = Field(examples=["0.1.0"])
    queued: int
    running: int


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _elapsed(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 3)
