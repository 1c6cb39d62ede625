"""Flicker, and motion during silence, of synthetic levels."""

import numpy as np

from tests.helpers.metrics import compute_scores
from wav2lip.evaluation.metrics.temporal import TemporalStability


def uniform_face(level: int) -> np.ndarray:
    return np.full((40, 40, 3), level, np.uint8)


def test_flicker_is_zero_for_stills_and_ramps():
    def flicker(levels):
        return compute_scores(TemporalStability(np.zeros(0, bool)), [uniform_face(level) for level in levels]).values[
            "flicker"
        ]

    assert flicker([90] * 6) == 0
    assert flicker(range(90, 120, 5)) == 0
    assert flicker([97, 103] * 3) == 12  # 100 - 3, 100 + 3, ...


def test_silence_motion_counts_silent_frames_only():
    silent = np.array([False] * 3 + [True] * 4 + [False] * 3)
    static_faces, moving_faces = [uniform_face(0)] * 10, [uniform_face(10 * (n % 2)) for n in range(10)]
    assert compute_scores(TemporalStability(silent), static_faces).values["silence_motion"] == 0
    assert compute_scores(TemporalStability(silent), moving_faces).values["silence_motion"] == 10
    speaking_only = [uniform_face(10 * (n % 2)) if not silent[n] else uniform_face(0) for n in range(10)]
    assert compute_scores(TemporalStability(silent), speaking_only).values["silence_motion"] == 0
    assert "pauses" in compute_scores(TemporalStability(~silent & False), moving_faces).missing["silence_motion"]
