"""The page and the API as one application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import gradio as gr
from fastapi import FastAPI, Request

from wav2lip import __version__
from wav2lip.serve import page
from wav2lip.serve.service import Service
from wav2lip.serve.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """An ASGI application, whose workers run while it does; the service is its state.service.

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

    app = FastAPI(title="Wav2Lip", version=__version__, lifespan=running)
    app.state.service = service
    # Gradio reads these whenever it needs them: what browsers upload lies in our folder, nothing is told to others.
    os.environ["GRADIO_TEMP_DIR"] = str(settings.data.resolve() / "page")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return gr.mount_gradio_app(app, page.build(service), "/", auth_dependency=_client, run_history=False)


def _client(request: Request) -> str | None:
    """Who asks: what the page's functions get as gr.Request.username."""
    return request.client.host if request.client else None
