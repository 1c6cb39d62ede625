"""Files that the page shows beside what the API gives: faces, reports, pictures of trainings."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from wav2lip.serve.page.datasets import Datasets
from wav2lip.serve.page.doctor import Doctor
from wav2lip.serve.page.trainings import Trainings
from wav2lip.serve.routes import ClientName, Services

CONSENT = Path(__file__).with_name("consent.html")
# A report holds names that people gave and a script of its own: it may do nothing beyond its own frame.
ALONE = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'",
}
KEPT = {"Cache-Control": "private, max-age=3600"}


def build_routes(doctor: Doctor, datasets: Datasets, trainings: Trainings) -> APIRouter:
    """Everything under /page. What is somebody's is given to them alone."""
    router = APIRouter(prefix="/page", include_in_schema=False)

    @router.get("/jobs/{job_id}/face")
    def face(job_id: str, service: Services, client: ClientName) -> Response:
        upload = service.uploads.get(client, service.jobs.get(client, job_id).face.id)
        return FileResponse(upload.path, media_type=media_type(upload.name), headers=KEPT)

    @router.get("/examinations/{examination_id}")
    def examination(examination_id: str, client: ClientName) -> Response:
        return FileResponse(doctor.find(client, examination_id).report / "report.html", headers=ALONE)

    @router.get("/datasets")
    def dataset(name: str) -> Response:
        return FileResponse(datasets.report(name), headers=ALONE)

    @router.get("/previews")
    def preview(training: str, file: str) -> Response:
        return FileResponse(trainings.preview(training, file), media_type="video/mp4", headers=KEPT)

    @router.get("/pictures")
    def picture(training: str, tag: str, step: int) -> Response:
        return Response(trainings.picture(training, tag, step).png, media_type="image/png", headers=KEPT)

    @router.get("/consent")
    def consent() -> Response:
        return HTMLResponse(CONSENT.read_text(encoding="utf-8"))

    return router


def media_type(name: str) -> str:
    """Of a picture or video by its name; a name that says anything else is not believed."""
    guess = mimetypes.guess_type(name)[0] or ""
    shown = guess.startswith(("video/", "image/")) and guess != "image/svg+xml"
    return guess if shown else "application/octet-stream"
