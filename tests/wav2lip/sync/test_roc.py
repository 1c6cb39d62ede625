"""ROC AUC against values worked by hand."""

import numpy as np

from wav2lip.sync.roc import roc_auc


def test_roc_auc_counts_ordered_pairs():
    # pairs (0.9, 0.8), (0.9, 0.4), (0.3, 0.8), (0.3, 0.4): two of four in order
    assert roc_auc(np.array([0.9, 0.3, 0.8, 0.4]), np.array([True, True, False, False])) == 0.5
    assert roc_auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5  # a tie counts half
    assert np.isnan(roc_auc(np.array([0.5, 0.6]), np.array([True, True])))
