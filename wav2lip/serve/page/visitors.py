"""Who asks, what they may have, and what they gave: between Gradio and the service."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from wav2lip.errors import InputError
from wav2lip.serve.contents import Limits, look_into
from wav2lip.serve.job import Job, JobOptions
from wav2lip.serve.page.doctor import Doctor, Examination
from wav2lip.serve.page.names import result_name
from wav2lip.serve.refusals import WhoAreYou
from wav2lip.serve.service import Service

LOOK = 0.4  # seconds between two looks at a job


def client_of(request: gr.Request) -> str:
    """Who asks, as the server's own check of requests has found."""
    client = request.username
    if not client:
        raise WhoAreYou("log in first: give your key")
    return client


class Visitors:
    """What the page does for whoever asks, all of it by the service and its limits."""

    def __init__(self, service: Service):
        self._service = service
        self._limits = Limits(service.settings.media_seconds, service.settings.frame_pixels)

    def submit(self, face: str | None, sound: str | None, model: str, options: JobOptions, request: gr.Request) -> Job:
        """Put what a visitor gave into the queue. Raises: InputError, also for what is missing."""
        if not face:
            raise InputError("no face: choose a video or a photo")
        if not sound:
            raise InputError("no sound: choose a file with sound, or record some")
        client = client_of(request)
        with self._service.uploads.together() as take:
            given = take(client, face, Path(face).name, "face"), take(client, sound, Path(sound).name, "audio")
            return self._service.jobs.submit(client, *given, model, options)

    def job(self, job_id: str, request: gr.Request) -> Job:
        """A visitor's own job as it is now."""
        return self._service.jobs.get(client_of(request), job_id)

    def jobs(self, request: gr.Request) -> list[Job]:
        """All of a visitor's own jobs, the newest first."""
        return self._service.jobs.list(client_of(request))

    def cancel(self, job_id: str, request: gr.Request) -> Job:
        """Stop a visitor's own job."""
        return self._service.jobs.cancel(client_of(request), job_id)

    async def followed(self, job_id: str, request: gr.Request) -> AsyncIterator[Job]:
        """A visitor's own job each time that it has changed, until it has ended."""
        job = await asyncio.to_thread(self.job, job_id, request)
        yield job
        while not job.ended:
            await asyncio.sleep(LOOK)
            before, job = job, await asyncio.to_thread(self.job, job_id, request)
            if job != before:
                yield job

    def handed_out(self, job: Job, request: gr.Request) -> str:
        """A copy of a result where Gradio may give it to the one who asked, under a name that says what it is."""
        result = self._service.jobs.result(client_of(request), job.id)
        copy = Path(get_upload_folder()) / secrets.token_urlsafe(24) / result_name(job)
        copy.parent.mkdir(parents=True)
        shutil.copyfile(result, copy)
        return str(copy)

    async def examined(
        self, files: Sequence[str] | None, request: gr.Request, doctor: Doctor
    ) -> AsyncIterator[Examination]:
        """What the doctor finds in a visitor's clips; he stops when nobody waits for him any more."""
        clips = [(Path(file).name, Path(file)) for file in files or ()]
        examinations = doctor.examine(client_of(request), clips, self._check)
        looking = None
        try:
            while True:
                looking = asyncio.ensure_future(asyncio.to_thread(next, examinations, None))
                examination = await asyncio.shield(looking)
                if examination is None:
                    return
                yield examination
        finally:
            if looking is not None:
                await asyncio.wait([looking])  # a thread is in there still where the visitor has gone meanwhile
            examinations.close()

    def _check(self, name: str, path: Path) -> None:
        if look_into(path, name, self._limits).width is None:
            raise InputError(f"{name}: has no pictures; give a video of a person talking")
