"""Sensitivity of the evaluation's metrics: real clips degraded in known ways, scored by python -m wav2lip.evaluate.

    python benchmarks/metric_sensitivity.py --video FILE --start 100 --out DIR --expert FILE

Cuts a video into clips and writes of each an identical copy, blurred, noisy and flickering copies, copies with delayed
audio, and one with the next clip's audio. The report in --out has every metric of each. Other flags are passed on to
wav2lip.evaluate.
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
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME
from wav2lip.media import read_frames
from wav2lip.synthetic import encode_video

Degradation = Callable[[np.ndarray, int], np.ndarray]  # from a frame and its number


def blur(sigma: float) -> Degradation:
    """Gaussian blur. sigma: pixels."""
    return lambda frame, number: cv2.GaussianBlur(frame, (0, 0), sigma)


def noise(levels: float) -> Degradation:
    """Gaussian noise, different in each frame. levels: standard deviation in grey levels."""

    def add_noise(frame: np.ndarray, number: int) -> np.ndarray:
        samples = np.random.default_rng(number).normal(0, levels, frame.shape)
        return np.clip(frame + samples, 0, 255).astype(np.uint8)

    return add_noise


def flicker(levels: int) -> Degradation:
    """Darken every other frame. levels: grey levels."""
    return lambda frame, number: np.clip(frame.astype(int) - levels * (number % 2), 0, 255).astype(np.uint8)


DEGRADATIONS = {"blurred_1": blur(1), "blurred_3": blur(3), "noisy_8": noise(8), "flickering_8": flicker(8)}


def write_clips(args: argparse.Namespace, folder: Path) -> None:
    """Write a folder of clips for the truth and for each degradation."""
    length = round(args.seconds * FPS)
    starts = [round(args.start * FPS) + n * length for n in range(args.clips)]
    wav = load_wav(args.video)

    def cut_audio(start: int) -> np.ndarray:
        return wav[max(0, start) * SAMPLES_PER_FRAME : (start + length) * SAMPLES_PER_FRAME]

    for n, start in enumerate(starts):
        name = f"{n:02d}.mp4"
        frames = list(read_frames(args.video, FPS, first=start, last=start + length))
        encode_video(folder / "truth" / name, frames, cut_audio(start))
        (folder / "copy").mkdir(exist_ok=True)
        shutil.copy(folder / "truth" / name, folder / "copy" / name)
        for degradation, degrade in DEGRADATIONS.items():
            degraded = (degrade(frame, number) for number, frame in enumerate(frames))
            encode_video(folder / degradation / name, degraded, cut_audio(start))
        for delay in args.delays:
            encode_video(folder / f"late_{delay}" / name, frames, cut_audio(start - delay))
        encode_video(folder / "other_audio" / name, frames, cut_audio(starts[(n + 1) % len(starts)]))


def main() -> None:
    """Write the clips and evaluate them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--start", type=float, default=0.0, help="start of the first clip in seconds")
    parser.add_argument("--clips", type=int, default=5, help="number of clips")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a clip")
    parser.add_argument("--delays", type=int, nargs="*", default=[1, 5, 10], help="delays of the audio in frames")
    parser.add_argument("--out", type=Path, required=True, help="folder for clips and report")
    args, evaluate_flags = parser.parse_known_args()
    media = args.out / "media"
    write_clips(args, media)
    systems = [f"{folder.name}={folder}" for folder in sorted(media.iterdir()) if folder.name != "truth"]
    out = ["--truth", str(media / "truth"), "--out", str(args.out)]
    subprocess.run([sys.executable, "-m", "wav2lip.evaluate", "compare", *systems, *out, *evaluate_flags], check=True)


if __name__ == "__main__":
    main()
