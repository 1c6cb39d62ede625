"""Area under the ROC curve."""

from __future__ import annotations

import numpy as np


def roc_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the probability that a positive scores above a negative; ties count half.

    score: (N,) float. positive: (N,) bool.
    Returns: in [0, 1], 0.5 at chance; NaN without positives or without negatives.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    ordered = np.sort(score)
    below = np.searchsorted(ordered, score[positive], "left")
    up_to = np.searchsorted(ordered, score[positive], "right")
    ranks = ((below + up_to + 1) / 2).sum()  # from 1; ties share their mean rank
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))
