"""Training samples a second in each form of the data, beside the plain way that the public release takes.

    python benchmarks/loader.py [--seconds 10 125] [--batch 16 64] [--workers 0 1] [--shards 1] [--steps 10]

The plain way lists the folder, decodes and resizes the JPEGs and computes the mel of the clip's whole sound for each
sample; from clip folders the folder was listed and the mel computed once; a pack, raw or JPEG, is gathered from a batch
at a time; held is data=device with the CPU as device: decoded once, then gathered from memory. One process, one thread,
alternating, medians, of the core's own time. The second table is through the loader, by the clock; --steps adds what
share of a real step of the expert's training, on all cores, is spent waiting for data.
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
from preprocess.pack import pack
from train.data.draws import ClipWindows, Runs
from train.data.feeding import batches, feed, loader
from train.data.resident import Memory
from train.data.samples import GeneratorSamples, Numbers, SyncNetSamples, Windows, open_windows
from train.losses import sync_loss
from train.watching.pace import Pace
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.clips import ClipWriter
from wav2lip.packed import Pack
from wav2lip.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column

ROUNDS = 5
HEIGHT, WIDTH = 235, 173  # pixels of a face crop from 720p video


def make_data(root: Path, seconds: int, clips: int) -> Path:
    """Clips of smooth noise: as large to decode as a face."""
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
    """Five frames read and resized from their files."""
    files = [cv2.imread(str(folder / f"{first + j}.jpg")) for j in range(WINDOW_FRAMES)]
    return np.asarray([cv2.resize(picture, (96, 96)) for picture in files])


def plain(folder: Path, rng: np.random.Generator, windows: int) -> None:
    """A sample the plain way: `windows` is 1 for the expert, 2 for the generator."""
    names = list(folder.glob("*.jpg"))
    anchor = int(rng.integers(1, len(names) - 10))
    pictures = [plain_window(folder, anchor) / 255.0 for _ in range(windows)]
    mel = melspectrogram(load_wav(folder / "audio.wav")).T.copy()
    starts = [first_column(anchor)] + [first_column(anchor + j - 1) for j in range(WINDOW_FRAMES)] * (windows - 1)
    for array in (*pictures, *(mel[s : s + WINDOW_COLUMNS] for s in starts)):
        torch.FloatTensor(np.ascontiguousarray(array))


def rate(
    batch: Callable[[int], object], batches: int, size: int, clock: Callable[[], float] = time.process_time
) -> float:
    """Samples a second of one timed run; by default of a core's own time, whatever else runs on the machine."""
    began = clock()
    for number in range(batches):
        batch(number)
    return batches * size / (clock() - began)


def for_syncnet(runs: Runs) -> ClipWindows:
    """Anchors for the expert, 5 frames from a wrong window."""
    return ClipWindows.for_syncnet(runs, 5)


QUICK = ("raw", "held")  # nothing is decoded
KINDS = {"expert": (SyncNetSamples(5), for_syncnet), "generator": (GeneratorSamples(), ClipWindows.for_generator)}


def forms(root: Path, clips: int, shards: int) -> Iterator[tuple[str, Path]]:
    """The data set in each form, as a data root of its own: clip folders, raw pack, JPEG pack."""
    yield "clips", root
    for encoding in ("raw", "jpeg"):
        other = root.with_name(f"{root.name}-{encoding}")
        other.mkdir()
        (other / "speaker").symlink_to(root / "speaker")
        (other / "train.txt").symlink_to(root / "train.txt")
        names = [f"speaker/{clip}" for clip in range(clips)]
        per_shard = sum(1 for _ in root.rglob("*.jpg")) * 96 * 96 * 3 // shards
        (done,) = pack(other, names, encoding=encoding, shard_bytes=max(1, per_shard))
        opened = Pack.open(done.folder)
        print(f"{encoding}: {len(opened.shards)} shards, {done.bytes / done.seconds * 3600 / 1e9:.2f} GB an hour")
        yield encoding, other


def compare(root: Path, windows: dict[str, Windows], kind: str, size: int, samples: int) -> list[float]:
    """Samples a second the plain way and in each form: medians of alternating runs; batches of `size`."""
    rng, first = np.random.default_rng(0), 0
    folders = sorted((root / "speaker").iterdir())
    runs: list[list[float]] = []
    for _ in range(ROUNDS):
        plain_samples = max(8, samples // 50)
        slow = rate(lambda n: plain(folders[n % len(folders)], rng, 1 + (kind == "generator")), plain_samples, 1)
        runs.append([slow])
        for name, form in windows.items():
            count = max(1, (samples if name in QUICK else samples // 10) // size)
            runs[-1].append(
                rate(lambda n, f=form, b=first: f.__getitems__(range(b + n * size, b + (n + 1) * size)), count, size)
            )
        first += samples
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def through_loader(windows: Windows, size: int, workers: int, samples: int) -> float:
    """Samples a second that a DataLoader hands out once it is running."""
    made = batches(loader(windows, Numbers(size), size, workers, False))
    for _ in range(4):
        next(made)
    return rate(lambda _: next(made), max(4, samples // size), size, time.perf_counter)


def waiting(windows: Windows, size: int, steps: int) -> tuple[float, float]:
    """Seconds of a step of the expert's training at full size, float32, and the share of it spent waiting for data."""
    expert = SyncNet().to(memory_format=torch.channels_last)
    optimizer, pace = torch.optim.Adam(expert.parameters(), lr=1e-4), Pace()
    made = pace.waited(feed(windows, Numbers(size), size, 0, False))
    for step in range(steps + 2):
        if step == 2:
            pace.take()
        batch = next(made).inputs()
        sync_loss(*expert(batch.mel, batch.faces), batch.label).backward()
        optimizer.step()
        optimizer.zero_grad()
        pace.stepped(size)
    rates = pace.take()
    return size / rates.samples_per_second, rates.data_wait


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 125], help="lengths of the clips")
    parser.add_argument("--clips", type=int, default=4, help="clips of each length")
    parser.add_argument("--shards", type=int, default=1, help="shards of the packs")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64], help="samples in a batch")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="processes of the DataLoader")
    parser.add_argument("--samples", type=int, default=2000, help="samples in a timed run of the fast forms")
    parser.add_argument("--steps", type=int, default=0, help="steps of the expert to measure the wait for data in")
    args = parser.parse_args()
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    direct = [
        "| clip | sample | batch | plain | clips | raw | jpeg | held | raw / plain | held / plain |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    loaded = ["| clip | sample | batch | workers | clips | raw | jpeg | held |", "|---|---|---|---|---|---|---|---|"]
    waits = ["| clip | form | seconds a step | waiting for data |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for seconds in args.seconds:
            root = make_data(Path(folder) / str(seconds), seconds, args.clips)
            roots = dict(forms(root, args.clips, args.shards))
            for kind, (samples, windows_of) in KINDS.items():
                windows = {
                    name: open_windows(r, r / "train.txt", windows_of, samples, form="clips" if r == root else "packed")
                    for name, r in roots.items()
                }
                began, memory = time.perf_counter(), Memory(torch.device("cpu"))
                lists = roots["jpeg"] / "train.txt"
                windows["held"] = open_windows(roots["jpeg"], lists, windows_of, samples, form="device", memory=memory)
                print(f"{args.clips} clips of {seconds} s decoded into memory in {time.perf_counter() - began:.1f} s")
                for size in args.batch:
                    rates = compare(root, windows, kind, size, args.samples)
                    cells = " | ".join(f"{rate:.0f}" for rate in rates)
                    times = f"{rates[2] / rates[0]:.0f} | {rates[4] / rates[0]:.0f}"
                    direct.append(f"| {seconds} s | {kind} | {size} | {cells} | {times} |")
                    for workers in args.workers:
                        rates = [
                            through_loader(form, size, workers, args.samples if name in QUICK else args.samples // 10)
                            for name, form in windows.items()
                            if not (workers and name == "held")  # what one process holds others cannot read
                        ]
                        cells = " | ".join(f"{rate:.0f}" for rate in rates) + " | -" * (bool(workers))
                        loaded.append(f"| {seconds} s | {kind} | {size} | {workers} | {cells} |")
                if kind == "expert" and args.steps:
                    torch.set_num_threads(cores)
                    for name, form in windows.items():
                        step, share = waiting(form, args.batch[0], args.steps)
                        waits.append(f"| {seconds} s | {name} | {step:.3f} | {share:.2%} |")
                    torch.set_num_threads(1)
    print("\nSamples a second of one core:\n", *direct, sep="\n")
    print("\nSamples a second, through the loader:\n", *loaded, sep="\n")
    if args.steps:
        print(f"\nSteps of the expert, batch {args.batch[0]}, {cores} threads, no workers:\n", *waits, sep="\n")


if __name__ == "__main__":
    main()
