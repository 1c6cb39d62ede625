"""The page and the API as one application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST

from wav2lip import __version__
from wav2lip.serve import login, routes
from wav2lip.serve.answers import add_answers
from wav2lip.serve.bodies import Bodies
from wav2lip.serve.clients import Clients
from wav2lip.serve.door import Door
from wav2lip.serve.refusals import Full
from wav2lip.serve.schemas import HealthOut
from wav2lip.serve.service import Service
from wav2lip.serve.settings import Settings

ABOUT = """Lip-synced videos of a face (video or photo) and a sound. Upload both, ask for a job, look at it until it is
done, fetch the result. Every error is JSON with one sentence, `{"error": "..."}`."""


def create_app(settings: Settings) -> FastAPI:
    """An ASGI application, whose workers run while it does; its service is state.service.

    Raises: InputError if something in the settings cannot be used.
    """
    service = Service(settings)

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPIOffline(
        redoc_url=None, title="Wav2Lip", version=__version__, description=ABOUT, lifespan=running,
        swagger_ui_oauth2_redirect_url="/docs/oauth2-redirect",
    )  # fmt: skip
    app.state.service, app.state.clients = service, Clients(settings)
    app.include_router(routes.router)
    app.include_router(login.router)
    _add_watching(app, service)
    add_answers(app)
    app.add_middleware(Door, settings=settings, clients=app.state.clients)
    app.add_middleware(Bodies, settings=settings, kept=service.uploads.kept)  # added last, passed first
    return _with_page(app, service)


def _add_watching(app: FastAPI, service: Service) -> None:
    asking = CapacityLimiter(1)  # a thread of its own: those of requests may all be busy with what clients gave

    @app.get("/healthz", tags=["watching"])
    async def health() -> HealthOut:
        """Whether the server works: its database answers and its workers live."""
        counts = await run_sync(service.jobs.counts, limiter=asking)
        if not service.works:
            raise Full("no worker is at work; see the server's log")
        return HealthOut(status="ok", version=__version__, queued=counts["queued"], running=counts["running"])

    @app.get("/metrics", tags=["watching"], response_class=Response)
    def metrics() -> Response:
        """Figures for Prometheus."""
        counts = service.jobs.counts()
        text = service.figures.text(counts["queued"], counts["running"], service.uploads.kept())
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _with_page(app: FastAPI, service: Service) -> FastAPI:
    settings = service.settings
    # What browsers upload lies in our folder, nothing is told to others. Gradio reads these whenever it needs them, and
    # makes the folder when it is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(settings.data.resolve() / "page")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from wav2lip.serve import page

    return page.mount(app, service, _client)


def _client(request: Request) -> str | None:
    """Who asks: what the page's functions get as gr.Request.username."""
    return request.state.client
