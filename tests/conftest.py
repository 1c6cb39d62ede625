"""Fixtures shared by all tests, and threads per process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

NUM_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if NUM_WORKERS > 1:  # each test process, and what it starts, gets its share of the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // NUM_WORKERS)))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

FIELD_INPUTS = Path(__file__).resolve().parents[2] / "shared" / "field" / "inputs"
SHARED_MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(autouse=True, scope="session")
def isolated_cache(tmp_path_factory) -> Iterator[None]:
    """A temporary folder in place of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A face, (256, 256, 3) uint8 RGB: head and shoulders of the astronaut."""
    return np.ascontiguousarray(skimage.data.astronaut()[:256, 96:352])


@pytest.fixture
def shared_media() -> Path:
    """A folder of real clips; tests that need it are skipped without it."""
    if not SHARED_MEDIA.is_dir():
        pytest.skip(f"no real media at {SHARED_MEDIA}")
    return SHARED_MEDIA


@pytest.fixture
def field_inputs() -> Path:
    """A folder of unusual media files; tests that need it are skipped without it."""
    if not FIELD_INPUTS.is_dir():
        pytest.skip(f"no media files at {FIELD_INPUTS}")
    return FIELD_INPUTS
