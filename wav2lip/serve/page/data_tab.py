"""The tab about training data: the doctor for a visitor's clips, and the data sets of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import escape
from urllib.parse import urlencode

import gradio as gr

from wav2lip.errors import InputError
from wav2lip.serve.page.datasets import Datasets, duration, read, summary
from wav2lip.serve.page.doctor import MOST_CLIPS, Doctor, Examination
from wav2lip.serve.page.kinds import VIDEO_FILES
from wav2lip.serve.page.markup import FAULT, card, empty, html, progress, refusal
from wav2lip.serve.page.visitors import Visitors

NO_FOLDER = empty("No data sets to show", "Start the server with --data_root FOLDER, a folder with data sets that "
                  "python -m preprocess made.")  # fmt: skip
NONE_YET = empty("No data set yet", "The folder of --data_root holds none. python -m preprocess makes one.")
NO_CLIP = empty("No clip yet", f"Choose up to {MOST_CLIPS} videos of a person talking, the longer the better.")
STEP = 1.0  # seconds between two words on an examination


def build_data_tab(doctor: Doctor, datasets: Datasets, visitors: Visitors, tab: gr.Tab) -> gr.File:
    """The parts of the tab, and what happens in it. Returns: what the doctor is given."""
    html('<p class="lead">Is a video worth training on? The doctor finds the faces, measures their size, focus and '
            "light, and asks whether the lips belong to the sound. Nothing is changed.</p>")  # fmt: skip
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            clips = gr.File(
                file_types=VIDEO_FILES, file_count="multiple", label="Your clips", height=150, elem_id="clips"
            )
            with gr.Row():
                look = gr.Button("Ask the doctor", variant="primary", elem_id="ask_doctor")
                stop = gr.Button("Stop", visible=False)
        with gr.Column(scale=3, min_width=280):
            found = html(NO_CLIP, elem_id="doctor_found")

    async def examined(files: list[str] | None, request: gr.Request) -> AsyncIterator[tuple[str, gr.Button, gr.Button]]:
        busy, free = _buttons(busy=True), _buttons(busy=False)
        yield progress("Looking", "the file is checked", None), *busy
        try:
            async for examination in visitors.examined(files, request, doctor):
                yield told(examination), *(busy if examination.fit is None else free)
        except InputError as error:
            yield refusal(error), *free

    asked = look.click(examined, clips, [found, look, stop], api_visibility="private", show_progress="hidden",
                       concurrency_limit=None)  # fmt: skip
    asked.failure(lambda: (FAULT, *_buttons(busy=False)), None, [found, look, stop], api_visibility="private",
                  show_progress="hidden")  # fmt: skip
    stop.click(lambda: (NO_CLIP, *_buttons(busy=False)), None, [found, look, stop],
               cancels=[asked], api_visibility="private", show_progress="hidden")  # fmt: skip

    html('<h3 class="part">Data sets on this server</h3>')
    with gr.Row(equal_height=True, visible=datasets.root is not None):
        chosen = gr.Dropdown([], label="Data set", scale=4, elem_id="dataset")
        refresh = gr.Button("Refresh", scale=0, min_width=110, elem_classes="beside")
    shown = html(NO_FOLDER, elem_id="dataset_shown")
    if datasets.root is None:
        return clips

    def listed(name: str | None) -> gr.Dropdown:
        names = datasets.names()
        return gr.Dropdown(choices=names, value=name if name in names else next(iter(names), None))

    for event in (tab.select, refresh.click):
        event(listed, chosen, chosen, api_visibility="private", show_progress="hidden").then(
            lambda name: described(datasets, name), chosen, shown, api_visibility="private", show_progress="hidden"
        )
    chosen.input(
        lambda name: described(datasets, name), chosen, shown, api_visibility="private", show_progress="hidden"
    )
    return clips


def _buttons(*, busy: bool) -> tuple[gr.Button, gr.Button]:
    """Asking and stopping, while the doctor looks or not."""
    return gr.Button(interactive=not busy), gr.Button(visible=busy)


def described(datasets: Datasets, name: str | None) -> str:
    """A data set in figures, and its report; HTML."""
    if not name:
        return NONE_YET
    try:
        figures = datasets.summary(name)
    except InputError as error:
        figures = refusal(error)
    try:
        datasets.report(name)
    except InputError as error:
        return f'<div class="page">{figures}{refusal(error)}</div>'
    report = framed(f"page/datasets?{urlencode({'name': name})}")
    return f'<div class="page">{figures}<h4>Its report</h4>{report}</div>'


def told(examination: Examination) -> str:
    """What an examination has found up to now; HTML."""
    if examination.fit is None:
        return progress("The doctor looks", f"{examination.seconds:.0f} s", None) + _news(examination)
    if examination.fit:
        verdict = card("<p><b>Fit to train on</b></p>", "good")
    else:
        faults = "".join(f"<li>{escape(fault)}</li>" for fault in examination.faults)
        verdict = card(f"<p><b>Not yet</b></p><ul>{faults}</ul>", "warn")
    figures = summary(read(examination.report))
    report = framed(f"page/examinations/{examination.id}")
    took = f'<p class="soft">Looked at for {duration(examination.seconds)}.</p>'
    return f'<div class="page">{verdict}<h4>In figures</h4>{figures}{took}<h4>The report</h4>{report}</div>'


def framed(address: str) -> str:
    """A report in a frame of its own, from which it can reach nothing of the page."""
    address = escape(address)
    return (
        f'<iframe class="report" src="{address}" sandbox="allow-scripts" loading="lazy" title="Report"></iframe>'
        f'<div class="actions"><a href="{address}" target="_blank" rel="noopener">Open the report alone</a></div>'
    )


def _news(examination: Examination) -> str:
    news = examination.news()
    return f'<p class="soft">{escape(news)}</p>' if news else ""
