"""Updates of the page while a job is watched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr

from tests.wav2lip.serve.ui.tabs.test_job_card import JOB
from wav2lip.serve.ui.tabs import job_handlers
from wav2lip.serve.ui.tabs.job_handlers import JobHandlers


class FakeSession:
    """Session whose client has one running job, which is watched at the times of a clock, in seconds."""

    def __init__(self, monkeypatch, times: list[float]):
        self.times, self.now = times, 0.0
        self.job = replace(JOB, state="running", position=None)
        monkeypatch.setattr(job_handlers, "time", SimpleNamespace(monotonic=lambda: self.now))

    async def watch(self, job_id, request):
        for time in self.times:
            self.now = time
            yield self.job

    def jobs(self, request):
        return [self.job]

    async def run_short(self, function, *arguments):
        return function(*arguments)


def test_history_is_repeated_while_the_state_stays(monkeypatch):
    handlers = JobHandlers(FakeSession(monkeypatch, [10.0, 10.4, 11.9, 12.1, 12.5, 14.2]), "wav2lip", lambda: None)
    request = SimpleNamespace(session_hash="page")

    async def updates():
        return [history async for _, _, history in handlers.watch("abc", request)]

    has_history = [isinstance(history, str) and "running" in history for history in asyncio.run(updates())]
    assert has_history == [True, False, False, True, False, True]


def test_watcher_that_is_replaced_ends_without_values(monkeypatch):
    handlers = JobHandlers(FakeSession(monkeypatch, [10.0, 10.4]), "wav2lip", lambda: None)
    request = SimpleNamespace(session_hash="page")

    async def values():
        first, second = handlers.watch("abc", request), handlers.watch("def", request)
        before = [await anext(first), await anext(second)]
        return before, [update async for update in first], [update async for update in second]

    before, ended, newest = asyncio.run(values())
    assert all("running" in history for _, _, history in before)
    assert ended == [(gr.skip(), gr.skip(), gr.skip())]
    assert [isinstance(card, str) for card, _, _ in newest] == [True]
