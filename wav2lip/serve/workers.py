"""The threads that make results, a bounded number at a time."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy.exc import OperationalError

from wav2lip.errors import USER_ERRORS
from wav2lip.lipsync import Cancelled, Result
from wav2lip.serve.generators import Generators
from wav2lip.serve.job import Job, Progress
from wav2lip.serve.jobs import Jobs
from wav2lip.serve.settings import Settings
from wav2lip.serve.uploads import Uploads

T = TypeVar("T")

AGAIN = 5.0  # seconds to wait for a database that is away
LOOK = 0.5  # seconds after which an idle worker looks again, though nobody told it

log = logging.getLogger(__name__)


class Workers:
    """Threads that take jobs from the queue until they are stopped."""

    def __init__(
        self, settings: Settings, uploads: Uploads, jobs: Jobs, generators: Generators,
        ended: Callable[[Job, str, float], object],
    ):  # fmt: skip
        """ended: told of each job that ended, its state and the seconds it ran."""
        self._settings = settings
        self._uploads, self._jobs, self._generators = uploads, jobs, generators
        self._ended = ended
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}") for number in range(settings.workers)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more; what runs is put back into the queue. Returns when all threads have ended."""
        self._stop.set()
        with self._jobs.changed:
            self._jobs.changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    @property
    def alive(self) -> bool:
        """All of them run."""
        return all(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while not self._stop.is_set():
            job = self._told(self._jobs.take)
            if job is not None:
                self._run(job)
                continue
            with self._jobs.changed:
                self._jobs.changed.wait(LOOK)

    def _told(self, call: Callable[[], T]) -> T | None:
        """Ask or tell the database, again and again while it is away; None if the server stops meanwhile."""
        while True:
            try:
                return call()
            except OperationalError:
                log.exception("the database does not answer; it is asked again in %.0f s", AGAIN)
            if self._stop.wait(AGAIN):
                return None  # what ran is found and made again at the next start

    def _run(self, job: Job) -> None:
        """Make a job's result, or say why there is none; one that fails takes no worker with it."""
        begin = time.monotonic()
        overdue = begin + self._settings.job_seconds
        state, facts = "failed", {}

        def cancelled() -> bool:
            return self._stop.is_set() or self._jobs.to_be_stopped(job.id) or time.monotonic() > overdue

        try:
            state, facts = "done", self._make(job, cancelled)
        except Cancelled:
            if self._jobs.to_be_stopped(job.id):
                state = "cancelled"
            elif self._stop.is_set():
                self._told(lambda: self._jobs.put_back(job.id))
                return
            else:
                facts = {"error": f"it ran longer than {self._settings.job_seconds:g} s; try it with shorter files"}
        except USER_ERRORS as error:
            facts = {"error": self._in_clients_words(job, str(error))}
        except Exception:
            log.exception("job %s failed by a fault of this program", job.id)
            facts = {"error": "it failed by a fault of this program; the server's log has it under the job's id"}
        ended = self._told(lambda: self._jobs.end(job.id, state, **facts))
        self._ended(job, ended or state, time.monotonic() - begin)

    def _make(self, job: Job, cancelled: Callable[[], bool]) -> dict[str, object]:
        """Make the result; returns what its record is to say."""
        generator = self._generators.get(job.model)
        self._jobs.report(job.id, Progress("faces"))
        outfile = self._jobs.path(job.id)
        result = generator.lipsync(
            self._uploads.path(job.face.id), self._uploads.path(job.audio.id), outfile,
            replace(job.options.of_library(), most_pixels=self._settings.frame_pixels),
            lambda stage, done, total: self._jobs.report(job.id, Progress(stage, done, total)), cancelled,
        )  # fmt: skip
        return _facts(result) | {"checkpoint_sha256": generator.sha256}

    def _in_clients_words(self, job: Job, sentence: str) -> str:
        """The sentence with the client's names for its files, and none of ours."""
        for given in (job.face, job.audio):
            sentence = sentence.replace(str(self._uploads.path(given.id)), given.name)
        return sentence.replace(str(self._jobs.path(job.id)), "the result")


def _facts(result: Result) -> dict[str, object]:
    with result.outfile.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "frames": result.frames, "fps": float(result.fps), "without_face": [list(span) for span in result.without_face],
        "result_sha256": sha256, "result_size": result.outfile.stat().st_size,
    }  # fmt: skip
