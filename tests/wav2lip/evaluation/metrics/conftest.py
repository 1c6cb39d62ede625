"""Faces for the frame metrics."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def faces(portrait) -> list[np.ndarray]:
    """A face that moves a little, (100, 90, 3)."""
    return [np.ascontiguousarray(portrait[60 + n : 160 + n, 60:150]) for n in range(6)]
