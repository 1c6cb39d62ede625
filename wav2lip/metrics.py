"""Scores of sync and of pictures."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def roc_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

    score: (N,) float. positive: (N,) bool.
    Returns: in [0, 1], 0.5 at chance; NaN if one of the two kinds is missing.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)[positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))
