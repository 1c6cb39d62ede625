"""The tab that shows how trainings go."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

import gradio as gr

from wav2lip.errors import InputError
from wav2lip.serve.page import plots
from wav2lip.serve.page.markup import card, empty, html, refusal
from wav2lip.serve.page.trainings import Training, Trainings

EVERY = 10.0  # seconds between two looks at a training that runs
STRIPS, VIDEOS = 2, 4  # of the last validations
NO_FOLDER = empty("No trainings to show", "Start the server with --runs FOLDER, where your checkpoint_dir is.")
NONE_YET = empty("No training yet", "None has left a log in the folder of --runs; one appears with its first report.")
SILENT = "The judge has not spoken: it does after judge_after steps, 2000 if not told otherwise."
LEGEND = '<p class="legend soft"><span><i></i>training</span><span><i class="val"></i>validation</span></p>'


def build_training_tab(trainings: Trainings, tab: gr.Tab) -> None:
    """The parts of the tab, and what happens in it."""
    html('<p class="lead">Losses of training and validation, what the judge said last, and what the generator '
            "makes of held-out clips, while it trains and after.</p>")  # fmt: skip
    with gr.Row(equal_height=True, visible=trainings.root is not None):
        run = gr.Dropdown([], label="Training", scale=4, elem_id="run")
        refresh = gr.Button("Refresh", scale=0, min_width=110, elem_classes="beside")
    overview = html(NO_FOLDER, elem_id="training_overview")
    curves = html("", elem_id="training_curves")
    pictures = html("", elem_id="training_pictures")
    timer = gr.Timer(EVERY, active=False)
    if trainings.root is None:
        return

    def listed(chosen: str | None) -> gr.Dropdown:
        names = trainings.names()
        return gr.Dropdown(choices=names, value=chosen if chosen in names else next(iter(names), None))

    def shown(name: str | None) -> tuple[str, str, str, gr.Timer]:
        if not name:
            return NONE_YET, "", "", gr.Timer(active=False)
        try:
            training = trainings.read(name)
        except InputError as error:
            return refusal(error), "", "", gr.Timer(active=False)
        return summary(training), drawn(training), seen(training), gr.Timer(active=training.running)

    seen_parts = [overview, curves, pictures, timer]
    for event in (tab.select, refresh.click):
        event(listed, run, run, api_visibility="private", show_progress="hidden").then(
            shown, run, seen_parts, api_visibility="private", show_progress="hidden"
        )
    gr.on([run.input, timer.tick], shown, run, seen_parts, api_visibility="private", show_progress="hidden")


def summary(training: Training) -> str:
    """Where it stands, and the last verdict; HTML."""
    kind, state = ("running", "running") if training.running else ("", "not running")
    shown = f'<span class="state {kind}">{state}</span>'
    head = f"<p><b>{escape(training.name)}</b> · step {training.step:,} · {shown}</p>"
    if not training.verdict:
        return card(f'{head}<p class="soft">{SILENT}</p>')
    said = card(f'<pre class="verdict">{escape(training.verdict)}</pre>')
    return f'<div class="page">{card(head)}<h4>What the judge said last</h4>{said}</div>'


def drawn(training: Training) -> str:
    """Its curves; HTML."""
    figures = plots.gallery(training.curves)
    if not figures:
        return empty("No curve yet", "The first report comes after log_interval steps.")
    return f'<div class="page">{LEGEND}<div class="plots">{figures}</div></div>'


def seen(training: Training) -> str:
    """Strips, sync against shift and videos of the last validations; HTML."""
    strips = "".join(
        f"<figure><figcaption><b>Step {picture.step:,}</b> masked · reference · generated · true</figcaption>"
        f'<img src="{_address("pictures", training=training.name, tag="val", step=picture.step)}" loading="lazy" '
        f'width="{picture.width}" height="{picture.height}" alt="Strip of step {picture.step}"></figure>'
        for picture in training.pictures.get("val", [])[-STRIPS:][::-1]
    )
    sync = "".join(
        f"<figure><figcaption><b>Step {picture.step:,}</b> sync against shift</figcaption>"
        f'<img class="curve" src="{_address("pictures", training=training.name, tag="val/curve", step=picture.step)}" '
        f'loading="lazy" alt="Sync against shift, step {picture.step}"></figure>'
        for picture in training.pictures.get("val/curve", [])[-1:]
    )
    videos = "".join(
        f"<figure><figcaption><b>Step {int(path.stem.removeprefix('step')):,}</b> true · "
        f'masked · generated</figcaption><video controls preload="metadata" playsinline '
        f'src="{_address("previews", training=training.name, file=path.name)}#t=0.1"></video></figure>'
        for path in training.previews[-VIDEOS:][::-1]
    )
    parts = [("Validation", strips + sync), ("Previews, with sound", videos)]
    sections = "".join(f'<h4>{title}</h4><div class="strips">{figures}</div>' for title, figures in parts if figures)
    return f'<div class="page">{sections}</div>' if sections else ""


def _address(what: str, **named: object) -> str:
    """Where the page's own routes give a file."""
    return escape(f"page/{what}?{urlencode(named)}")
