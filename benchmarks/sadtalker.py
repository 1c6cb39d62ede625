"""Speed and accuracy of SadTalker's renderer against the plain float32 order, in CPU time per frame.

    python -m benchmarks.sadtalker [--size 256] [--frames 3] [--rounds 2] [--threads 1]
    python -m benchmarks.sadtalker --memory 10 600
    python -m benchmarks.sadtalker --paste

Weights are untrained, with the scale of the goldens, so that errors are larger than those of trained weights may be.
Plain is the published order: every frame computes the source features, all sixteen warps and the spectral norms. Each
configuration has a process of its own with the default memory settings; they draw frame by frame in turn, so that other
programs slow them down alike. The median of all frames and rounds counts.

--memory measures the peak memory of whole videos of these lengths in seconds instead, with a formula and a warp of the
photo in place of the networks, so that only the rest of the engine can grow, at 2.5 fps. --paste measures the frames
per second of CPU time, on one thread, of the paste into a photo of one megapixel.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.moving_head import CPU, build_moving_head
from face_detection import build_detector
from models.sadtalker import build
from models.sadtalker.generator import Generator
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.engine.interface import FrameItem
from wav2lip.sadtalker import SadTalkerOptions
from wav2lip.sadtalker.compositing import build_composition
from wav2lip.sadtalker.renderer import TorchRenderer
from wav2lip.sadtalker.source.cropping import Region

GAIN = 1.4  # of a layer's output over its input
COLUMNS = "| configuration | CPU s per frame | ratio | wall s | peak MiB | grey levels, mean | max |"
CONFIGURATIONS = ("plain", "float32", "bfloat16")

MEMORY_FPS = 2.5  # a tenth of the frames: their memory is reused, that of speech and motion grows with the length
PASTE_SIDE, PASTE_FRAMES = 1024, 10  # pixels of the photo

Draw = Callable[[np.ndarray], np.ndarray]  # key points (15, 3) to a frame (S, S, 3) float32 in (0, 1)


@torch.no_grad()
def untrained_generator() -> Generator:
    """Return the generator with random weights whose outputs depend on the input at every layer."""
    torch.manual_seed(0)
    generator: Generator = build("generator")  # type: ignore[assignment]
    for name, weight in generator.named_parameters():
        if weight.dim() > 1:
            rows = weight.flatten(1).uniform_(-1, 1)
            rows -= rows.mean(dim=1, keepdim=True)
            rows *= GAIN * (3 / rows.shape[1]) ** 0.5
        elif name.endswith("bias"):
            weight.uniform_(-0.1, 0.1)
    for module in generator.modules():
        if hasattr(module, "weight_orig"):
            matrix: Tensor = module.weight_orig.flatten(1)
            module.weight_v.copy_(F.normalize(matrix.t() @ module.weight_u, dim=0))
    return generator


def build_scene(size: int, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a picture (S, S, 3) uint8, its key points (15, 3) and those of the frames (N, 15, 3)."""
    rng = np.random.default_rng(0)
    rows, columns, colors = np.mgrid[:size, :size, :3]
    picture = ((3 * rows + 2 * columns + 70 * colors) % 256 + rng.integers(0, 256, (size, size, 3))) // 2
    source = rng.uniform(-0.6, 0.6, (15, 3))
    driving = source + rng.uniform(-0.15, 0.15, (frames, 15, 3))
    return picture.astype(np.uint8), source.astype(np.float32), driving.astype(np.float32)


def build_draw(configuration: str, picture: np.ndarray, source: np.ndarray) -> Draw:
    """Return the function that draws frames in a configuration."""
    generator = untrained_generator()
    if configuration != "plain":
        renderer = TorchRenderer(generator, CPU, getattr(torch, configuration))
        (stream,) = renderer.streams(renderer.source_features(picture), source)
        return lambda points: stream(torch.from_numpy(points)).numpy()
    x = torch.from_numpy(picture).movedim(-1, 0)[None] / 255
    start = torch.from_numpy(source)[None]

    @torch.inference_mode()
    def draw(points: np.ndarray) -> np.ndarray:
        return generator(x, start, torch.from_numpy(points)[None])[0].movedim(0, -1).numpy()

    return draw


def serve_frames(configuration: str, args: argparse.Namespace, file: Path) -> None:
    """Draw one frame per line of standard input and print its seconds as JSON; save all frames at the end."""
    torch.set_num_threads(args.threads)
    picture, source, driving = build_scene(args.size, args.frames)
    draw = build_draw(configuration, picture, source)
    frames = [draw(points) for points in driving]  # warms up
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        started = time.process_time(), time.perf_counter()
        draw(driving[int(line)])
        seconds = {"cpu": time.process_time() - started[0], "wall": time.perf_counter() - started[1]}
        print(json.dumps(seconds | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
    np.save(file, np.stack(frames))


def measure(args: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Draw the frames of all configurations in turn; returns the figures of each frame."""
    workers = {}
    for configuration in CONFIGURATIONS:
        command = [sys.executable, "-m", "benchmarks.sadtalker", "--configuration", configuration]
        command += ["--file", str(folder / f"{configuration}.npy")]
        command += [f"--{key}={getattr(args, key)}" for key in ("size", "frames", "threads")]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        worker.stdout.readline()  # type: ignore[union-attr]
        workers[configuration] = worker
    results: dict[str, list[dict[str, float]]] = {configuration: [] for configuration in CONFIGURATIONS}
    for _, frame in product(range(args.rounds), range(args.frames)):
        for configuration, worker in workers.items():
            worker.stdin.write(f"{frame}\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
            results[configuration].append(json.loads(worker.stdout.readline()))  # type: ignore[union-attr]
    for worker in workers.values():
        worker.communicate()
    return results


def write_speech(path: Path, seconds: int) -> None:
    """Write noise in blocks of a second, 16 kHz."""
    rng = np.random.default_rng(0)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for _ in range(seconds):
            file.writeframes(rng.integers(-9000, 9000, SAMPLE_RATE, np.int16).tobytes())


def animate(folder: Path) -> None:
    """Animate a photo with the speech in a folder and print the peak memory in MiB."""
    torch.set_num_threads(1)
    photo, _, _ = build_scene(256, 1)
    np.savetxt(folder / "points.txt", [[100, 100], [150, 100], [125, 130], [105, 160], [145, 160]])
    engine = build_moving_head(lambda batch_size, compat: build_detector("haar"))
    options = SadTalkerOptions(preprocess="full", points=folder / "points.txt", fps=MEMORY_FPS)
    result = engine(photo, folder / "speech.wav", folder / "result.mp4", options)
    print(json.dumps({"frames": result.frames, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def measure_memory(lengths: Sequence[int]) -> None:
    """Print the peak memory of videos of some lengths in seconds, each in a process of its own."""
    print("| seconds | frames | peak MiB | ratio |\n|---|---|---|---|")
    first = 0.0
    for seconds in lengths:
        with tempfile.TemporaryDirectory() as name:
            write_speech(Path(name, "speech.wav"), seconds)
            command = [sys.executable, "-m", "benchmarks.sadtalker", "--animate", name]
            figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or figures["peak"]
        print(
            f"| {seconds} | {figures['frames']} | {figures['peak']:.0f} | {figures['peak'] / first:.3f} |", flush=True
        )


def measure_paste() -> None:
    """Print the speed of both ways to blend a face square of half the width into a photo."""
    cv2.setNumThreads(1)
    photo, _, _ = build_scene(PASTE_SIDE, 1)
    region = Region((256, 200, 768, 712), (512, 512))
    frames = [np.roll(region.cut(photo, 256), shift, axis=1) for shift in range(PASTE_FRAMES)]
    print("| paste | frames per CPU second |\n|---|---|")
    for name, compat in (("soft mask, color matching", "none"), ("Poisson blending (--compat public)", "public")):
        compose = build_composition("full", photo, region, 256, compat)
        compose(FrameItem(0, frames[0].copy(), []))
        seconds = []
        for index, frame in enumerate(frames):
            item, started = FrameItem(index, frame.copy(), []), time.process_time()
            compose(item)
            seconds.append(time.process_time() - started)
        print(f"| {name} | {1 / np.median(seconds):.0f} |")


def main() -> None:
    """Measure all configurations and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, choices=(256, 512), help="pixels")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", type=int, nargs="+", metavar="SECONDS", help="measure the memory of whole videos")
    parser.add_argument("--paste", action="store_true", help="measure the paste into a photo")
    parser.add_argument("--animate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--configuration", choices=CONFIGURATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.animate:
        animate(args.animate)
        return
    if args.paste:
        measure_paste()
        return
    if args.memory:
        measure_memory(args.memory)
        return
    if args.configuration:
        serve_frames(args.configuration, args, args.file)
        return
    with tempfile.TemporaryDirectory() as name:
        results = measure(args, Path(name))
        frames = {configuration: np.load(Path(name, f"{configuration}.npy")) for configuration in CONFIGURATIONS}
    print(f"{COLUMNS}\n|---|---|---|---|---|---|---|")
    plain = np.median([each["cpu"] for each in results["plain"]])
    for configuration, figures in results.items():
        cpu, wall = (np.median([each[key] for each in figures]) for key in ("cpu", "wall"))
        difference = 255 * np.abs(frames[configuration] - frames["plain"])
        row = (f"{cpu:.2f}", f"{plain / cpu:.2f}", f"{wall:.2f}", f"{figures[-1]['peak']:.0f}",
               f"{difference.mean():.4f}", f"{difference.max():.3f}")  # fmt: skip
        print(f"| {configuration} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
