"""Training samples per second from each storage format, compared with a plain implementation.

    python benchmarks/loader.py [--seconds 10 125] [--batch 16 64] [--workers 0 1] [--shards 1] [--steps 10]

Plain, as upstream: list the folder, decode and resize the JPEGs and compute the mel of the complete audio for every
sample. Clips: clip folders, listed once, with cached mels. Raw, jpeg: packs, read a batch at a time. Cached:
data_source=device on the CPU, decoded once and then gathered from memory. One process and thread, alternating runs,
medians of CPU time. The second table is through the loader in wall time; --steps adds the share of a full-size step of
the expert, on all cores, that is spent waiting for data.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from models import SyncNet
from preprocess.pack import pack_clips
from train.callbacks.throughput import Throughput
from train.data.device_cache import CacheBudget
from train.data.index import FrameRuns, WindowIndex
from train.data.loader import build_loader, iterate, load_batches
from train.data.samples import GeneratorSamples, ResumableSampler, SyncNetSamples, WindowDataset, open_dataset
from train.losses.sync import sync_loss
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.audio.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column
from wav2lip.dataset.clip import ClipWriter
from wav2lip.dataset.packed import Pack

ROUNDS = 5
HEIGHT, WIDTH = 235, 173  # pixels of a face crop from 720p video


def write_clips(root: Path, seconds: int, clips: int) -> Path:
    """Write clips of smooth noise, which decode like faces."""
    rng = np.random.default_rng(seconds)
    for clip in range(clips):
        with ClipWriter(root, f"speaker/{clip}") as writer:
            for number in range(seconds * 25):
                coarse = rng.integers(0, 255, (24, 18, 3), np.uint8)
                writer.write_frame(number, cv2.resize(coarse, (WIDTH, HEIGHT)))
            writer.write_audio([rng.normal(0, 0.1, seconds * 16_000).astype(np.float32)])
    (root / "train.txt").write_text("".join(f"speaker/{clip}\n" for clip in range(clips)))
    return root


def plain_window(folder: Path, first: int) -> np.ndarray:
    """Read and resize five frames."""
    files = [cv2.imread(str(folder / f"{first + j}.jpg")) for j in range(WINDOW_FRAMES)]
    return np.asarray([cv2.resize(frame, (96, 96)) for frame in files])


def load_plain(folder: Path, rng: np.random.Generator, windows: int) -> None:
    """Load a sample as upstream does. windows: 1 for the expert, 2 for the generator."""
    names = list(folder.glob("*.jpg"))
    anchor = int(rng.integers(1, len(names) - 10))
    frames = [plain_window(folder, anchor) / 255.0 for _ in range(windows)]
    mel = melspectrogram(load_wav(folder / "audio.wav")).T.copy()
    starts = [first_column(anchor)] + [first_column(anchor + j - 1) for j in range(WINDOW_FRAMES)] * (windows - 1)
    for array in (*frames, *(mel[s : s + WINDOW_COLUMNS] for s in starts)):
        torch.FloatTensor(np.ascontiguousarray(array))


def measure_rate(
    batch: Callable[[int], object], batches: int, size: int, clock: Callable[[], float] = time.process_time
) -> float:
    """Return the samples per second of a run, by default in CPU time, which other load on the machine affects less."""
    start = clock()
    for number in range(batches):
        batch(number)
    return batches * size / (clock() - start)


def build_syncnet_index(runs: FrameRuns) -> WindowIndex:
    """Build the expert's index with negatives from 5 frames on."""
    return WindowIndex.for_syncnet(runs, 5)


FAST_FORMATS = ("raw", "cached")  # without decoding
NETWORKS = {
    "expert": (SyncNetSamples(5), build_syncnet_index),
    "generator": (GeneratorSamples(), WindowIndex.for_generator),
}


def write_formats(root: Path, clips: int, shards: int) -> Iterator[tuple[str, Path]]:
    """Yield name and data root of each storage format: clip folders, raw pack, JPEG pack."""
    yield "clips", root
    for encoding in ("raw", "jpeg"):
        other = root.with_name(f"{root.name}-{encoding}")
        other.mkdir()
        (other / "speaker").symlink_to(root / "speaker")
        (other / "train.txt").symlink_to(root / "train.txt")
        names = [f"speaker/{clip}" for clip in range(clips)]
        per_shard = sum(1 for _ in root.rglob("*.jpg")) * 96 * 96 * 3 // shards
        (packed,) = pack_clips(other, names, encoding=encoding, shard_bytes=max(1, per_shard))
        pack = Pack.open(packed.folder)
        print(f"{encoding}: {len(pack.shards)} shards, {packed.bytes / packed.seconds * 3600 / 1e9:.2f} GB per hour")
        yield encoding, other


def compare(root: Path, windows: dict[str, WindowDataset], network: str, size: int, samples: int) -> list[float]:
    """Return the samples per second of the plain implementation and of each format, as medians of alternating runs."""
    rng, first = np.random.default_rng(0), 0
    folders = sorted((root / "speaker").iterdir())
    runs: list[list[float]] = []
    for _ in range(ROUNDS):
        plain_samples = max(8, samples // 50)
        plain_rate = measure_rate(
            lambda n: load_plain(folders[n % len(folders)], rng, 1 + (network == "generator")), plain_samples, 1
        )
        runs.append([plain_rate])
        for name, dataset in windows.items():
            count = max(1, (samples if name in FAST_FORMATS else samples // 10) // size)
            runs[-1].append(
                measure_rate(
                    lambda n, f=dataset, b=first: f.__getitems__(range(b + n * size, b + (n + 1) * size)), count, size
                )
            )
        first += samples
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def measure_loader(windows: WindowDataset, size: int, workers: int, samples: int) -> float:
    """Return the samples per second of a DataLoader after its start-up."""
    loaded_batches = iterate(build_loader(windows, ResumableSampler(size), size, workers, False))
    for _ in range(4):
        next(loaded_batches)
    return measure_rate(lambda _: next(loaded_batches), max(4, samples // size), size, time.perf_counter)


def measure_wait(windows: WindowDataset, size: int, steps: int) -> tuple[float, float]:
    """Return the seconds of a full-size float32 step of the expert, and the share of them spent waiting for data."""
    expert = SyncNet().to(memory_format=torch.channels_last)
    optimizer, throughput = torch.optim.Adam(expert.parameters(), lr=1e-4), Throughput()
    loaded_batches = throughput.time_batches(load_batches(windows, ResumableSampler(size), size, 0, False))
    for step in range(steps + 2):
        if step == 2:
            throughput.pop()
        batch = next(loaded_batches).inputs()
        sync_loss(*expert(batch.mel, batch.faces), batch.label).backward()
        optimizer.step()
        optimizer.zero_grad()
        throughput.count_step(size)
    rates = throughput.pop()
    return size / rates.samples_per_second, rates.data_wait


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 125], help="lengths of the clips")
    parser.add_argument("--clips", type=int, default=4, help="number of clips of each length")
    parser.add_argument("--shards", type=int, default=1, help="number of shards of a pack")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64], help="batch sizes")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="numbers of DataLoader workers")
    parser.add_argument("--samples", type=int, default=2000, help="samples per run of the fast formats")
    parser.add_argument("--steps", type=int, default=0, help="steps of the expert for measuring the wait for data")
    args = parser.parse_args()
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    direct = [
        "| clip | sample | batch | plain | clips | raw | jpeg | cached | raw / plain | cached / plain |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    loaded = ["| clip | sample | batch | workers | clips | raw | jpeg | cached |", "|---|---|---|---|---|---|---|---|"]
    waits = ["| clip | format | seconds per step | waiting for data |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for seconds in args.seconds:
            root = write_clips(Path(folder) / str(seconds), seconds, args.clips)
            roots = dict(write_formats(root, args.clips, args.shards))
            for network, (samples, build_index) in NETWORKS.items():
                windows = {
                    name: open_dataset(
                        r, r / "train.txt", build_index, samples, data_source="clips" if r == root else "packed"
                    )
                    for name, r in roots.items()
                }
                start, cache = time.perf_counter(), CacheBudget(torch.device("cpu"))
                lists = roots["jpeg"] / "train.txt"
                windows["cached"] = open_dataset(
                    roots["jpeg"], lists, build_index, samples, data_source="device", cache=cache
                )
                print(f"{args.clips} clips of {seconds} s decoded into memory in {time.perf_counter() - start:.1f} s")
                for size in args.batch:
                    rates = compare(root, windows, network, size, args.samples)
                    cells = " | ".join(f"{rate:.0f}" for rate in rates)
                    times = f"{rates[2] / rates[0]:.0f} | {rates[4] / rates[0]:.0f}"
                    direct.append(f"| {seconds} s | {network} | {size} | {cells} | {times} |")
                    for workers in args.workers:
                        rates = [
                            measure_loader(
                                dataset, size, workers, args.samples if name in FAST_FORMATS else args.samples // 10
                            )
                            for name, dataset in windows.items()
                            if not (workers and name == "cached")  # a cache cannot be shared by workers
                        ]
                        cells = " | ".join(f"{rate:.0f}" for rate in rates) + " | -" * (bool(workers))
                        loaded.append(f"| {seconds} s | {network} | {size} | {workers} | {cells} |")
                if network == "expert" and args.steps:
                    torch.set_num_threads(cores)
                    for name, dataset in windows.items():
                        step, share = measure_wait(dataset, args.batch[0], args.steps)
                        waits.append(f"| {seconds} s | {name} | {step:.3f} | {share:.2%} |")
                    torch.set_num_threads(1)
    print("\nSamples per second of one core:\n", *direct, sep="\n")
    print("\nSamples per second through the loader:\n", *loaded, sep="\n")
    if args.steps:
        print(f"\nSteps of the expert, batch {args.batch[0]}, {cores} threads, no workers:\n", *waits, sep="\n")


if __name__ == "__main__":
    main()
