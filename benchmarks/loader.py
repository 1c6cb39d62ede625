"""Training samples a second from a clip folder, beside the plain way that the public release takes.

    python benchmarks/loader.py [--seconds 10 125] [--samples 60]

The plain way lists the folder, decodes and resizes the JPEGs and computes the mel of the clip's whole sound for each
sample; here the folder was listed and the mel computed once. One process, one thread, alternating, medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from train.data import ClipWindows, GeneratorSamples, SyncNetSamples, Windows
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.clips import Clip, ClipWriter
from wav2lip.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column

HEIGHT, WIDTH = 235, 173  # pixels of a face crop from 720p video


def make_clip(root: Path, seconds: int) -> Path:
    """A clip of smooth noise: as large to decode as a face."""
    rng = np.random.default_rng(seconds)
    with ClipWriter(root, f"speaker/{seconds}") as writer:
        for number in range(seconds * 25):
            coarse = rng.integers(0, 255, (24, 18, 3), np.uint8)
            writer.write_frame(number, cv2.resize(coarse, (WIDTH, HEIGHT)))
        writer.write_audio([rng.normal(0, 0.1, seconds * 16_000).astype(np.float32)])
    return root / "speaker" / str(seconds)


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


def rate(sample: Callable[[int], object], samples: int) -> float:
    """Samples a second of one timed run."""
    began = time.perf_counter()
    for number in range(samples):
        sample(number)
    return samples / (time.perf_counter() - began)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 125], help="lengths of the clips")
    parser.add_argument("--samples", type=int, default=60, help="samples in a timed run")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("| clip | sample | plain, samples/s | here, samples/s | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as root:
        for seconds in args.seconds:
            folder = make_clip(Path(root), seconds)
            clip = Clip.open(folder)
            clip.mel()
            for name, windows, samples in (
                ("expert", [ClipWindows.for_syncnet(clip, 5)], SyncNetSamples(5)),
                ("generator", [ClipWindows.for_generator(clip)], GeneratorSamples()),
            ):
                ours = Windows(windows, samples, seed=0, clips_equal=False)
                rng, count = np.random.default_rng(0), 1 + (name == "generator")
                pairs = [
                    (
                        rate(lambda _, f=folder, r=rng, c=count: plain(f, r, c), max(8, args.samples // 4)),
                        rate(ours.__getitem__, args.samples),
                    )
                    for _ in range(5)
                ]
                slow, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
                ratio = statistics.median(b / a for a, b in pairs)
                print(f"| {seconds} s | {name} | {slow:.0f} | {fast:.0f} | {ratio:.0f} |")


if __name__ == "__main__":
    main()
