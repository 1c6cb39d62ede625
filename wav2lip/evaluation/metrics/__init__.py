"""Metrics of generated videos, one module for each family."""

from wav2lip.evaluation.metrics import fidelity, frechet, identity, landmarks, perceptual, sharpness, sync, temporal
from wav2lip.evaluation.metrics.base import HIGHER, LOWER, ONE, ZERO, Metric, Scores, not_computed

METRICS: tuple[Metric, ...] = (  # in the order of the reports
    *sync.LSE_METRICS,
    *sync.EXPERT_METRICS,
    *sync.SECOND_METRICS,
    frechet.METRIC,
    *fidelity.METRICS,
    *perceptual.METRICS,
    *landmarks.METRICS,
    *sharpness.METRICS,
    *temporal.METRICS,
    *identity.METRICS,
)
BY_NAME = {metric.name: metric for metric in METRICS}

__all__ = ["BY_NAME", "HIGHER", "LOWER", "METRICS", "ONE", "ZERO", "Metric", "Scores", "not_computed"]
