"""Batches are prefetched in order, errors arrive in place, and workers end cleanly and use one thread."""

import ctypes
import multiprocessing
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

import train.data.loader
from train.data.loader import (
    THREAD_VARIABLES,
    build_loader,
    iterate,
    load_batches,
    prefetch_pinned,
    resolve_num_workers,
)
from train.data.samples import ResumableSampler
from train.data.sources import ReadCost
from wav2lip.devices import cpu_count
from wav2lip.errors import InputError

BLAS_IS_LIMITED = bool({"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} & set(os.environ))  # before any test sets them


class Batch(NamedTuple):
    numbers: torch.Tensor
    blas_threads: torch.Tensor


def blas_threads() -> int:
    """Number of threads of the OpenBLAS in NumPy, as it reports it."""
    _ = np.ones((64, 64)) @ np.ones((64, 64))
    (path,) = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()
               if re.search(r"numpy.libs/lib\w*openblas", line)}  # fmt: skip
    library = ctypes.CDLL(path)
    names = ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads")
    (get_num_threads,) = [getattr(library, name) for name in names if hasattr(library, name)][:1]
    return get_num_threads()


class NumberDataset:
    """Samples that are their own numbers; 13 is corrupt."""

    clips = ("a",)
    read_cost = ReadCost.DECODED

    def __init__(self):
        self.threads = []

    def __getitems__(self, numbers):
        if 13 in numbers:
            raise InputError("number 13 is corrupt")
        self.threads.append(threading.current_thread().name)
        return Batch(torch.tensor(numbers), torch.tensor([blas_threads()]))


@pytest.fixture
def unpinned(monkeypatch):
    """Replace pinning, which needs a GPU."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)


def test_prefetch_pinned_reads_in_order_and_its_thread_ends(unpinned):
    samples = NumberDataset()
    batches = load_batches(samples, ResumableSampler(2, first_step=7), 2, 0, pin=True, prefetch_batches=3)
    assert [next(batches).numbers.tolist() for _ in range(3)] == [[14, 15], [16, 17], [18, 19]]
    assert set(samples.threads) == {"batches_0"}
    batches.close()
    assert "batches_0" not in {thread.name for thread in threading.enumerate()}
    assert 3 <= len(samples.threads) <= 7  # three read, and at most three ahead of each


def test_prefetch_pinned_raises_error_at_its_batch(unpinned):
    batches = prefetch_pinned(NumberDataset(), [[11], [12], [13], [14]], 2)
    assert [next(batches).numbers.item() for _ in range(2)] == [11, 12]
    with pytest.raises(InputError, match="^number 13 is corrupt$"):
        next(batches)


def test_last_batch_may_be_smaller():
    assert [b.numbers.tolist() for b in load_batches(NumberDataset(), range(5), 2, 0, pin=False)] == [
        [0, 1],
        [2, 3],
        [4],
    ]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="which libraries are loaded is read from /proc")
def test_worker_uses_one_thread_and_environment_is_restored(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    batches = iterate(build_loader(NumberDataset(), range(2), 2, 1, False))
    batch = next(batches)
    assert batch.blas_threads.item() == 1
    assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == before
    if cpu_count() > 1 and not BLAS_IS_LIMITED:
        assert blas_threads() > 1  # in this process, which is not limited


def test_auto_num_workers_only_for_decoding(monkeypatch, caplog):
    monkeypatch.setattr("train.data.loader.cpu_count", lambda: 6)
    assert [resolve_num_workers("auto", cost) for cost in ReadCost] == [0, 0, 5]
    assert resolve_num_workers(3, ReadCost.MAPPED) == 3
    with caplog.at_level("INFO"):
        assert resolve_num_workers(3, ReadCost.CACHED) == 0
    assert "num_workers=3 is ignored" in caplog.text
    monkeypatch.setattr("train.data.loader.cpu_count", lambda: 64)
    assert resolve_num_workers("auto", ReadCost.DECODED) == 8
    monkeypatch.setattr("train.data.loader.cpu_count", lambda: 2)
    assert resolve_num_workers("auto", ReadCost.DECODED) == 0


def idle_worker(ready):
    train.data.loader.WORKER_GRACE_S = 2
    train.data.loader._init_worker(0)
    ready.set()
    time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows sends no SIGTERM to workers")
def test_worker_ends_within_grace_period_after_sigterm():
    processes = multiprocessing.get_context("spawn")
    ready = processes.Event()
    worker = processes.Process(target=idle_worker, args=[ready])
    worker.start()
    assert ready.wait(timeout=120)
    os.kill(worker.pid, signal.SIGINT)
    os.kill(worker.pid, signal.SIGTERM)
    time.sleep(1)
    assert worker.is_alive()
    worker.join(timeout=30)
    assert worker.exitcode == -signal.SIGALRM
