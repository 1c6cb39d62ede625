"""Web page in Gradio, mounted at / beside the HTTP API: lip-sync, animation, live speech, training data and runs."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr
from fastapi import FastAPI, Request
from starlette.routing import Mount

from wav2lip.engines import SADTALKER, WAV2LIP
from wav2lip.serve.service import Service
from wav2lip.serve.settings import MIB, SECONDS_PER_HOUR
from wav2lip.serve.ui import theme
from wav2lip.serve.ui.datasets import DatasetCatalog
from wav2lip.serve.ui.doctor import Doctor
from wav2lip.serve.ui.gradio_api import GradioApi
from wav2lip.serve.ui.gradio_lockdown import GradioGuard, Ownership, RestrictedBlocks
from wav2lip.serve.ui.html import html_block
from wav2lip.serve.ui.routes import build_router
from wav2lip.serve.ui.session import SessionService
from wav2lip.serve.ui.tabs.animate import build_animate_tab
from wav2lip.serve.ui.tabs.data import build_data_tab
from wav2lip.serve.ui.tabs.forms import build_animation_form, build_lipsync_form
from wav2lip.serve.ui.tabs.job_handlers import JobHandlers
from wav2lip.serve.ui.tabs.lipsync import build_lipsync_tab
from wav2lip.serve.ui.tabs.live import build_live_tab
from wav2lip.serve.ui.tabs.samples import SAMPLE_NAMES, Samples
from wav2lip.serve.ui.tabs.training import build_training_tab
from wav2lip.serve.ui.training_runs import RunCatalog

PAGE_THREADS = 16  # of the page's functions; other than Gradio's default, which the API would share
CACHE_SWEEP_INTERVAL_S = 600  # Gradio deletes expired files of its own cache
RECONNECT_INTERVAL_S = 15  # a shorter one takes more of the rate limit, which people of one address share
HEADER = """<div id="header"><h1>Wav2Lip</h1><p>Lip-sync a video or a photo to any audio. Get the consent of the person
whose face and voice you use: <a href="page/consent" target="_blank">what consent means</a>.</p></div>"""
LOGOUT_FORM = '<form class="muted" method="post" action="logout"><button>Log out</button></form>'


def mount(app: FastAPI, service: Service, get_client: Callable[[Request], str | None]) -> FastAPI:
    """Mount the page at / and its files under /page; call it after all other routes are added.

    get_client: returns the name of a request's client, None if it is not authorized; handlers receive it as
        gr.Request.username.
    """
    settings = service.settings
    doctor = Doctor(settings.data.resolve() / "doctor", expert=settings.expert)
    datasets, runs = DatasetCatalog(settings.data_root), RunCatalog(settings.runs)
    app.include_router(build_router(doctor, datasets, runs))
    page = build_page(service, doctor, datasets, runs)
    samples = [settings.data.resolve() / "samples" / name for name in SAMPLE_NAMES]
    ownership = Ownership(settings.data.resolve() / "page", samples)
    page.restrict_to_uploads(ownership)
    page.max_threads = PAGE_THREADS
    service.on_stop.append(doctor.kill)
    gr.mount_gradio_app(
        app, page, "/", auth_dependency=get_client, run_history=False, footer_links=[], show_error=False,
        max_file_size=settings.upload_mib * MIB, theme=theme.build_theme(), css_paths=theme.STYLESHEET, ssr_mode=False,
        allowed_paths=list(map(str, samples)),
        root_path=settings.root_path or None,
    )  # fmt: skip
    gradio_mount = app.routes[-1]
    assert isinstance(gradio_mount, Mount)
    gradio_mount.app = GradioGuard(gradio_mount.app, ownership, service.uploads.check_quota)
    return app


def build_page(service: Service, doctor: Doctor, datasets: DatasetCatalog, runs: RunCatalog) -> RestrictedBlocks:
    """Build all tabs and the functions of the Gradio API."""
    settings = service.settings
    session = SessionService(service)
    samples = Samples(settings.data.resolve() / "samples")
    delete_cache = (CACHE_SWEEP_INTERVAL_S, round(settings.keep_hours * SECONDS_PER_HOUR))
    with RestrictedBlocks(title="Wav2Lip", analytics_enabled=False, delete_cache=delete_cache) as page:
        html_block(HEADER if settings.keys is None else HEADER + LOGOUT_FORM)
        with gr.Tab("Lip-sync", id="lipsync"):
            lipsync = service.engines.get(WAV2LIP)
            handlers = JobHandlers(session, WAV2LIP, build_lipsync_form)
            lipsync_inputs = build_lipsync_tab(handlers, lipsync.models, lipsync.choices["enhancer"], samples, page)
        animate_inputs = None
        if SADTALKER in service.engines.engines:
            with gr.Tab("Animate a photo", id="animate"):
                handlers = JobHandlers(session, SADTALKER, build_animation_form)
                choices = service.engines.get(SADTALKER).choices
                animate_inputs = build_animate_tab(handlers, choices, samples, page)
        with gr.Tab("Live", id="live"):
            build_live_tab(settings.live_faces is not None)
        with gr.Tab("Your data", id="data") as data_tab:
            clips = build_data_tab(doctor, datasets, session, data_tab)
        with gr.Tab("Training", id="training") as training_tab:
            build_training_tab(runs, training_tab)
        # An event that begins while the page closes its stream of replies gets none until the next event opens another.
        gr.Timer(RECONNECT_INTERVAL_S).tick(lambda: None, api_visibility="private", show_progress="hidden")
        GradioApi(session, doctor, datasets, runs).register(lipsync_inputs, animate_inputs, clips)
    return page
