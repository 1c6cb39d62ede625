"""Operations of the page for one client: between Gradio's requests and the service."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import gradio as gr
from gradio.utils import get_upload_folder

from wav2lip.errors import InputError
from wav2lip.serve.errors import Unauthorized
from wav2lip.serve.jobs.client_jobs import CONTENTS
from wav2lip.serve.jobs.job import REFERENCE, Job
from wav2lip.serve.service import Service
from wav2lip.serve.ui.doctor import Doctor, Examination
from wav2lip.serve.ui.media_files import result_name
from wav2lip.serve.ui.tabs.forms import JobForm

POLL_INTERVAL_S = 0.4
REPEAT_POLLS = 5  # polls after which an unchanged job is sent again
SHORT_THREADS, UPLOAD_THREADS = 4, 16
T = TypeVar("T")


def get_client(request: gr.Request) -> str:
    """Return the client's name, which the authentication middleware has set."""
    client = request.username
    if not client:
        raise Unauthorized("not logged in; log in with your API key")
    return client


class SessionService:
    """Uploads, jobs and examinations of the client who sends a request, within the limits of the service."""

    def __init__(self, service: Service):
        self._service = service
        # API and uploads have threads of their own.
        self._threads = ThreadPoolExecutor(SHORT_THREADS, "page")
        self._upload_threads = ThreadPoolExecutor(UPLOAD_THREADS, "page-uploads")

    def submit(self, form: JobForm, request: gr.Request) -> Job:
        """Add a job to the queue. Raises: InputError for invalid files."""
        client = get_client(request)
        files = {"face": form.face, "audio": form.audio, REFERENCE: form.reference}
        with self._service.uploads.transaction() as save:
            face, audio, reference = (
                None if path is None else save(client, path, Path(path).name, CONTENTS[role])
                for role, path in files.items()
            )
            assert face is not None
            others = [save(client, path, Path(path).name, CONTENTS["audio"]) for path in form.other_audio]
            return self._service.jobs.submit(client, face, audio, form.model, form.options, reference, others)

    def job(self, job_id: str, request: gr.Request) -> Job:
        """Return one of the client's jobs."""
        return self._service.jobs.get(get_client(request), job_id)

    def jobs(self, request: gr.Request) -> list[Job]:
        """Return the client's jobs, the newest first."""
        return self._service.jobs.list(get_client(request))

    def cancel(self, job_id: str, request: gr.Request) -> Job:
        """Cancel one of the client's jobs."""
        return self._service.jobs.cancel(get_client(request), job_id)

    async def watch(self, job_id: str, request: gr.Request) -> AsyncIterator[Job]:
        """Yield one of the client's jobs whenever it changes, until it is finished.

        An unchanged job is repeated every two seconds: a late update of the job that the page showed before may have
        replaced it.
        """
        job = await self.run_short(self.job, job_id, request)
        yield job
        polls = 0  # since the last update
        while not job.is_finished:
            await asyncio.sleep(POLL_INTERVAL_S)
            previous, job = job, await self.run_short(self.job, job_id, request)
            polls += 1
            if job != previous or polls >= REPEAT_POLLS:
                polls = 0
                yield job

    async def run_short(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function that reads the database in a thread of the page."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def run_upload(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function that waits for the inspection of files, in another thread of the page."""
        return await asyncio.get_running_loop().run_in_executor(self._upload_threads, function, *arguments)

    def copy_result(self, job: Job, request: gr.Request) -> str:
        """Copy a result under a descriptive name to a folder from which Gradio serves files to this client."""
        result = self._service.jobs.result_path(get_client(request), job.id)
        copy = Path(get_upload_folder()) / secrets.token_urlsafe(24) / result_name(job)
        copy.parent.mkdir(parents=True)
        shutil.copyfile(result, copy)
        return str(copy)

    async def examine(
        self, files: Sequence[str] | None, request: gr.Request, doctor: Doctor
    ) -> AsyncIterator[Examination]:
        """Run the doctor on the client's clips; it stops when the client disconnects."""
        clips = [(Path(file).name, Path(file)) for file in files or ()]
        client = get_client(request)
        examinations = doctor.examine(client, clips, partial(self._check_has_frames, client))
        pending = None
        try:
            while True:
                pending = asyncio.ensure_future(asyncio.to_thread(next, examinations, None))
                examination = await asyncio.shield(pending)
                if examination is None:
                    return
                yield examination
        finally:
            if pending is not None:
                # A disconnect cancels this coroutine and not the thread, which still runs the generator.
                await asyncio.wait([pending])
            examinations.close()

    def _check_has_frames(self, client: str, name: str, path: Path) -> None:
        if self._service.inspector.inspect(client, path, name).width is None:
            raise InputError(f"{name}: has no video stream; upload a video of a person talking")
