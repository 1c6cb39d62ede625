"""What the buttons about jobs do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from wav2lip.errors import InputError
from wav2lip.serve.job import JobOptions
from wav2lip.serve.page import wording
from wav2lip.serve.page.markup import refusal
from wav2lip.serve.page.visitors import Visitors

HIDDEN, SHOWN = gr.update(visible=False), gr.update(visible=True)


class Desk:
    """Takes orders, and says how they go. What it gives back are values for the parts of the page."""

    def __init__(self, visitors: Visitors):
        self._visitors = visitors
        self._shown: dict[str | None, object] = {}  # what each open page follows last, by its session

    def submit(
        self, face: str | None, sound: str | None, model: str, faces: str, fit: str, short: str, seam: str,
        silence: str, top: float | None, bottom: float | None, left: float | None, right: float | None,
        request: gr.Request,
    ) -> tuple[str | None, str]:  # fmt: skip
        """Put a job into the queue. Returns: its id, None if it was refused; and what is said of it, HTML."""
        try:
            options = options_of(faces, fit, short, seam, silence, (top, bottom, left, right))
            job = self._visitors.submit(face, sound, model, options, request)
        except InputError as error:
            return None, refusal(error)
        return job.id, wording.told(job)

    async def follow(self, job_id: str | None, request: gr.Request) -> AsyncIterator[tuple[Any, Any, Any]]:
        """How a job goes until it has ended, or until the page follows another.

        Yields: what is said of it, the button that cancels it, the history.
        """
        mine = self._shown[request.session_hash] = object()
        try:
            async for seen in self._followed(job_id, request):
                if self._shown.get(request.session_hash) is not mine:
                    return
                yield seen
        finally:
            if self._shown.get(request.session_hash) is mine:
                del self._shown[request.session_hash]

    async def _followed(self, job_id: str | None, request: gr.Request) -> AsyncIterator[tuple[Any, Any, Any]]:
        if job_id is None:
            yield gr.skip(), HIDDEN, gr.skip()
            return
        state = ""
        try:
            async for job in self._visitors.followed(job_id, request):
                history = gr.skip() if job.state == state else await asyncio.to_thread(self.history, request)
                state = job.state
                yield wording.told(job), HIDDEN if job.ended else SHOWN, history
        except InputError as error:
            yield refusal(error), HIDDEN, gr.skip()

    def stop(self, job_id: str | None, request: gr.Request) -> None:
        """Stop the job that is shown; whoever follows it says so."""
        if job_id is not None:
            self._visitors.cancel(job_id, request)

    def come_back(self, request: gr.Request) -> tuple[str | None, str]:
        """The job that a visitor asked for last, and the history."""
        newest = next((job.id for job in self._visitors.jobs(request) if job.kept or not job.ended), None)
        return newest, self.history(request)

    def history(self, request: gr.Request) -> str:
        """A visitor's own jobs; HTML."""
        return wording.history(self._visitors.jobs(request))


def choose(event: gr.EventData) -> str:
    """The id of the job that was chosen in the history."""
    return str(event.job)


def options_of(
    faces: str, fit: str, short: str, seam: str, silence: str, pads: tuple[float | None, ...]
) -> JobOptions:  # fmt: skip
    """What was chosen, as a job has it; an emptied pad is as it was."""
    top, bottom, left, right = (
        usual if pad is None else round(pad) for pad, usual in zip(pads, JobOptions().pads, strict=True)
    )
    return JobOptions(
        faces=str(faces), fit=fit, short=short, blend=seam, silence=silence, pads=(top, bottom, left, right)
    )
