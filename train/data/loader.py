"""Loading of batches ahead of the steps, by worker processes or by a thread, in the order of their numbers.

Where nothing is decoded a batch takes a millisecond and worker processes do not pay: sending it costs more.
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
from torch.utils.data import BatchSampler, DataLoader, get_worker_info

from train.data.samples import BatchDataset
from train.data.sources import ReadCost
from wav2lip.devices import cpu_count
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

WORKER_GRACE_S = 20  # seconds that a worker runs on after SIGTERM
MAX_WORKERS = 8
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def load_batches(dataset: BatchDataset, numbers: Iterable[int], batch_size: int, num_workers: int | str,
                 pin: bool, prefetch_batches: int = 2) -> Iterator[Any]:  # fmt: skip
    """Iterate over the batches of the samples with these numbers.

    num_workers: processes that read batches, or "auto"; see resolve_num_workers.
    pin: for a GPU: use pinned memory, and read ahead in a thread where there are no workers.
    prefetch_batches: batches that each worker, or the thread, reads ahead.
    Raises: InputError if the data is corrupt beyond replacement.
    """
    workers = resolve_num_workers(num_workers, dataset.read_cost)
    if workers:
        return iterate(build_loader(dataset, numbers, batch_size, workers, pin, prefetch_batches))
    groups = BatchSampler(numbers, batch_size, drop_last=False)
    return prefetch_pinned(dataset, groups, prefetch_batches) if pin else map(dataset.__getitems__, groups)


def resolve_num_workers(configured: int | str, read_cost: ReadCost) -> int:
    """Number of loader processes: as configured; with "auto" one for each core but one where images are decoded.

    "auto" gives none on two cores and at most MAX_WORKERS. A cache in the memory of one process allows none.
    """
    if read_cost is ReadCost.CACHED:
        if configured not in ("auto", 0):
            log.info("num_workers=%s is ignored: the dataset is cached in memory", configured)
        return 0
    if configured != "auto":
        return int(configured)
    cores = cpu_count()
    return min(MAX_WORKERS, cores - 1) if read_cost is ReadCost.DECODED and cores > 2 else 0


def prefetch_pinned(dataset: BatchDataset, groups: Iterable[Sequence[int]], prefetch_batches: int) -> Iterator[Any]:
    """Read batches into pinned memory in one thread, while a GPU runs the steps before them."""

    def read(numbers: Sequence[int]) -> Any:
        batch = dataset.__getitems__(numbers)
        return type(batch)(*(tensor.pin_memory() if tensor.device.type == "cpu" else tensor for tensor in batch))

    pending: deque[Future[Any]] = deque()
    # The current GPU is a property of each thread; by default the thread of any process would use the first.
    initializer = partial(torch.cuda.set_device, torch.cuda.current_device()) if torch.cuda.is_available() else None
    reader = ThreadPoolExecutor(1, "batches", initializer)
    try:
        for numbers in groups:
            pending.append(reader.submit(read, numbers))
            if len(pending) > prefetch_batches:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        reader.shutdown(cancel_futures=True)


def build_loader(dataset: BatchDataset, numbers: Iterable[int], batch_size: int, num_workers: int, pin: bool,
                 prefetch_batches: int = 2) -> DataLoader:  # fmt: skip
    """Build a DataLoader whose worker processes live as long as it does."""
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=batch_size,
        sampler=numbers,  # type: ignore[arg-type]
        collate_fn=_share_batch,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        prefetch_factor=prefetch_batches if num_workers else None,
        # A worker forked from a process whose libraries already run threads may deadlock.
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=_init_worker if num_workers else None,
        generator=torch.Generator(),  # drawing worker seeds from the global generator would advance it
        pin_memory=pin and dataset.read_cost is not ReadCost.CACHED,  # the cache may be on the GPU already
    )


def _share_batch(batch: Any) -> Any:
    """Move a worker's batch into shared memory, here in its main thread.

    Left to the queue's feeder thread, the copy could still run when the worker exits, which aborts it.
    """
    if get_worker_info() is not None:
        for tensor in batch:
            tensor.share_memory_()
    return batch


def _init_worker(_worker: int) -> None:
    cv2.setNumThreads(1)  # workers that each use every core slow one another down
    torch.set_num_threads(1)
    # A signal to the process group is handled by the loop, which saves first and then ends its workers. A worker that
    # outlives SIGTERM is ended by an alarm, or a main process that waits for it would hang.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_GRACE_S))


@contextmanager
def single_threaded_workers() -> Iterator[None]:
    """Let processes that start inside the block compute with one thread.

    The libraries under NumPy read these variables when they are loaded, before a worker runs any code of ours.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def iterate(loader: DataLoader) -> Iterator[Any]:
    """Iterate over a loader; an InputError of a worker is raised with its own message."""
    with single_threaded_workers():
        batches = iter(loader)  # starts the workers
    try:
        yield from batches
    except InputError as error:
        last_line = str(error).strip().splitlines()[-1]  # a worker wraps it in the text of a traceback
        raise InputError(last_line.removeprefix("wav2lip.errors.InputError: ")) from error
