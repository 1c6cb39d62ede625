"""Buttons, result and history of the jobs of a tab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from wav2lip.serve.ui.html import INTERNAL_ERROR, SCRIPT, html_block, progress_bar
from wav2lip.serve.ui.tabs import job_card
from wav2lip.serve.ui.tabs.job_handlers import JobHandlers, selected_job

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
MAX_PARALLEL_SUBMITS = 8  # more than the files that one client may have in inspection, or it would block all others
UPLOADING = progress_bar("Uploading", "validating the files", None)


@dataclass(frozen=True)
class JobPanel:
    """Components of the panel."""

    submit: gr.Button
    cancel: gr.Button
    result: gr.HTML
    history: gr.HTML

    def connect(self, handlers: JobHandlers, inputs: list[Component], page: gr.Blocks) -> None:
        """Add the events of the components. inputs: components whose values the form of the handlers takes."""
        job_id = gr.State(None)
        submitted = self.submit.click(lambda: UPLOADING, None, self.result, **PRIVATE).then(
            handlers.submit, inputs, [job_id, self.result], concurrency_limit=MAX_PARALLEL_SUBMITS, **PRIVATE
        )
        submitted.failure(lambda: INTERNAL_ERROR, None, self.result, **PRIVATE)
        job_changes = [
            submitted,
            page.load(handlers.restore, None, [job_id, self.history], **PRIVATE),
            self.history.click(selected_job, None, job_id, **PRIVATE),
        ]
        for event in job_changes:
            event.success(handlers.watch, job_id, [self.result, self.cancel, self.history], trigger_mode="multiple",
                          concurrency_limit=None, **PRIVATE)  # fmt: skip
        self.cancel.click(handlers.cancel_current, job_id, None, **PRIVATE)


def build_job_panel(prefix: str, hint: str) -> JobPanel:
    """Build the components. prefix: of their ids. hint: shown before the first result."""
    with gr.Row():
        submit = gr.Button("Generate", variant="primary", size="lg", elem_id=f"{prefix}submit", scale=3)
        cancel = gr.Button("Cancel", size="lg", visible=False, elem_id=f"{prefix}cancel", scale=1, min_width=110)
    result = html_block(job_card.no_result(hint), js_on_load=SCRIPT, elem_id=f"{prefix}result")
    html_block('<h3 class="section-title">Your jobs</h3>')
    history = html_block(job_card.NO_JOBS, js_on_load=SCRIPT, elem_id=f"{prefix}history")
    return JobPanel(submit, cancel, result, history)
