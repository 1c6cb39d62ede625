"""Routes of the HTTP API: models, uploads and jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Security
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from wav2lip.engines import WAV2LIP
from wav2lip.errors import InputError
from wav2lip.serve.job_requests import (
    FILE,
    MAX_FILES,
    MAX_VOICES,
    ROLES,
    parse_form_fields,
    parse_job_request,
    parse_json,
    upload_ids,
)
from wav2lip.serve.jobs.client_jobs import CONTENTS
from wav2lip.serve.jobs.options import parse_job_options
from wav2lip.serve.jobs.uploads import Upload
from wav2lip.serve.schemas import EngineOut, ErrorOut, JobEventOut, JobOut, ModelOut, UploadOut
from wav2lip.serve.service import Service

MAX_WAIT_S = 30.0  # long polling
POLL_INTERVAL_S = 0.2
MAX_FORM_FIELDS = 20
MAX_FIELD_BYTES = 1 << 16
MULTIPART = "multipart/form-data"

VIDEO_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/mp4": {}}},
    206: {"description": "The requested range."},
}
UPLOAD_FORM = {"type": "object", "required": ["file"], "properties": {"file": FILE}}
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorOut, "description": "Missing or invalid API key."},
    404: {"model": ErrorOut, "description": "Unknown id, or one of another client."},
    409: {"model": ErrorOut, "description": "Not possible in the current state."},
    413: {"model": ErrorOut, "description": "File or request too large."},
    422: {"model": ErrorOut, "description": "Invalid input."},
    429: {"model": ErrorOut, "description": "Too many requests or jobs of one client."},
    503: {"model": ErrorOut, "description": "Queue or disk full."},
}


def _document_body(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Build the OpenAPI entry of a body that the route parses itself."""
    content = {content_type: {"schema": schema} for content_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


# AuthMiddleware verifies keys; this only documents them.
API_KEY = HTTPBearer(auto_error=False, description="API key if the server runs with --keys; X-API-Key works too")
router = APIRouter(prefix="/v1", responses=ERROR_RESPONSES, dependencies=[Security(API_KEY)])


def _service(request: Request) -> Service:
    return request.app.state.service


def _client(request: Request) -> str:
    return request.state.client


SaveUpload = Callable[..., Upload]
ServiceDep = Annotated[Service, Depends(_service)]
ClientDep = Annotated[str, Depends(_client)]


@router.get("/models", tags=["models"], summary="List models")
def models(service: ServiceDep) -> list[ModelOut]:
    """List the models that jobs can use."""
    return [
        ModelOut(name=name, engine=engine, default=name == served.models[0])
        for engine, served in service.engines.engines.items()
        for name in served.models
    ]


@router.get("/engines", tags=["models"], summary="List engines")
def engines(service: ServiceDep) -> list[EngineOut]:
    """List the engines that jobs can use, and the values that options may have on this server."""
    return [
        EngineOut(name=name, default=name == WAV2LIP, models=engine.models, choices=engine.choices)
        for name, engine in service.engines.engines.items()
    ]


@router.post(
    "/uploads", status_code=201, summary="Upload a file", tags=["uploads"],
    openapi_extra=_document_body({MULTIPART: UPLOAD_FORM}),
)  # fmt: skip
async def create_upload(request: Request, service: ServiceDep, client: ClientDep) -> UploadOut:
    """Upload a file for any number of jobs."""
    async with _parse_form(request) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InputError("file: is missing; send a form with a file field `file`")
        save = partial(service.uploads.save, client, file.file, file.filename or "")
        upload = await run_sync(save, limiter=request.app.state.upload_threads)
        return UploadOut.from_upload(upload)


@router.get("/uploads/{upload_id}", tags=["uploads"], summary="Get an upload")
def get_upload(upload_id: str, service: ServiceDep, client: ClientDep) -> UploadOut:
    """Return the properties of an uploaded file."""
    return UploadOut.from_upload(service.uploads.get(client, upload_id))


@router.delete("/uploads/{upload_id}", status_code=204, tags=["uploads"], summary="Delete an upload")
def delete_upload(upload_id: str, service: ServiceDep, client: ClientDep) -> None:
    """Delete an uploaded file; 409 while an unfinished job uses it."""
    service.uploads.remove(client, upload_id)


@router.post(
    "/jobs", status_code=202, summary="Submit a job", tags=["jobs"],
    openapi_extra=_document_body({}),  # see describe_requests
)  # fmt: skip
async def submit_job(request: Request, service: ServiceDep, client: ClientDep) -> JobOut:
    """Submit a job on files, the ids of uploads, or some of each.

    Returns at once with the job's id; poll it until its state is done, failed or cancelled.
    """
    async with _upload_transaction(service) as save:
        if _is_multipart(request):
            async with _parse_form(request) as form:
                roles = [role for role in ROLES if form.get(role) or role == "face"]
                text = {name: _text_field(form, name) for name in ("engine", "model", "options")}
                job_in = parse_form_fields(text, roles, service.engines)
                uploads = {
                    role: [await _save_field(request, save, value, role) for value in _field_values(form, role)]
                    for role in roles
                }
        else:
            job_in = parse_job_request(parse_json(await request.body(), "the request"), service.engines)
            get = partial(service.uploads.get, client)
            uploads = {role: [await run_in_threadpool(get, upload_id) for upload_id in ids]
                       for role, ids in upload_ids(job_in).items()}  # fmt: skip
        (face,), audio = uploads["face"], uploads.get("audio", [])
        reference = next(iter(uploads.get("reference", [])), None)
        video = None if reference is None else service.uploads.path(reference.id)
        options = parse_job_options(job_in.model_dump()["options"], job_in.engine, video)
        first = audio[0] if audio else None
        submit = partial(service.jobs.submit, client, face, first, job_in.model, options, reference, audio[1:])
        return JobOut.from_job(await run_in_threadpool(submit))


@router.get("/jobs", tags=["jobs"], summary="List your jobs")
def list_jobs(service: ServiceDep, client: ClientDep) -> list[JobOut]:
    """List your newest 100 jobs, the newest first."""
    return [JobOut.from_job(job) for job in service.jobs.list(client)]


@router.get("/jobs/{job_id}", tags=["jobs"], summary="Get a job")
async def get_job(
    job_id: str, service: ServiceDep, client: ClientDep,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="maximum seconds to wait until it ends")] = 0.0,
) -> JobOut:  # fmt: skip
    """Return the progress and outcome of a job."""
    deadline = time.monotonic() + wait
    while True:
        job = await run_in_threadpool(service.jobs.get, client, job_id)
        if job.is_finished or time.monotonic() >= deadline:
            return JobOut.from_job(job)
        await asyncio.sleep(POLL_INTERVAL_S)


@router.get("/jobs/{job_id}/history", tags=["jobs"], summary="Get the history of a job")
def get_history(job_id: str, service: ServiceDep, client: ClientDep) -> list[JobEventOut]:
    """List the changes of a job's state in their order."""
    return [JobEventOut.from_event(event) for event in service.jobs.history(client, job_id)]


@router.head("/jobs/{job_id}/result", include_in_schema=False)
@router.get("/jobs/{job_id}/result", tags=["jobs"], summary="Download the video", response_class=FileResponse,
            responses=VIDEO_RESPONSES)  # fmt: skip
def get_result(job_id: str, service: ServiceDep, client: ClientDep) -> FileResponse:
    """Download the video; supports range requests, so that players can seek."""
    path = service.jobs.result_path(client, job_id)
    return FileResponse(path, media_type="video/mp4", filename=path.name, content_disposition_type="inline")


@router.post("/jobs/{job_id}/cancel", tags=["jobs"], summary="Cancel a job")
def cancel_job(job_id: str, service: ServiceDep, client: ClientDep) -> JobOut:
    """Cancel a queued job, or a running one within a frame; a finished one is not changed."""
    return JobOut.from_job(service.jobs.cancel(client, job_id))


@router.delete("/jobs/{job_id}", tags=["jobs"], summary="Cancel a job and delete its video")
def delete_job(job_id: str, service: ServiceDep, client: ClientDep) -> JobOut:
    """Cancel a job and delete its result; the job remains in the list."""
    return JobOut.from_job(service.jobs.remove(client, job_id))


@asynccontextmanager
async def _upload_transaction(service: Service) -> AsyncIterator[SaveUpload]:
    """Enter UploadStore.transaction; the rollback runs in a thread and even if the request is cancelled."""
    transaction = service.uploads.transaction()
    save = transaction.__enter__()
    try:
        yield save
    except BaseException as error:
        with CancelScope(shield=True):
            await run_in_threadpool(transaction.__exit__, type(error), error, error.__traceback__)
        raise
    transaction.__exit__(None, None, None)


def _is_multipart(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith(MULTIPART)


@asynccontextmanager
async def _parse_form(request: Request) -> AsyncIterator[FormData]:
    """Parse a multipart form; its temporary files are deleted at the end of the block."""
    if not _is_multipart(request):
        raise InputError("the request has no form; send multipart/form-data, e.g. with curl -F")
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FORM_FIELDS, max_part_size=MAX_FIELD_BYTES) as form:
        yield form


def _text_field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if isinstance(value, UploadFile):
        raise InputError(f"{name}: must be text, not a file; send a text field")
    return value


def _field_values(form: FormData, role: str) -> list[UploadFile | str]:
    """Return the values of a field with uploads, an empty one if it is missing."""
    values = form.getlist(role)
    limit = MAX_VOICES if role == "audio" else 1
    if len(values) > limit:
        raise InputError(f"{role}: is given {len(values)} times; send at most {limit}")
    return values or [""]


async def _save_field(request: Request, save: SaveUpload, value: UploadFile | str, role: str) -> Upload:
    """Return the upload of a form field with a file or the id of an upload."""
    client = _client(request)
    if isinstance(value, UploadFile):
        save_file = partial(save, client, value.file, value.filename or "", CONTENTS[role])
        return await run_sync(save_file, limiter=request.app.state.upload_threads)
    if not value:
        raise InputError(f"{role}: is missing; send a file or the id of an upload")
    return await run_in_threadpool(_service(request).uploads.get, client, value)
