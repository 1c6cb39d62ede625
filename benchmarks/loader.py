"""Training samples a second from a clip folder and from a pack, beside the plain way that the public release takes.

    python benchmarks/loader.py [--seconds 10 125] [--batch 16 64] [--workers 0 1] [--shards 1]

The plain way lists the folder, decodes and resizes the JPEGs and computes the mel of the clip's whole sound for each
sample; from clip folders the folder was listed and the mel computed once; a pack, raw or JPEG, is gathered from a batch
at a time. One process, one thread, alternating, medians. The second table is through a DataLoader.
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

from preprocess.pack import pack
from train.data import GeneratorSamples, Numbers, SyncNetSamples, Windows, loader, open_windows
from train.draws import ClipWindows, Runs
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


def rate(batch: Callable[[int], object], batches: int, size: int) -> float:
    """Samples a second of one timed run."""
    began = time.perf_counter()
    for number in range(batches):
        batch(number)
    return batches * size / (time.perf_counter() - began)


def for_syncnet(runs: Runs) -> ClipWindows:
    """Anchors for the expert, 5 frames from a wrong window."""
    return ClipWindows.for_syncnet(runs, 5)


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
            count = max(1, (samples if name == "raw" else samples // 10) // size)
            runs[-1].append(
                rate(lambda n, f=form, b=first: f.__getitems__(range(b + n * size, b + (n + 1) * size)), count, size)
            )
        first += samples
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def through_loader(windows: Windows, size: int, workers: int, samples: int) -> float:
    """Samples a second that a DataLoader hands out once it is running."""
    batches = iter(loader(windows, Numbers(size), size, workers, False))
    for _ in range(4):
        next(batches)
    return rate(lambda _: next(batches), max(4, samples // size), size)


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 125], help="lengths of the clips")
    parser.add_argument("--clips", type=int, default=4, help="clips of each length")
    parser.add_argument("--shards", type=int, default=1, help="shards of the packs")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64], help="samples in a batch")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="processes of the DataLoader")
    parser.add_argument("--samples", type=int, default=2000, help="samples in a timed run of the raw pack")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    direct = [
        "| clip | sample | batch | plain | clips | raw | jpeg | raw / plain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    loaded = ["| clip | sample | batch | workers | clips | raw | jpeg |", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for seconds in args.seconds:
            root = make_data(Path(folder) / str(seconds), seconds, args.clips)
            roots = dict(forms(root, args.clips, args.shards))
            for kind, (samples, windows_of) in KINDS.items():
                windows = {
                    name: open_windows(r, r / "train.txt", windows_of, samples, form="clips" if r == root else "packed")
                    for name, r in roots.items()
                }
                for size in args.batch:
                    rates = compare(root, windows, kind, size, args.samples)
                    cells = " | ".join(f"{rate:.0f}" for rate in rates)
                    direct.append(f"| {seconds} s | {kind} | {size} | {cells} | {rates[2] / rates[0]:.0f} |")
                    for workers in args.workers:
                        rates = [
                            through_loader(form, size, workers, args.samples if name == "raw" else args.samples // 10)
                            for name, form in windows.items()
                        ]
                        cells = " | ".join(f"{rate:.0f}" for rate in rates)
                        loaded.append(f"| {seconds} s | {kind} | {size} | {workers} | {cells} |")
    print("\nSamples a second, in one process:\n", *direct, sep="\n")
    print("\nSamples a second, through the DataLoader:\n", *loaded, sep="\n")


if __name__ == "__main__":
    main()
