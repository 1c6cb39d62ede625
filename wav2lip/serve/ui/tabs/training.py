"""Training tab: curves, diagnosis, validation images and previews of the runs on the server."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from wav2lip.errors import InputError
from wav2lip.serve.ui import plots
from wav2lip.serve.ui.html import card, error_card, html_block, placeholder
from wav2lip.serve.ui.training_runs import RunCatalog, TrainingRun

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
REFRESH_INTERVAL_S = 10.0
MAX_STRIPS, MAX_PREVIEWS = 2, 4  # shown, the newest first
NO_ROOT = placeholder("No runs", "Start the server with --runs FOLDER, the parent folder of your checkpoint_dir.")
NO_RUN = placeholder("No run", "The folder of --runs has no training log yet; a run starts one after a few steps.")
NO_DIAGNOSIS = "No diagnosis yet; the first one follows diagnose_after steps, or the last validation of a shorter run."
LEGEND = '<p class="legend muted"><span><i></i>training</span><span><i class="val"></i>validation</span></p>'


def build_training_tab(runs: RunCatalog, tab: gr.Tab) -> None:
    """Build the tab and its events."""
    html_block('<p class="intro">Training and validation curves, the newest diagnosis, and output of the generator on '
               "validation clips, during and after a run.</p>")  # fmt: skip
    with gr.Row(equal_height=True, visible=runs.root is not None):
        run = gr.Dropdown([], label="Run", scale=4, elem_id="run")
        refresh = gr.Button("Refresh", scale=0, min_width=110, elem_classes="align-end")
    overview = html_block(NO_ROOT, elem_id="run_overview")
    curves = html_block("", elem_id="run_curves")
    images = html_block("", elem_id="run_images")
    timer = gr.Timer(REFRESH_INTERVAL_S, active=False)
    if runs.root is None:
        return

    def list_runs(current: str | None) -> gr.Dropdown:
        names = runs.names()
        return gr.Dropdown(choices=names, value=current if current in names else next(iter(names), None))

    def show_run(name: str | None) -> tuple[str, str, str, gr.Timer]:
        if not name:
            return NO_RUN, "", "", gr.Timer(active=False)
        try:
            log = runs.read(name)
        except InputError as error:
            return error_card(error), "", "", gr.Timer(active=False)
        return render_overview(log), render_curves(log), render_images(log), gr.Timer(active=log.is_running)

    outputs = [overview, curves, images, timer]
    for event in (tab.select, refresh.click):
        event(list_runs, run, run, **PRIVATE).then(show_run, run, outputs, **PRIVATE)
    gr.on([run.input, timer.tick], show_run, run, outputs, **PRIVATE)


def render_overview(run: TrainingRun) -> str:
    """Render the step, the state and the newest diagnosis of a run as HTML."""
    kind, state = ("running", "running") if run.is_running else ("", "not running")
    label = f'<span class="state {kind}">{state}</span>'
    head = f"<p><b>{escape(run.name)}</b> · step {run.step:,} · {label}</p>"
    if not run.diagnosis:
        return card(f'{head}<p class="muted">{NO_DIAGNOSIS}</p>')
    diagnosis = card(f'<pre class="diagnosis">{escape(run.diagnosis)}</pre>')
    return f'<div class="page">{card(head)}<h4>Diagnosis</h4>{diagnosis}</div>'


def render_curves(run: TrainingRun) -> str:
    """Render the curves of a run as HTML."""
    figures = plots.gallery(run.curves)
    if not figures:
        return placeholder("No curves yet", "The first values follow after log_interval steps.")
    return f'<div class="page">{LEGEND}<div class="plots">{figures}</div></div>'


def render_images(run: TrainingRun) -> str:
    """Render strips, the offset curve and previews of the newest validations as HTML."""
    strips = "".join(
        f"<figure><figcaption><b>Step {image.step:,}</b> masked · reference · generated · ground truth</figcaption>"
        f'<img src="{_page_url("images", run=run.name, tag="val", step=image.step)}" loading="lazy" '
        f'width="{image.width}" height="{image.height}" alt="Strip of step {image.step}"></figure>'
        for image in run.images.get("val", [])[-MAX_STRIPS:][::-1]
    )
    offset_curve = "".join(
        f"<figure><figcaption><b>Step {image.step:,}</b> offset curve</figcaption>"
        f'<img class="curve" src="{_page_url("images", run=run.name, tag="val/curve", step=image.step)}" '
        f'loading="lazy" alt="Offset curve of step {image.step}"></figure>'
        for image in run.images.get("val/curve", [])[-1:]
    )
    previews = "".join(
        f"<figure><figcaption><b>Step {int(path.stem.removeprefix('step')):,}</b> ground truth · "
        f'masked · generated</figcaption><video controls preload="metadata" playsinline '
        f'src="{_page_url("previews", run=run.name, file=path.name)}#t=0.1"></video></figure>'
        for path in run.previews[-MAX_PREVIEWS:][::-1]
    )
    sections = [("Validation", strips + offset_curve), ("Previews with audio", previews)]
    content = "".join(f'<h4>{title}</h4><div class="strips">{figures}</div>' for title, figures in sections if figures)
    return f'<div class="page">{content}</div>' if content else ""


def _page_url(route: str, **query: object) -> str:
    """Build the URL of a file that ui/routes.py serves."""
    return escape(f"page/{route}?{urlencode(query)}")
