"""Named functions for gradio_client; plain HTTP clients use the API under /v1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from wav2lip.errors import USER_ERRORS
from wav2lip.serve.jobs.job import Job
from wav2lip.serve.ui.datasets import DatasetCatalog, read_description
from wav2lip.serve.ui.doctor import Doctor
from wav2lip.serve.ui.session import SessionService
from wav2lip.serve.ui.tabs.forms import JobForm, build_animation_form, build_lipsync_form
from wav2lip.serve.ui.training_runs import RunCatalog


class GradioApi:
    """Functions of the Gradio API; user errors are returned as gr.Error with their message."""

    def __init__(self, session: SessionService, doctor: Doctor, datasets: DatasetCatalog, runs: RunCatalog):
        self._session, self._doctor = session, doctor
        self._datasets, self._runs = datasets, runs

    def register(
        self, lipsync_inputs: list[gr.components.Component], animate_inputs: list[gr.components.Component] | None,
        clips: gr.File,
    ) -> None:  # fmt: skip
        """Add the functions to the page that is being built.

        lipsync_inputs, animate_inputs: components whose values `predict` and `animate` take; None without the engine.
        clips: component with the files for `doctor`.
        """
        hidden = gr.Button(visible=False)
        hidden.click(self.predict, lipsync_inputs, gr.File(visible=False, label="result"), api_name="predict",
                     concurrency_limit=None)  # fmt: skip
        if animate_inputs is not None:
            hidden.click(self.animate, animate_inputs, gr.File(visible=False, label="result"), api_name="animate",
                         concurrency_limit=None)  # fmt: skip
        hidden.click(self.doctor, clips, gr.JSON(visible=False, label="verdict"), api_name="doctor",
                     concurrency_limit=None)  # fmt: skip
        for function in (self.history, self.cancel, self.datasets, self.dataset, self.runs, self.run):
            gr.api(function, api_name=function.__name__)

    async def predict(
        self, face: str, audio: str, model: str, faces: str, fit: str, short: str, blend: str, silence: str,
        request: gr.Request, pad_top: float | None = None, pad_bottom: float | None = None,
        pad_left: float | None = None, pad_right: float | None = None, enhancer: str | None = None,
        other_audio: list[str] | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio injects it through the default
    ) -> str:  # fmt: skip
        """Lip-sync a face to audio and return the video. The job is listed in /history and survives a disconnect."""
        form = partial(
            build_lipsync_form, face, audio, model, faces, fit, short, blend, silence, pad_top, pad_bottom, pad_left,
            pad_right, enhancer, other_audio,
        )  # fmt: skip
        return await self._run(form, request, progress)

    async def animate(
        self, source_image: str, driven_audio: str | None, preprocess: str, still: bool, enhancer: str | None,
        pose_style: float, size: int, expression_scale: float, blink: str, request: gr.Request,
        idle: float | None = None, reference: str | None = None, ref_info: str = "pose", mouth: str | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio injects it through the default
    ) -> str:  # fmt: skip
        """Animate a photo and return the video. The job is listed in /history and survives a disconnect."""
        form = partial(
            build_animation_form, source_image, driven_audio, preprocess, still, enhancer, pose_style, size,
            expression_scale, blink, idle, reference, ref_info, mouth,
        )  # fmt: skip
        return await self._run(form, request, progress)

    async def _run(self, build_form: Callable[[], JobForm], request: gr.Request, progress: gr.Progress) -> str:
        """Run a job to its end and return a copy of its result. Raises: gr.Error."""
        try:
            job = await self._session.run_upload(self._session.submit, build_form(), request)
            async for update in self._session.watch(job.id, request):
                job = update
                progress((job.progress.done, job.progress.total or None), desc=job.progress.stage, unit="frames")
            if job.state == "done":
                return await self._session.run_short(self._session.copy_result, job, request)
        except USER_ERRORS as error:
            raise to_gradio_error(error) from error
        raise to_gradio_error(job.error or f"job {job.id} is {job.state}")

    async def doctor(self, clips: list[str], request: gr.Request) -> dict[str, Any]:
        """Check whether videos are worth training on. Returns: fit, faults, and the content of dataset.json."""
        try:
            examinations = [update async for update in self._session.examine(clips, request, self._doctor)]
            last = examinations[-1]
            return {"fit": last.fit, "faults": last.faults, "dataset": read_description(last.report)}
        except USER_ERRORS as error:
            raise to_gradio_error(error) from error

    def history(self, request: gr.Request) -> list[dict[str, Any]]:
        """Return your jobs, the newest first."""
        return [job_fields(job) for job in self._session.jobs(request)]

    def cancel(self, job_id: str, request: gr.Request) -> dict[str, Any]:
        """Cancel one of your jobs and return it."""
        try:
            return job_fields(self._session.cancel(job_id, request))
        except USER_ERRORS as error:
            raise to_gradio_error(error) from error

    def datasets(self) -> list[str]:
        """Return the names of the datasets on this server."""
        return self._datasets.names()

    def dataset(self, name: str) -> dict[str, Any]:
        """Return the content of a dataset's dataset.json."""
        try:
            return read_description(self._datasets.folder(name))
        except USER_ERRORS as error:
            raise to_gradio_error(error) from error

    def runs(self) -> list[str]:
        """Return the names of the training runs on this server."""
        return self._runs.names()

    def run(self, name: str) -> dict[str, Any]:
        """Return the state of a training run: step, running, last diagnosis, and curves as steps and values."""
        try:
            run = self._runs.read(name)
        except USER_ERRORS as error:
            raise to_gradio_error(error) from error
        curves = {tag: {"steps": curve.steps, "values": curve.values} for tag, curve in run.curves.items()}
        return {"step": run.step, "running": run.is_running, "diagnosis": run.diagnosis, "curves": curves}


def job_fields(job: Job) -> dict[str, Any]:
    """Return the public fields of a job as JSON values."""
    return {
        "id": job.id, "state": job.state, "engine": job.engine, "model": job.model, "face": job.face.name,
        "audio": None if job.audio is None else job.audio.name,
        "position": job.position, "stage": job.progress.stage, "done": job.progress.done, "total": job.progress.total,
        "error": job.error, "without_face": [list(span) for span in job.without_face], "created": job.created,
    }  # fmt: skip


def to_gradio_error(message: object) -> gr.Error:
    """Wrap a message as an error that Gradio returns without logging a traceback."""
    return gr.Error(str(message), print_exception=False)
