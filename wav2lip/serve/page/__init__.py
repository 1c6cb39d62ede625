"""The web page: lip-sync, training data and trainings, in one application with the API."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr
from fastapi import FastAPI, Request
from starlette.routing import Mount

from wav2lip.serve.page import look
from wav2lip.serve.page.closed import ClosedBlocks, Gate
from wav2lip.serve.page.data_tab import build_data_tab
from wav2lip.serve.page.datasets import Datasets
from wav2lip.serve.page.desk import Desk
from wav2lip.serve.page.doctor import Doctor
from wav2lip.serve.page.endpoints import Endpoints
from wav2lip.serve.page.lipsync_tab import build_lipsync_tab
from wav2lip.serve.page.markup import html
from wav2lip.serve.page.routes import build_routes
from wav2lip.serve.page.samples import Samples
from wav2lip.serve.page.training_tab import build_training_tab
from wav2lip.serve.page.trainings import Trainings
from wav2lip.serve.page.visitors import Visitors
from wav2lip.serve.service import Service
from wav2lip.serve.settings import HOUR, MIB

SWEEP = 600  # seconds between two looks for files that Gradio keeps and that are past their time
HEAD = """<div id="head"><h1>Wav2Lip</h1><p>Lips that follow the sound, on a video or a photo. Ask the person whose face
and voice it is first: <a href="page/consent" target="_blank">what consent means here</a>.</p></div>"""
LOG_OUT = '<form class="soft" method="post" action="logout"><button>Log out</button></form>'  # where there are keys


def mount(app: FastAPI, service: Service, client_of: Callable[[Request], str | None]) -> FastAPI:
    """Give an application the page at / and its files under /page; to be called when it has all its other routes.

    client_of: who sends a request, None if they may not; the page's functions get it as gr.Request.username.
    """
    settings = service.settings
    doctor = Doctor(settings.data.resolve() / "doctor", expert=settings.expert)
    datasets, trainings = Datasets(settings.data_root), Trainings(settings.runs)
    app.include_router(build_routes(doctor, datasets, trainings))
    page = build(service, doctor, datasets, trainings)
    page.take_uploads_alone()
    gr.mount_gradio_app(
        app, page, "/", auth_dependency=client_of, run_history=False, footer_links=[], show_error=False,
        max_file_size=settings.upload_mib * MIB, theme=look.theme(), css_paths=look.STYLE, ssr_mode=False,
        allowed_paths=[str(settings.data.resolve() / "samples")],
    )  # fmt: skip
    mounted = app.routes[-1]
    assert isinstance(mounted, Mount)
    mounted.app = Gate(mounted.app)
    return app


def build(service: Service, doctor: Doctor, datasets: Datasets, trainings: Trainings) -> ClosedBlocks:
    """The page."""
    settings = service.settings
    visitors = Visitors(service)
    samples = Samples(settings.data.resolve() / "samples")
    keep = (SWEEP, round(settings.keep_hours * HOUR))
    with ClosedBlocks(title="Wav2Lip", analytics_enabled=False, delete_cache=keep) as page:
        html(HEAD if settings.keys is None else HEAD + LOG_OUT)
        with gr.Tab("Lip-sync", id="lipsync"):
            given = build_lipsync_tab(Desk(visitors), list(service.generators.names), samples, page)
        with gr.Tab("Your data", id="data") as data:
            clips = build_data_tab(doctor, datasets, visitors, data)
        with gr.Tab("Training", id="training") as training:
            build_training_tab(trainings, training)
        Endpoints(visitors, doctor, datasets, trainings).add(given, clips)
    return page
