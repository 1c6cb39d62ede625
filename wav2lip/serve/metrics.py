"""Prometheus metrics of the server."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    start_http_server,
)

from wav2lip.errors import InputError
from wav2lip.serve.jobs.job import FINAL_STATES

BUCKETS_S = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600)


class JobMetrics:
    """Metrics of the jobs that ran in this process since its start."""

    def __init__(self, engines: Iterable[str]) -> None:
        """engines: names of all engines."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        labels = ["engine", "state"]
        self._finished = Counter("wav2lip_jobs_ended", "Finished jobs.", labels, registry=self.registry)
        self._seconds = Histogram(
            "wav2lip_job_seconds", "Run time of jobs in seconds.", labels, registry=self.registry, buckets=BUCKETS_S
        )
        for engine, state in product(engines, FINAL_STATES):  # so that the series exist before the first job
            self._finished.labels(engine, state)

    def record_job(self, engine: str, state: str, seconds: float) -> None:
        """Count a finished job and its run time."""
        self._finished.labels(engine, state).inc()
        self._seconds.labels(engine, state).observe(seconds)

    def listen(self, port: int) -> None:
        """Serve the metrics by HTTP from a thread. Raises: InputError if the port cannot be used."""
        try:
            start_http_server(port, registry=self.registry)
        except (OSError, OverflowError) as error:
            raise InputError(f"--metrics_port={port}: cannot listen ({error}); give another port") from error


class ServerMetrics:
    """Metrics of a server: its own jobs, and the queue of all processes."""

    def __init__(self, engines: Iterable[str]) -> None:
        """engines: names of all engines."""
        self._jobs = JobMetrics(engines)
        self._registry = self._jobs.registry
        self._queued = Gauge("wav2lip_jobs_queued", "Queued jobs.", registry=self._registry)
        self._running = Gauge("wav2lip_jobs_running", "Running jobs.", registry=self._registry)
        self._stored = Gauge("wav2lip_kept_bytes", "Bytes of stored uploads and results.", registry=self._registry)

    def record_job(self, engine: str, state: str, seconds: float) -> None:
        """Count a finished job and its run time."""
        self._jobs.record_job(engine, state, seconds)

    def render(self, queued: int, running: int, stored_bytes: int) -> bytes:
        """Return all metrics in Prometheus' text format."""
        self._queued.set(queued)
        self._running.set(running)
        self._stored.set(stored_bytes)
        return generate_latest(self._registry)
