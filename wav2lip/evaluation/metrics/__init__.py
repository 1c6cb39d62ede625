"""Every metric, one module for each family."""

from wav2lip.evaluation.metrics import frechet, identity, landmarks, likeness, perceptual, sharpness, steadiness, sync
from wav2lip.evaluation.metrics.metric import HIGHER, LOWER, ONE, ZERO, Metric, Scores, not_computed

METRICS: tuple[Metric, ...] = (
    *sync.OF_SYNCNET_V2,
    *sync.OF_EXPERT,
    frechet.METRIC,
    *likeness.METRICS,
    *perceptual.METRICS,
    *landmarks.METRICS,
    *sharpness.METRICS,
    *steadiness.METRICS,
    *identity.METRICS,
)  # in the order in which they are told
BY_NAME = {metric.name: metric for metric in METRICS}

__all__ = ["BY_NAME", "HIGHER", "LOWER", "METRICS", "ONE", "ZERO", "Metric", "Scores", "not_computed"]
