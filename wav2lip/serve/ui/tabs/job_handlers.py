"""Event handlers of jobs: submit, watch, cancel, history."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from wav2lip.errors import InputError
from wav2lip.serve.jobs.job import Job
from wav2lip.serve.ui.html import error_card
from wav2lip.serve.ui.session import SessionService
from wav2lip.serve.ui.tabs import job_card
from wav2lip.serve.ui.tabs.forms import BuildForm

HIDDEN, VISIBLE = gr.update(visible=False), gr.update(visible=True)
HISTORY_INTERVAL_S = 2.0  # after it the history is sent again: a late one of another watcher may have replaced it


class JobHandlers:
    """Event handlers; they return values for components of the page."""

    def __init__(self, session: SessionService, engine: str, build_form: BuildForm):
        """engine: whose jobs are shown. build_form: called with the values of the components."""
        self._session, self._engine, self._build_form = session, engine, build_form
        self._watchers: dict[str | None, object] = {}  # Gradio session to the token of its newest `watch`

    def submit(self, request: gr.Request, *values: Any) -> tuple[str | None, str]:
        """Add a job to the queue. Returns: its id, None if it was rejected, and its card in HTML."""
        try:
            job = self._session.submit(self._build_form(*values), request)
        except InputError as error:
            return None, error_card(error)
        return job.id, job_card.render_job(job)

    async def watch(self, job_id: str | None, request: gr.Request) -> AsyncIterator[tuple[Any, Any, Any]]:
        """Yield updates of the job's card, the cancel button and the history.

        Stops when the job is finished, or when the same page watches another job.
        """
        token = self._watchers[request.session_hash] = object()
        try:
            async for update in self._updates(job_id, request):
                if self._watchers.get(request.session_hash) is not token:
                    yield gr.skip(), gr.skip(), gr.skip()  # Gradio sends the last values again at the end
                    return
                yield update
        finally:
            if self._watchers.get(request.session_hash) is token:
                del self._watchers[request.session_hash]

    async def _updates(self, job_id: str | None, request: gr.Request) -> AsyncIterator[tuple[Any, Any, Any]]:
        if job_id is None:
            yield gr.skip(), HIDDEN, gr.skip()
            return
        state, sent = "", 0.0
        try:
            async for job in self._session.watch(job_id, request):
                history, now = gr.skip(), time.monotonic()
                if job.state != state or now - sent >= HISTORY_INTERVAL_S:
                    history, state, sent = await self._session.run_short(self.history, request), job.state, now
                yield job_card.render_job(job), HIDDEN if job.is_finished else VISIBLE, history
        except InputError as error:
            yield error_card(error), HIDDEN, gr.skip()

    def cancel_current(self, job_id: str | None, request: gr.Request) -> None:
        """Cancel the current job; its watcher shows the new state."""
        if job_id is not None:
            self._session.cancel(job_id, request)

    def restore(self, request: gr.Request) -> tuple[str | None, str]:
        """Return the id of the client's newest job that can be shown, and the history, for a reloaded page."""
        jobs = self._jobs(request)
        newest = next((job.id for job in jobs if job.has_result or not job.is_finished), None)
        return newest, job_card.render_history(jobs)

    def history(self, request: gr.Request) -> str:
        """Return the table of the client's jobs in HTML."""
        return job_card.render_history(self._jobs(request))

    def _jobs(self, request: gr.Request) -> list[Job]:
        return [job for job in self._session.jobs(request) if job.engine == self._engine]


def selected_job(event: gr.EventData) -> str:
    """Return the id of the job selected in the history."""
    return str(event.job)
