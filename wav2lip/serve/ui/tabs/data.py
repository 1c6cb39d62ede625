"""Data tab: the doctor for uploaded clips, and the datasets on the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from wav2lip.errors import InputError
from wav2lip.reporting.durations import format_duration
from wav2lip.serve.ui.datasets import DatasetCatalog, read_description, render_summary
from wav2lip.serve.ui.doctor import MAX_CLIPS, Doctor, Examination
from wav2lip.serve.ui.html import INTERNAL_ERROR, card, error_card, html_block, placeholder, progress_bar
from wav2lip.serve.ui.media_files import VIDEO_TYPES
from wav2lip.serve.ui.session import SessionService

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
NO_ROOT = placeholder(
    "No datasets", "Start the server with --data_root FOLDER, a folder of datasets written by python -m preprocess."
)
NO_DATASET = placeholder("No dataset", "The folder of --data_root has no dataset; python -m preprocess writes one.")
NO_CLIP = placeholder("No clips yet", f"Choose up to {MAX_CLIPS} videos of a person talking, the longer the better.")


def build_data_tab(doctor: Doctor, datasets: DatasetCatalog, session: SessionService, tab: gr.Tab) -> gr.File:
    """Build the tab. Returns: the component with the clips for the doctor."""
    clips = _build_doctor(doctor, session)
    html_block('<h3 class="section-title">Datasets on this server</h3>')
    with gr.Row(equal_height=True, visible=datasets.root is not None):
        dataset = gr.Dropdown([], label="Dataset", scale=4, elem_id="dataset")
        refresh = gr.Button("Refresh", scale=0, min_width=110, elem_classes="align-end")
    summary = html_block(NO_ROOT, elem_id="dataset_summary")
    if datasets.root is None:
        return clips

    def list_datasets(current: str | None) -> gr.Dropdown:
        names = datasets.names()
        return gr.Dropdown(choices=names, value=current if current in names else next(iter(names), None))

    def show_dataset(name: str | None) -> str:
        return render_dataset(datasets, name)

    for event in (tab.select, refresh.click):
        event(list_datasets, dataset, dataset, **PRIVATE).then(show_dataset, dataset, summary, **PRIVATE)
    dataset.input(show_dataset, dataset, summary, **PRIVATE)
    return clips


def _build_doctor(doctor: Doctor, session: SessionService) -> gr.File:
    html_block(
        '<p class="intro">Is a video suitable for training? The data doctor detects faces, measures their size, '
        "sharpness and exposure, and checks the sync of lips and audio. Your files are not changed.</p>"
    )
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            clips = gr.File(
                file_types=VIDEO_TYPES, file_count="multiple", label="Your clips", height=150, elem_id="clips"
            )
            with gr.Row():
                start = gr.Button("Run the doctor", variant="primary", elem_id="run_doctor")
                stop = gr.Button("Stop", visible=False)
        with gr.Column(scale=3, min_width=280):
            result = html_block(NO_CLIP, elem_id="doctor_result")

    async def examine(files: list[str] | None, request: gr.Request) -> AsyncIterator[tuple[str, gr.Button, gr.Button]]:
        busy, idle = _update_buttons(busy=True), _update_buttons(busy=False)
        yield progress_bar("Uploading", "validating the files", None), *busy
        try:
            async for examination in session.examine(files, request, doctor):
                yield render_examination(examination), *(busy if examination.fit is None else idle)
        except InputError as error:
            yield error_card(error), *idle

    outputs = [result, start, stop]
    started = start.click(examine, clips, outputs, concurrency_limit=None, **PRIVATE)
    started.failure(lambda: (INTERNAL_ERROR, *_update_buttons(busy=False)), None, outputs, **PRIVATE)
    stop.click(lambda: (NO_CLIP, *_update_buttons(busy=False)), None, outputs, cancels=[started], **PRIVATE)
    return clips


def _update_buttons(*, busy: bool) -> tuple[gr.Button, gr.Button]:
    """Return updates of the start and stop buttons."""
    return gr.Button(interactive=not busy), gr.Button(visible=busy)


def render_dataset(datasets: DatasetCatalog, name: str | None) -> str:
    """Render the summary and the report of a dataset as HTML."""
    if not name:
        return NO_DATASET
    try:
        summary = datasets.summary(name)
    except InputError as error:
        summary = error_card(error)
    try:
        datasets.report(name)
    except InputError as error:
        return f'<div class="page">{summary}{error_card(error)}</div>'
    report = render_report(f"page/datasets?{urlencode({'name': name})}")
    return f'<div class="page">{summary}<h4>Report</h4>{report}</div>'


def render_examination(examination: Examination) -> str:
    """Render the progress or the verdict of the doctor as HTML."""
    if examination.fit is None:
        message = examination.last_message()
        detail = f'<p class="muted">{escape(message)}</p>' if message else ""
        return progress_bar("The doctor is running", f"{examination.seconds:.0f} s", None) + detail
    if examination.fit:
        verdict = card("<p><b>Fit to train on</b></p>", "good")
    else:
        faults = "".join(f"<li>{escape(fault)}</li>" for fault in examination.faults)
        verdict = card(f"<p><b>Not yet fit to train on</b></p><ul>{faults}</ul>", "warn")
    summary = render_summary(read_description(examination.report))
    report = render_report(f"page/examinations/{examination.id}")
    took = f'<p class="muted">Finished in {format_duration(examination.seconds)}.</p>'
    return f'<div class="page">{verdict}<h4>Summary</h4>{summary}{took}<h4>Report</h4>{report}</div>'


def render_report(url: str) -> str:
    """Render an HTML report in a sandboxed frame that cannot access the page."""
    url = escape(url)
    return (
        f'<iframe class="report" src="{url}" sandbox="allow-scripts" loading="lazy" title="Report"></iframe>'
        f'<div class="actions"><a href="{url}" target="_blank" rel="noopener">Open in a new tab</a></div>'
    )
