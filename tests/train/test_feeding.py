"""Batches made ahead come in order, end cleanly, fail as they would have, and their makers keep to one thread."""

import ctypes
import os
import re
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from train.data.feeding import THREADS, batches, feed, loader, made_ahead, worker_count
from train.data.samples import Numbers
from train.data.sources import Reading
from wav2lip.devices import cores
from wav2lip.errors import InputError


class Batch(NamedTuple):
    numbers: torch.Tensor
    blas_threads: torch.Tensor


def blas_threads() -> int:
    """How many threads the OpenBLAS that numpy brought computes with, by its own word."""
    _ = np.ones((64, 64)) @ np.ones((64, 64))
    (path,) = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()
               if re.search(r"numpy.libs/lib\w*openblas", line)}  # fmt: skip
    library = ctypes.CDLL(path)
    names = ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads")
    (ask,) = [getattr(library, name) for name in names if hasattr(library, name)][:1]
    return ask()


class Counted:
    """Samples that are their own numbers; 13 is damaged."""

    clips = ("a",)
    reading = Reading.DECODED

    def __init__(self):
        self.made = []

    def __getitems__(self, numbers):
        if 13 in numbers:
            raise InputError("number 13 is damaged")
        self.made.append(threading.current_thread().name)
        return Batch(torch.tensor(numbers), torch.tensor([blas_threads()]))


@pytest.fixture
def unpinned(monkeypatch):
    """Memory cannot be pinned without a GPU: what is tested is all else."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)


def test_a_thread_makes_the_batches_of_a_gpu_ahead_in_order_and_ends_when_they_are_no_longer_taken(unpinned):
    samples = Counted()
    made = feed(samples, Numbers(2, first_step=7), 2, 0, pin=True, ahead=3)
    assert [next(made).numbers.tolist() for _ in range(3)] == [[14, 15], [16, 17], [18, 19]]
    assert set(samples.made) == {"batches_0"}
    made.close()
    assert "batches_0" not in {thread.name for thread in threading.enumerate()}
    assert 3 <= len(samples.made) <= 7  # taken, and three ahead of each


def test_an_error_of_the_thread_comes_out_in_its_place(unpinned):
    made = made_ahead(Counted(), [[11], [12], [13], [14]], 2)
    assert [next(made).numbers.item() for _ in range(2)] == [11, 12]
    with pytest.raises(InputError, match="^number 13 is damaged$"):
        next(made)


def test_without_workers_the_last_batch_may_be_smaller():
    assert [b.numbers.tolist() for b in feed(Counted(), range(5), 2, 0, pin=False)] == [[0, 1], [2, 3], [4]]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="which libraries are loaded is read from /proc")
def test_numpy_computes_with_one_thread_in_a_worker_and_the_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = {name: os.environ.get(name) for name in THREADS}
    made = batches(loader(Counted(), range(2), 2, 1, False))
    batch = next(made)
    assert batch.blas_threads.item() == 1
    assert {name: os.environ.get(name) for name in THREADS} == before
    if cores() > 1 and "OPENBLAS_NUM_THREADS" not in os.environ:
        assert blas_threads() > 1  # here, where nobody asked for one


def test_workers_are_for_decoding_alone_unless_they_are_asked_for(monkeypatch, caplog):
    monkeypatch.setattr("train.data.feeding.cores", lambda: 6)
    assert [worker_count("auto", reading) for reading in Reading] == [0, 0, 5]
    assert worker_count(3, Reading.GATHERED) == 3
    with caplog.at_level("INFO"):
        assert worker_count(3, Reading.HELD) == 0
    assert "num_workers=3 is not used: the clips lie in memory" in caplog.text
    monkeypatch.setattr("train.data.feeding.cores", lambda: 64)
    assert worker_count("auto", Reading.DECODED) == 8
    monkeypatch.setattr("train.data.feeding.cores", lambda: 2)
    assert worker_count("auto", Reading.DECODED) == 0
