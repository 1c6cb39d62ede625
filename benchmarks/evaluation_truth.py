"""Do the metrics mean something? Real clips, spoilt in known ways, through python -m wav2lip.evaluate.

    python benchmarks/evaluation_truth.py --video FILE --begin 100 --out DIR --expert FILE

Cuts a video into pieces and makes of every piece: an equal copy, blurred ones, noisy ones, flickering ones, copies
whose sound is late, and a copy with the next piece's sound. The report in --out says what each metric makes of them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from wav2lip.audio import load_wav
from wav2lip.lse import SAMPLES_PER_FRAME
from wav2lip.media import read_frames
from wav2lip.sample import write_clip
from wav2lip.windows import FPS

Spoil = Callable[[np.ndarray, int], np.ndarray]  # of a frame and its number


def blurred(sigma: float) -> Spoil:
    """By a Gaussian of so many pixels."""
    return lambda frame, number: cv2.GaussianBlur(frame, (0, 0), sigma)


def noisy(levels: float) -> Spoil:
    """By noise of this deviation, another in each frame."""

    def spoil(frame: np.ndarray, number: int) -> np.ndarray:
        noise = np.random.default_rng(number).normal(0, levels, frame.shape)
        return np.clip(frame + noise, 0, 255).astype(np.uint8)

    return spoil


def flickering(levels: int) -> Spoil:
    """Every other frame darker by so many levels."""
    return lambda frame, number: np.clip(frame.astype(int) - levels * (number % 2), 0, 255).astype(np.uint8)


SPOILT = {"blurred_1": blurred(1), "blurred_3": blurred(3), "noisy_8": noisy(8), "flickering_8": flickering(8)}


def main() -> None:
    """Cut, spoil, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--begin", type=float, default=0.0, help="seconds")
    parser.add_argument("--pieces", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a piece")
    parser.add_argument("--late", type=int, nargs="*", default=[1, 5, 10], help="frames that sound is moved by")
    parser.add_argument("--out", type=Path, required=True)
    args, flags = parser.parse_known_args()  # the others are those of wav2lip.evaluate
    length = round(args.seconds * FPS)
    starts = [round(args.begin * FPS) + n * length for n in range(args.pieces)]
    wav = load_wav(args.video)

    def sound(start: int) -> np.ndarray:
        return wav[max(0, start) * SAMPLES_PER_FRAME : (start + length) * SAMPLES_PER_FRAME]

    media = args.out / "media"
    for n, start in enumerate(starts):
        name = f"{n:02d}.mp4"
        frames = list(read_frames(args.video, FPS, first=start, last=start + length))
        write_clip(media / "truth" / name, frames, sound(start))
        (media / "copy").mkdir(exist_ok=True)
        shutil.copy(media / "truth" / name, media / "copy" / name)
        for kind, spoil in SPOILT.items():
            write_clip(media / kind / name, (spoil(f, i) for i, f in enumerate(frames)), sound(start))
        for late in args.late:
            write_clip(media / f"late_{late}" / name, frames, sound(start - late))
        write_clip(media / "other_sound" / name, frames, sound(starts[(n + 1) % len(starts)]))
    systems = [f"{folder.name}={folder}" for folder in sorted(media.iterdir()) if folder.name != "truth"]
    out = ["--truth", str(media / "truth"), "--out", str(args.out)]
    subprocess.run([sys.executable, "-m", "wav2lip.evaluate", "compare", *systems, *out, *flags], check=True)


if __name__ == "__main__":
    main()
