"""The API: uploads and jobs over plain HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import CancelScope
from fastapi import APIRouter, Depends, Query, Request, Security
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from wav2lip.errors import InputError
from wav2lip.serve.job import JobOptions
from wav2lip.serve.schemas import ErrorOut, JobIn, JobOut, ModelOut, UploadOut
from wav2lip.serve.service import Service
from wav2lip.serve.uploads import Kind, Upload

LONGEST_WAIT = 30.0  # seconds that an answer is held back for a job to end
LOOK = 0.2  # seconds between two looks at a job that is waited for
FIELDS = 20  # of a form
WORDS = 1 << 16  # bytes of a field that is no file

OPTIONS = TypeAdapter(JobOptions)

FILE = {"type": "string", "format": "binary"}
FILE_OR_ID = {"oneOf": [FILE, {"type": "string"}], "description": "a file, or the id of an upload"}
JOB_FORM = {
    "type": "object",
    "required": ["face", "audio"],
    "properties": {
        "face": FILE_OR_ID,
        "audio": FILE_OR_ID,
        "model": {"type": "string", "description": "name of a model; the first one if left out"},
        "options": {"type": "string", "description": "JobOptions as JSON", "example": '{"fit": "pingpong"}'},
    },
}
VIDEO: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/mp4": {}}},
    206: {"description": "The range asked for."},
}
UPLOAD_FORM = {"type": "object", "required": ["file"], "properties": {"file": FILE}}
JOB_JSON = JobIn.model_json_schema(ref_template="#/components/schemas/{model}")
JOB_JSON.pop("$defs")  # which stand in those components
ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorOut, "description": "A key is needed."},
    404: {"model": ErrorOut, "description": "There is no such thing, or it is another client's."},
    409: {"model": ErrorOut, "description": "Not in its present state."},
    413: {"model": ErrorOut, "description": "Too many bytes."},
    422: {"model": ErrorOut, "description": "Cannot be used; the sentence says why."},
    429: {"model": ErrorOut, "description": "More jobs or requests than one client may have."},
    503: {"model": ErrorOut, "description": "The server is full."},
}


def _body(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the API's page says of a body that a function reads by itself."""
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


# The door has checked the key before; this says on the API's page that there may be one.
KEY = HTTPBearer(auto_error=False, description="a key, where the server was started with --keys; X-API-Key does too")
router = APIRouter(prefix="/v1", responses=ERRORS, dependencies=[Security(KEY)])


def _service(request: Request) -> Service:
    return request.app.state.service


def _client(request: Request) -> str:
    return request.state.client


Take = Callable[..., Upload]
Services = Annotated[Service, Depends(_service)]
ClientName = Annotated[str, Depends(_client)]


@router.get("/models", tags=["models"], summary="Models")
def models(service: Services) -> list[ModelOut]:
    """The models that a job may name."""
    names = service.generators.names
    return [ModelOut(name=name, default=name == names[0]) for name in names]


@router.post(
    "/uploads",
    status_code=201,
    summary="Give a file",
    tags=["uploads"],
    openapi_extra=_body({"multipart/form-data": UPLOAD_FORM}),
)
async def upload(request: Request, service: Services, client: ClientName) -> UploadOut:
    """Give a file, to be used in any number of jobs until it is removed."""
    async with _form(request) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InputError("file: is missing; send a form with a field `file` that is a file")
        taken = await run_in_threadpool(service.uploads.take, client, file.file, file.filename or "")
        return UploadOut.of(taken)


@router.get("/uploads/{upload_id}", tags=["uploads"], summary="What an upload holds")
def uploaded(upload_id: str, service: Services, client: ClientName) -> UploadOut:
    """What a file that was given holds."""
    return UploadOut.of(service.uploads.get(client, upload_id))


@router.delete("/uploads/{upload_id}", status_code=204, tags=["uploads"], summary="Remove an upload")
def remove_upload(upload_id: str, service: Services, client: ClientName) -> None:
    """Remove a file now; refused while a job that waits or runs needs it."""
    service.uploads.remove(client, upload_id)


@router.post("/jobs", status_code=202, summary="Ask for a video", tags=["jobs"], openapi_extra=_body(
    {"multipart/form-data": JOB_FORM, "application/json": JOB_JSON}))  # fmt: skip
async def submit(request: Request, service: Services, client: ClientName) -> JobOut:
    """Ask for a video: of two files, of the ids of two uploads, or of one of each.

    The answer comes at once, with the job's id; ask for it until its state is done, failed or cancelled.
    """
    async with _together(service) as take:
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            async with _form(request) as form:
                model, options = _words(form, "model"), OPTIONS.validate_json(_words(form, "options") or "{}")
                face = await _given(service, take, client, form, "face")
                audio = await _given(service, take, client, form, "audio")
        else:
            wanted = JobIn.model_validate_json(await request.body())
            face = await run_in_threadpool(service.uploads.get, client, wanted.face)
            audio = await run_in_threadpool(service.uploads.get, client, wanted.audio)
            model, options = wanted.model, wanted.options
        return JobOut.of(await run_in_threadpool(service.jobs.submit, client, face, audio, model, options))


@router.get("/jobs", tags=["jobs"], summary="Your jobs")
def jobs(service: Services, client: ClientName) -> list[JobOut]:
    """Your jobs, the newest first, a hundred at most."""
    return [JobOut.of(job) for job in service.jobs.list(client)]


@router.get("/jobs/{job_id}", tags=["jobs"], summary="How far a job is")
async def job(
    job_id: str, service: Services, client: ClientName,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="seconds to wait for its end")] = 0.0,
) -> JobOut:  # fmt: skip
    """How far a job is, and what became of it."""
    until = time.monotonic() + wait
    while True:
        seen = await run_in_threadpool(service.jobs.get, client, job_id)
        if seen.ended or time.monotonic() >= until:
            return JobOut.of(seen)
        await asyncio.sleep(LOOK)


@router.head("/jobs/{job_id}/result", include_in_schema=False)
@router.get("/jobs/{job_id}/result", tags=["jobs"], summary="The video", response_class=FileResponse, responses=VIDEO)
def result(job_id: str, service: Services, client: ClientName) -> FileResponse:
    """The video. Ranges are served, so that a player can seek."""
    path = service.jobs.result(client, job_id)
    return FileResponse(path, media_type="video/mp4", filename=path.name, content_disposition_type="inline")


@router.post("/jobs/{job_id}/cancel", tags=["jobs"], summary="Stop a job")
def cancel(job_id: str, service: Services, client: ClientName) -> JobOut:
    """Stop a job that waits or runs. One that runs ends within a frame; one that has ended stays as it is."""
    return JobOut.of(service.jobs.cancel(client, job_id))


@router.delete("/jobs/{job_id}", tags=["jobs"], summary="Stop a job and remove its video")
def remove(job_id: str, service: Services, client: ClientName) -> JobOut:
    """Stop a job, and remove its result if there is one. Its record stays."""
    return JobOut.of(service.jobs.remove(client, job_id))


@asynccontextmanager
async def _together(service: Service) -> AsyncIterator[Take]:
    """Uploads.together; what it removes holds up no other request, and goes though the request is given up."""
    together = service.uploads.together()
    take = together.__enter__()
    try:
        yield take
    except BaseException as error:
        with CancelScope(shield=True):
            await run_in_threadpool(together.__exit__, type(error), error, error.__traceback__)
        raise
    together.__exit__(None, None, None)


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    """The form that a request carries; its temporary files go at the end."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise InputError("the request has no form; send multipart/form-data, as curl -F does")
    async with request.form(max_files=2, max_fields=FIELDS, max_part_size=WORDS) as form:
        yield form


def _words(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if isinstance(value, UploadFile):
        raise InputError(f"{name}: is a file; send text")
    return value


async def _given(service: Service, take: Take, client: str, form: FormData, kind: Kind) -> Upload:
    """The face or the sound of a form: a file, or the id of one."""
    value = form.get(kind)
    if isinstance(value, UploadFile):
        return await run_in_threadpool(take, client, value.file, value.filename or "", kind)
    if not value:
        raise InputError(f"{kind}: is missing; send a file, or the id of an upload")
    return await run_in_threadpool(service.uploads.get, client, value)
