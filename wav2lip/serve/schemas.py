"""What the API takes and gives, as its page at /docs explains it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wav2lip.serve.job import Job, JobOptions
from wav2lip.serve.uploads import Upload

ID = "k3J0b6kQ9w0mZ1xV4sYtR8uPq2nLcDfE"
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
Id = Annotated[str, Field(description="Cannot be guessed; only the client that got it may use it.", examples=[ID])]
Sha256 = Annotated[str, Field(description="SHA-256 of the file.", examples=[HASH])]


class ErrorOut(BaseModel):
    """Every error: one sentence that says what is wrong and what to do."""

    error: str = Field(examples=["speech.txt: is not a picture, video or sound that is taken, or is damaged; ..."])


class UploadOut(BaseModel):
    """A file that was given and looked into."""

    id: Id
    name: str = Field(description="What the client calls it.", examples=["person.mp4"])
    sha256: Sha256
    size: int = Field(description="Bytes.", examples=[742113])
    width: int | None = Field(description="Pixels; null where there is no picture.", examples=[1280])
    height: int | None = Field(examples=[720])
    still: bool = Field(description="A picture, no video.")
    seconds: float | None = Field(description="Of sound; null where there is none.", examples=[7.2])
    created: datetime

    @classmethod
    def of(cls, upload: Upload) -> UploadOut:
        """As the API shows it."""
        return cls(
            id=upload.id, name=upload.name, sha256=upload.sha256, size=upload.size, width=upload.width,
            height=upload.height, still=upload.still, seconds=upload.seconds, created=_time(upload.created),
        )  # fmt: skip


class JobIn(BaseModel):
    """What is to be made, of files that were uploaded before."""

    model_config = ConfigDict(extra="forbid")

    face: str = Field(description="Id of an upload with pictures: a video or a photo.", examples=[ID])
    audio: str = Field(description="Id of an upload with sound.", examples=[ID])
    model: str = Field("", description="Name of a model, see /v1/models; the first one if left out.", max_length=200)
    options: JobOptions = Field(default_factory=JobOptions)


class GivenOut(BaseModel):
    """A file that a job is made of."""

    id: Id
    name: str = Field(examples=["person.mp4"])
    sha256: Sha256


class ProgressOut(BaseModel):
    """How far a job is."""

    stage: str = Field(description="waiting, loading (the model), faces, lips or done.", examples=["lips"])
    done: int = Field(description="Frames.", examples=[120])
    total: int = Field(description="Frames; 0 while that is not known.", examples=[180])


class SecondsOut(BaseModel):
    """How long a job took."""

    waited: float | None = Field(description="From being asked for to being begun.", examples=[0.4])
    ran: float | None = Field(description="From being begun to its end.", examples=[8.1])


class JobOut(BaseModel):
    """A job and what became of it."""

    id: Id
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: ProgressOut
    position: int | None = Field(description="In the queue, from 1; null once it runs.", examples=[None])
    error: str | None = Field(description="Why it failed: one sentence.", examples=[None])
    model: str = Field(examples=["wav2lip_gan"])
    checkpoint_sha256: str | None = Field(description="Of the weights that made the result.", examples=[HASH])
    options: JobOptions
    face: GivenOut
    audio: GivenOut
    created: datetime
    started: datetime | None
    finished: datetime | None
    seconds: SecondsOut
    frames: int | None = Field(description="Of the result.", examples=[180])
    fps: float | None = Field(examples=[25.0])
    without_face: list[tuple[float, float]] = Field(
        description="Spans of seconds in which no face was found and frames are unchanged.", examples=[[[1.2, 1.8]]]
    )
    result: str | None = Field(
        description="Path of the video, while it is kept; null before and after.", examples=[f"/v1/jobs/{ID}/result"]
    )
    result_sha256: str | None = Field(examples=[HASH])
    result_size: int | None = Field(description="Bytes.", examples=[911374])

    @classmethod
    def of(cls, job: Job) -> JobOut:
        """As the API shows it."""
        facts: dict[str, Any] = {
            name: getattr(job, name)
            for name in ("id", "state", "position", "error", "model", "checkpoint_sha256", "options", "frames", "fps",
                         "result_sha256", "result_size")
        }  # fmt: skip
        return cls(
            **facts,
            progress=ProgressOut(stage=job.progress.stage, done=job.progress.done, total=job.progress.total),
            face=GivenOut(id=job.face.id, name=job.face.name, sha256=job.face.sha256),
            audio=GivenOut(id=job.audio.id, name=job.audio.name, sha256=job.audio.sha256),
            created=_time(job.created),
            started=None if job.started is None else _time(job.started),
            finished=None if job.finished is None else _time(job.finished),
            seconds=SecondsOut(waited=_between(job.created, job.started), ran=_between(job.started, job.finished)),
            without_face=list(job.without_face),
            result=f"/v1/jobs/{job.id}/result" if job.kept else None,
        )


class ModelOut(BaseModel):
    """A generator."""

    name: str = Field(examples=["wav2lip_gan"])
    default: bool = Field(description="Used where a job names none.")


class HealthOut(BaseModel):
    """That the server works."""

    status: Literal["ok"]
    version: str = Field(examples=["0.1.0"])
    queued: int
    running: int


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 3)
