"""Application factory: API, web page and middleware."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware.cors import CORSMiddleware

from wav2lip import __version__
from wav2lip.serve import routes
from wav2lip.serve.auth import login
from wav2lip.serve.auth.identity import ClientResolver
from wav2lip.serve.error_handlers import add_error_handlers
from wav2lip.serve.errors import Unavailable
from wav2lip.serve.job_requests import describe_requests
from wav2lip.serve.live.routes import LiveService
from wav2lip.serve.live.routes import router as live_router
from wav2lip.serve.middleware.auth import AuthMiddleware
from wav2lip.serve.middleware.body_limit import BodyLimitMiddleware
from wav2lip.serve.schemas import HealthOut
from wav2lip.serve.service import Service
from wav2lip.serve.settings import Settings
from wav2lip.serve.usage import routes as usage_routes

UPLOAD_THREADS = 16  # uploads that are stored or wait for their inspection; other requests have threads of their own
DESCRIPTION = """Lip-synced videos from a face (video or photo) and an audio file. Upload both, submit a job, poll it
until it is done, fetch the result. Every error is JSON with one sentence, `{"error": "..."}`.

With `--live_faces`, the WebSocket `/v1/live` makes a prepared face speak in real time. The client sends
`{"type": "start", "face": "anna", "sample_rate": 16000, "format": "mp4"}`, then binary messages of PCM16 audio at that
rate, and `{"type": "flush"}`, `{"type": "interrupt"}`, `{"type": "say", "text": "Hello."}` (with `--tts_voice`) or
`{"type": "end"}`. The server sends `{"type": "ready", "fps": 25.0, "sample_rate": 16000, "mime_type": "..."}`
and binary messages: fragments of an MP4 file for MediaSource, or with the format `jpeg` one frame each, with its time
and audio; at last `{"type": "end", "frames": 250}` or `{"type": "error", "error": "..."}`. The number of sessions and
their length are limited. docs/live.md describes messages and close codes."""


def create_app(settings: Settings) -> FastAPI:
    """Create the ASGI application, whose lifespan starts and stops `state.service`.

    Raises: InputError for unusable settings.
    """
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPIOffline(
        redoc_url=None, title="Wav2Lip", version=__version__, description=DESCRIPTION, lifespan=lifespan,
        swagger_ui_oauth2_redirect_url="/docs/oauth2-redirect",
    )  # fmt: skip
    app.state.service, app.state.clients = service, ClientResolver(settings, service.database)
    app.state.upload_threads = CapacityLimiter(UPLOAD_THREADS)
    app.include_router(routes.router)
    app.include_router(usage_routes.router)
    app.include_router(login.router)
    if settings.live_faces is not None:
        app.state.live = LiveService(settings, service.models)
        app.include_router(live_router)
    _add_monitoring(app, service)
    app.openapi = partial(describe_requests, app.openapi, list(service.engines.engines))  # type: ignore[method-assign]
    add_error_handlers(app)
    app.add_middleware(AuthMiddleware, settings=settings, clients=app.state.clients)
    # Added last, so that it runs first.
    app.add_middleware(BodyLimitMiddleware, settings=settings, stored_bytes=service.uploads.stored_bytes)
    if settings.origins:  # answers preflight requests, which have no key
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"],
            expose_headers=["Retry-After"],
        )  # fmt: skip
    return _mount_page(app, service)


def _add_monitoring(app: FastAPI, service: Service) -> None:
    # A thread of its own, because slow requests may occupy all others.
    limiter = CapacityLimiter(1)

    @app.get("/healthz", tags=["monitoring"])
    async def health() -> HealthOut:
        """Check that the database responds and all workers make progress."""
        counts = await run_sync(service.queue.counts, limiter=limiter)
        if problem := service.problem:
            raise Unavailable(f"{problem}; see the server's log")
        return HealthOut(status="ok", version=__version__, queued=counts["queued"], running=counts["running"])

    @app.get("/metrics", tags=["monitoring"], response_class=Response)
    def metrics() -> Response:
        """Return metrics for Prometheus."""
        counts = service.queue.counts()
        text = service.metrics.render(counts["queued"], counts["running"], service.uploads.stored_bytes())
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _mount_page(app: FastAPI, service: Service) -> FastAPI:
    # Gradio reads both whenever it needs them, and creates the folder when it is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(service.settings.data.resolve() / "page")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from wav2lip.serve import ui

    return ui.mount(app, service, _client)


def _client(request: Request) -> str | None:
    """Return the client's name, which Gradio passes on as gr.Request.username."""
    return request.state.client
