"""Files that the page shows: players' videos, reports, pictures of trainings. Each asks first whose it is."""

import mimetypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from wav2lip.errors import InputError
from wav2lip.serve.page.datasets import Datasets
from wav2lip.serve.page.doctor import Doctor
from wav2lip.serve.page.trainings import Trainings
from wav2lip.serve.refusals import Refusal
from wav2lip.serve.service import Service

ClientOf = Callable[[Request], str | None]
CONSENT = Path(__file__).with_name("consent.html")
# A report holds names that people gave and a script of its own: it may do nothing beyond its own frame.
ALONE = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'",
}
AS_IT_IS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}


@contextmanager
def _told() -> Iterator[None]:
    """Sentences become answers with their status."""
    try:
        yield
    except Refusal as error:
        raise HTTPException(error.status, str(error)) from error
    except InputError as error:
        raise HTTPException(404, str(error)) from error


def media_type(name: str) -> str:
    """Of a picture or video by its name; a name that says anything else is not believed."""
    guess = mimetypes.guess_type(name)[0] or ""
    shown = guess.startswith(("video/", "image/")) and guess != "image/svg+xml"
    return guess if shown else "application/octet-stream"


def build_routes(
    service: Service, doctor: Doctor, datasets: Datasets, trainings: Trainings, client_of: ClientOf
) -> APIRouter:
    """Everything under /page."""
    router = APIRouter(prefix="/page", include_in_schema=False)

    def client(request: Request) -> str:
        who = client_of(request)
        if who is None:
            raise HTTPException(401, "log in first: give your key")
        return who

    Client = Annotated[str, Depends(client)]  # FastAPI finds a local name only where annotations are not put off

    @router.get("/jobs/{job_id}/face")
    def face(job_id: str, who: Client) -> Response:
        with _told():
            upload = service.uploads.get(who, service.jobs.get(who, job_id).face.id)
            return FileResponse(upload.path, media_type=media_type(upload.name), headers=AS_IT_IS)

    @router.get("/jobs/{job_id}/result")
    def result(job_id: str, who: Client) -> Response:
        with _told():
            return FileResponse(service.jobs.result(who, job_id), media_type="video/mp4", headers=AS_IT_IS)

    @router.get("/examinations/{examination_id}")
    def examination(examination_id: str, who: Client) -> Response:
        with _told():
            return FileResponse(doctor.find(who, examination_id).report / "report.html", headers=ALONE)

    @router.get("/datasets")
    def dataset(name: str, _who: Client) -> Response:
        with _told():
            return FileResponse(datasets.report(name), headers=ALONE)

    @router.get("/previews")
    def preview(training: str, file: str, _who: Client) -> Response:
        with _told():
            return FileResponse(trainings.preview(training, file), media_type="video/mp4", headers=AS_IT_IS)

    @router.get("/pictures")
    def picture(training: str, tag: str, step: int, _who: Client) -> Response:
        with _told():
            png = trainings.picture(training, tag, step).png
            return Response(png, media_type="image/png", headers=AS_IT_IS)

    @router.get("/consent")
    def consent() -> Response:
        return HTMLResponse(CONSENT.read_text(encoding="utf-8"))

    return router
