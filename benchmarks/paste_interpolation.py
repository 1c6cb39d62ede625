"""Upper bounds by the resolution of a generator: true faces resized to it and back to their boxes.

    python -m benchmarks.paste_interpolation [--resolution 96] [--frames 30] VIDEO ...

The first --frames frames of each video, one face in each (MTCNN), are resized bilinearly, as the generator's input is,
and enlarged again by each interpolation. Scores of the mouth against the true frames, and milliseconds per face (one
thread, median).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.seams import read_scene
from wav2lip.evaluation.metrics.base import FrameSample
from wav2lip.evaluation.metrics.fidelity import Fidelity
from wav2lip.evaluation.metrics.sharpness import Sharpness
from wav2lip.faces.crops import crop_box, resize

INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "Lanczos": cv2.INTER_LANCZOS4}


def measure(path: Path, count: int, resolution: int) -> None:
    """Print the rows of one video."""
    scene = read_scene(path, count)
    faces = [crop_box(frame, target.box) for frame, target in zip(scene.frames, scene.targets, strict=True)]
    size = round(float(np.median([len(face) for face in faces])))
    for name, interpolation in INTERPOLATIONS.items():
        fidelity, sharpness, milliseconds = Fidelity(mouth_only=True), Sharpness(), []
        for number, face in enumerate(faces):
            small = resize(face, resolution, resolution)
            start = time.perf_counter()
            enlarged = cv2.resize(small, face.shape[1::-1], interpolation=interpolation)
            milliseconds.append(1000 * (time.perf_counter() - start))
            truth = torch.from_numpy(face.copy())[None]
            sample = FrameSample(number, torch.from_numpy(enlarged)[None], truth=truth, source=truth)
            fidelity.update(sample)
            sharpness.update(sample)
        values = fidelity.compute().values | sharpness.compute().values
        print(f"| {path.stem}, {size} pixels | {name} | {values['psnr_mouth']:.1f} | {values['ssim_mouth']:.3f} | "
              f"{values['sharpness']:.2f} | {np.median(milliseconds):.2f} |", flush=True)  # fmt: skip


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--resolution", type=int, default=96, help="of the generator, in pixels")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print("| video | enlarged by | mouth PSNR, dB | SSIM | sharpness | ms |\n|---|---|---|---|---|---|")
    for path in args.videos:
        measure(path, args.frames, args.resolution)


if __name__ == "__main__":
    main()
