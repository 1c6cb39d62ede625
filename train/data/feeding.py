"""Batches made ahead of the steps that take them, by worker processes or by a thread, in the order of their numbers.

Where nothing has to be decoded a batch takes a millisecond, and no worker process pays: to hand it over costs more.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import cv2
import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler, get_worker_info

from train.data.samples import SampleSet
from train.data.sources import Reading
from wav2lip.devices import cores
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

GRACE = 20  # seconds that a loader worker stays after it was told to end
MOST_WORKERS = 8
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def feed(samples: SampleSet, numbers: Sampler[int] | range, batch_size: int, workers: int | str, pin: bool,
         ahead: int = 2) -> Iterator[Any]:  # fmt: skip
    """The batches of the samples with these numbers.

    workers: processes that make them, or "auto"; see worker_count.
    pin: for a GPU: the batches lie in memory that it can fetch them from, and are made ahead even without workers.
    ahead: batches that each worker, or else the thread, is ahead.
    Raises: InputError if the data is damaged beyond replacement.
    """
    processes = worker_count(workers, samples.reading)
    if processes:
        return batches(loader(samples, numbers, batch_size, processes, pin, ahead))
    groups = BatchSampler(numbers, batch_size, drop_last=False)
    return made_ahead(samples, groups, ahead) if pin else map(samples.__getitems__, groups)


def worker_count(configured: int | str, reading: Reading) -> int:
    """Loader processes: as configured, or with "auto" as many as pay.

    Those are none unless pictures are decoded; then one for each core but one, none on two cores, eight at most.
    What one process holds in memory no other can read, so there are none then either.
    """
    if reading is Reading.HELD:
        if configured not in ("auto", 0):
            log.info("num_workers=%s is not used: the clips lie in memory", configured)
        return 0
    if configured != "auto":
        return int(configured)
    return min(MOST_WORKERS, cores() - 1) if reading is Reading.DECODED and cores() > 2 else 0


def made_ahead(samples: SampleSet, groups: Iterable[Sequence[int]], ahead: int) -> Iterator[Any]:
    """Batches for a GPU, which one thread makes while the steps before them run."""

    def make(numbers: Sequence[int]) -> Any:
        batch = samples.__getitems__(numbers)
        return type(batch)(*(part.pin_memory() if part.device.type == "cpu" else part for part in batch))

    pending: deque[Future[Any]] = deque()
    # Which GPU is meant is a thread's own matter; without this, a thread of any process would take up the first.
    begin = partial(torch.cuda.set_device, torch.cuda.current_device()) if torch.cuda.is_available() else None
    maker = ThreadPoolExecutor(1, "batches", begin)
    try:
        for numbers in groups:
            pending.append(maker.submit(make, numbers))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # at the end of training nobody takes the rest
        maker.shutdown(cancel_futures=True)


def loader(samples: SampleSet, numbers: Sampler[int] | range, batch_size: int, workers: int, pin: bool,
           ahead: int = 2) -> DataLoader:  # fmt: skip
    """Batches of the samples with these numbers, made ahead by worker processes that live as long as the loader."""
    return DataLoader(
        samples,  # type: ignore[arg-type]
        batch_size=batch_size,
        sampler=numbers,  # type: ignore[arg-type]
        collate_fn=_hand_over,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=ahead if workers else None,
        # A worker forked from a process whose libraries already run threads may wait for one of them for ever.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begin_worker if workers else None,
        generator=torch.Generator(),  # seeds of workers drawn from the run's own would move its random numbers on
        pin_memory=pin and samples.reading is not Reading.HELD,  # that may be made on the GPU already
    )


def _hand_over(batch: Any) -> Any:
    """A batch is one already. A worker moves it into shared memory here, in its main thread.

    Left to the thread that sends it, the copy could still run when the worker ends, which aborts it.
    """
    if get_worker_info() is not None:
        for part in batch:
            part.share_memory_()
    return batch


def _begin_worker(_worker: int) -> None:
    cv2.setNumThreads(1)  # workers that each use every core slow one another down
    torch.set_num_threads(1)
    # A signal sent to all processes is for the loop, which saves first and then lets its workers go. One that is told
    # to end and is still there after a while ends by the alarm, or a main process that waits for it would never leave.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started inside the block compute with one thread.

    The libraries under numpy read this as they are loaded, before a worker could say anything.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def batches(data: DataLoader) -> Iterator[Any]:
    """The loader's batches; what went wrong in a worker comes out as the one sentence it was there."""
    with one_thread_each():
        made = iter(data)  # here the workers start
    try:
        yield from made
    except InputError as error:
        last_line = str(error).strip().splitlines()[-1]  # a worker wraps it into the text of a traceback
        raise InputError(last_line.removeprefix("wav2lip.errors.InputError: ")) from error
