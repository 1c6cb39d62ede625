"""Files of the page that the API does not serve: scripts, faces, reports, and images and previews of runs."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from wav2lip.serve.errors import NotFound
from wav2lip.serve.routes import ClientDep, ServiceDep
from wav2lip.serve.ui.datasets import REPORT, DatasetCatalog
from wav2lip.serve.ui.doctor import Doctor
from wav2lip.serve.ui.training_runs import RunCatalog

SCRIPTS = {path.name: path for path in (Path(__file__).parent / "tabs").glob("live*.js")}
CONSENT_PAGE = Path(__file__).with_name("consent.html")
# A report contains a script, and file names that users chose: isolate it from the page.
SANDBOX_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'",
}
CACHE_HEADERS = {"Cache-Control": "private, max-age=3600"}


def build_router(doctor: Doctor, datasets: DatasetCatalog, runs: RunCatalog) -> APIRouter:
    """Build the routes under /page; files of a client are served to that client only."""
    router = APIRouter(prefix="/page", include_in_schema=False)

    @router.get("/jobs/{job_id}/face")
    def face(job_id: str, service: ServiceDep, client: ClientDep) -> Response:
        upload = service.uploads.get(client, service.jobs.get(client, job_id).face.id)
        return FileResponse(
            service.uploads.fetch(upload), media_type=guess_media_type(upload.name), headers=CACHE_HEADERS
        )

    @router.get("/examinations/{examination_id}")
    def examination(examination_id: str, client: ClientDep) -> Response:
        return FileResponse(doctor.find(client, examination_id).report / REPORT, headers=SANDBOX_HEADERS)

    @router.get("/datasets")
    def dataset(name: str) -> Response:
        return FileResponse(datasets.report(name), headers=SANDBOX_HEADERS)

    @router.get("/previews")
    def preview(run: str, file: str) -> Response:
        return FileResponse(runs.preview(run, file), media_type="video/mp4", headers=CACHE_HEADERS)

    @router.get("/images")
    def image(run: str, tag: str, step: int) -> Response:
        return Response(runs.image(run, tag, step).png, media_type="image/png", headers=CACHE_HEADERS)

    @router.get("/scripts/{name}")
    def script(name: str) -> Response:
        if name not in SCRIPTS:
            raise NotFound(f"script {name[:100]!r} does not exist; reload the page")
        return FileResponse(SCRIPTS[name], media_type="text/javascript")

    @router.get("/consent")
    def consent() -> Response:
        return HTMLResponse(CONSENT_PAGE.read_text(encoding="utf-8"))

    return router


def guess_media_type(name: str) -> str:
    """Guess the type of an image or video from its name; anything that a browser could execute is a binary file."""
    guess = mimetypes.guess_type(name)[0] or ""
    is_media = guess.startswith(("video/", "image/")) and guess != "image/svg+xml"
    return guess if is_media else "application/octet-stream"
