"""What programs call by name through gradio_client. Plain HTTP has the API under /v1."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from wav2lip.errors import USER_ERRORS
from wav2lip.serve.job import Job
from wav2lip.serve.page.datasets import Datasets, read
from wav2lip.serve.page.desk import options_of
from wav2lip.serve.page.doctor import Doctor
from wav2lip.serve.page.trainings import Trainings
from wav2lip.serve.page.visitors import Visitors


class Endpoints:
    """The named functions. What a caller can mend comes back as one sentence."""

    def __init__(self, visitors: Visitors, doctor: Doctor, datasets: Datasets, trainings: Trainings):
        self._visitors, self._doctor = visitors, doctor
        self._datasets, self._trainings = datasets, trainings

    def add(self, given: list[gr.components.Component], clips: gr.File) -> None:
        """Name them, inside the page. given: what a job is asked for with. clips: what the doctor looks at."""
        unseen = gr.Button(visible=False)
        unseen.click(self.predict, given, gr.File(visible=False, label="result"), api_name="predict",
                     concurrency_limit=None)  # fmt: skip
        unseen.click(self.doctor, clips, gr.JSON(visible=False, label="judgement"), api_name="doctor",
                     concurrency_limit=None)  # fmt: skip
        gr.api(self.history, api_name="history")
        gr.api(self.cancel, api_name="cancel")
        gr.api(self.datasets, api_name="datasets")
        gr.api(self.dataset, api_name="dataset")
        gr.api(self.trainings, api_name="trainings")
        gr.api(self.training, api_name="training")

    async def predict(
        self, face: str, audio: str, model: str, faces: str, fit: str, short: str, seam: str, silence: str,
        pad_above: float, pad_below: float, pad_left: float, pad_right: float, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio's way to ask for one
    ) -> str:  # fmt: skip
        """Make a face say a sound and wait for the video. The job is in /history, and goes on if you leave."""
        try:
            pads = (pad_above, pad_below, pad_left, pad_right)
            options = options_of(faces, fit, short, seam, silence, pads)
            job = await asyncio.to_thread(self._visitors.submit, face, audio, model, options, request)
            async for now in self._visitors.followed(job.id, request):
                job = now
                progress((job.progress.done, job.progress.total or None), desc=job.progress.stage, unit="frames")
            if job.state == "done":
                return await asyncio.to_thread(self._visitors.handed_out, job, request)
        except USER_ERRORS as error:
            raise refused(error) from error
        raise refused(job.error or f"the job was {job.state}")

    async def doctor(self, clips: list[str], request: gr.Request) -> dict[str, Any]:
        """Judge whether videos are worth training on. Returns: fit, faults, and the content of dataset.json."""
        try:
            seen = [examination async for examination in self._visitors.examined(clips, request, self._doctor)]
            return {"fit": seen[-1].fit, "faults": seen[-1].faults, "dataset": read(seen[-1].report)}
        except USER_ERRORS as error:
            raise refused(error) from error

    def history(self, request: gr.Request) -> list[dict[str, Any]]:
        """Your jobs, the newest first."""
        return [described(job) for job in self._visitors.jobs(request)]

    def cancel(self, job_id: str, request: gr.Request) -> dict[str, Any]:
        """Stop one of your jobs. Returns how it stands."""
        try:
            return described(self._visitors.cancel(job_id, request))
        except USER_ERRORS as error:
            raise refused(error) from error

    def datasets(self) -> list[str]:
        """Names of the data sets of this server."""
        return self._datasets.names()

    def dataset(self, name: str) -> dict[str, Any]:
        """The content of a data set's dataset.json."""
        try:
            return read(self._datasets.folder(name))
        except USER_ERRORS as error:
            raise refused(error) from error

    def trainings(self) -> list[str]:
        """Names of the trainings of this server."""
        return self._trainings.names()

    def training(self, name: str) -> dict[str, Any]:
        """Where a training stands: step, running, the judge's last verdict, and curves as steps and values."""
        try:
            training = self._trainings.read(name)
        except USER_ERRORS as error:
            raise refused(error) from error
        curves = {tag: {"steps": curve.steps, "values": curve.values} for tag, curve in training.curves.items()}
        return {"step": training.step, "running": training.running, "verdict": training.verdict, "curves": curves}


def described(job: Job) -> dict[str, Any]:
    """A job in plain values."""
    return {
        "id": job.id, "state": job.state, "model": job.model, "face": job.face.name, "audio": job.audio.name,
        "position": job.position, "stage": job.progress.stage, "done": job.progress.done, "total": job.progress.total,
        "error": job.error, "without_face": [list(span) for span in job.without_face], "created": job.created,
    }  # fmt: skip


def refused(sentence: object) -> gr.Error:
    """A sentence as Gradio gives it to a caller, with no traceback in the server's log."""
    return gr.Error(str(sentence), print_exception=False)
