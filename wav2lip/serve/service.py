"""What the page and the API both stand on, put together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from wav2lip.errors import InputError
from wav2lip.serve import database
from wav2lip.serve.database import Database
from wav2lip.serve.figures import Figures
from wav2lip.serve.generators import Generators
from wav2lip.serve.job import Job
from wav2lip.serve.jobs import Jobs
from wav2lip.serve.settings import Settings
from wav2lip.serve.sweeping import Sweeper
from wav2lip.serve.uploads import Uploads
from wav2lip.serve.workers import Workers

log = logging.getLogger(__name__)


@contextmanager
def claimed(settings: Settings) -> Iterator[None]:
    """Keep other servers off the data folder and the database in this block.

    Raises: InputError if one is there already.
    """
    lock = FileLock(settings.data / "lock")
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"--data {settings.data}: is used by another server; give another folder") from error
    except OSError as error:
        raise InputError(f"--data {settings.data}: cannot be written to ({error.strerror}); give another") from error
    try:
        if settings.database is None:  # it lies in the data folder
            yield
        else:
            with database.claimed(settings.database):
                yield
    finally:
        lock.release()


class Service:
    """Uploads, jobs and the workers that make them. Nothing runs before start."""

    def __init__(self, settings: Settings):
        """Raises: InputError if the database or the data folder cannot be used."""
        self.settings = settings
        settings.data.mkdir(parents=True, exist_ok=True)
        self.database = Database(settings.database_url)
        self.generators = Generators(settings)
        self.uploads = Uploads(settings, self.database)
        self.jobs = Jobs(settings, self.database, self.generators)
        self.figures = Figures()
        self._workers = Workers(settings, self.uploads, self.jobs, self.generators, self._ended)
        self._sweeper = Sweeper(settings, self.database, self.uploads, self.jobs)

    def start(self) -> None:
        """Go on with what was queued, and take more."""
        waiting = self.jobs.recover()
        if waiting:
            log.info("%d jobs of before wait and are made now", waiting)
        self._sweeper.start()
        self._workers.start()

    def stop(self) -> None:
        """Put what runs back into the queue, and let go of all."""
        self._workers.stop()
        self._sweeper.stop()
        self.database.close()

    @property
    def works(self) -> bool:
        """Every worker lives."""
        return self._workers.alive

    def _ended(self, job: Job, state: str, seconds: float) -> None:
        self.figures.ended(state, seconds)
        log.info("job %s of %s is %s after %.1f s", job.id, job.client, state, seconds)
