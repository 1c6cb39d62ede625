"""What /metrics tells Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600)  # bounds of the histogram


class Figures:
    """Counted since the server was started; one set for each application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._queued = Gauge("wav2lip_jobs_queued", "Jobs that wait.", registry=self._registry)
        self._running = Gauge("wav2lip_jobs_running", "Jobs that run.", registry=self._registry)
        self._kept = Gauge("wav2lip_kept_bytes", "Bytes of kept uploads and results.", registry=self._registry)
        self._ended = Counter("wav2lip_jobs_ended", "Jobs that ended, by outcome.", ["state"], registry=self._registry)
        self._seconds = Histogram(
            "wav2lip_job_seconds", "Seconds that jobs ran.", ["state"], registry=self._registry, buckets=SECONDS
        )
        for state in ("done", "failed", "cancelled"):  # there before the first one
            self._ended.labels(state)

    def ended(self, state: str, seconds: float) -> None:
        """A job ended after running for so long."""
        self._ended.labels(state).inc()
        self._seconds.labels(state).observe(seconds)

    def text(self, queued: int, running: int, kept: int) -> bytes:
        """All of them, in Prometheus's words."""
        self._queued.set(queued)
        self._running.set(running)
        self._kept.set(kept)
        return generate_latest(self._registry)
