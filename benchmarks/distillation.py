"""Thin generators with and without a teacher, on the synthetic speakers of the demo.

    python -m benchmarks.distillation --out DIR [--widths 0.25 0.125] [--steps 540] [--seed 0]

Trains two experts, a teacher and, for each width, a student alone and a student with `recipe=distill`, through their
entry points, with equal data, seeds and steps. Every generator then lip-syncs an unseen speaker to unseen speech, and
is scored against the rendered truth and by the second expert, which trains nothing. Finished runs in DIR are not
repeated.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality import SIZES, lip_sync_talk, prepare_speakers, train
from models import Wav2Lip
from wav2lip.checkpoints import load_network
from wav2lip.demo.commands import path_override
from wav2lip.demo.scores import SECOND, VideoScores, load_experts, score_video
from wav2lip.demo.training import EXPERT_OVERRIDES, SECOND_SEED, SECOND_WIDTH, expert_overrides
from wav2lip.demo.unseen import render_unseen_talk
from wav2lip.lipsync.generator_runtime import GeneratorRuntime
from wav2lip.live.lipsync import PAIR

TEACHER_WIDTH = 0.5
SYNC_STEPS = 80  # last steps, with sync loss and five frames of each window; one frame before
ROUNDS, CALLS = 5, 10  # of timing
STREAM_MS = 7.0  # CPU time of a live frame besides the generator: H.264, AAC, mel, blending (benchmarks/RESULTS.md)
CORES, FPS = 2, 25
COLUMNS = ("generator", "parameters, M", "CPU s of training", "mouth PSNR, dB", "SSIM", "second expert: agreement",
           "confidence", "opening", "CPU ms per frame", "streams")  # fmt: skip


def train_generator(
    data: Path, folder: Path, experts: tuple[Path, Path], steps: int, seed: int, *options: str
) -> float:
    """Train a generator; return the CPU time in seconds, NaN if the run was finished before."""
    is_finished = (folder / f"checkpoint_step{steps:09d}.pth").is_file()
    begin = _children_seconds()
    sync = f"syncnet_wt=[[0,0.0],[{steps - SYNC_STEPS - 1},0.0],[{steps - SYNC_STEPS},0.01]]"
    overrides = ("batch_size=8", "eval_windows=64", f"eval_interval={steps}", "preview_seconds=0",
                 "frames_without_sync=1", "syncnet_wt_on=0.01", sync)  # fmt: skip
    train("wav2lip", data, folder, steps, seed, *expert_overrides(*experts), *overrides, *options)
    return math.nan if is_finished else _children_seconds() - begin


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def generator_ms(checkpoint: Path) -> float:
    """Return the CPU time of a generated face in ms, in pairs as a live stream generates them, on one thread."""
    torch.set_num_threads(1)
    runtime = GeneratorRuntime(load_network(checkpoint, Wav2Lip), torch.device("cpu"))
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (PAIR, 96, 96, 3), np.uint8)
    mels = rng.uniform(-4, 4, (PAIR, 1, 80, 16)).astype(np.float32)
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(CALLS):
            runtime(faces, mels)
        times.append((time.process_time() - begin) / CALLS / PAIR)
    return 1000 * sorted(times)[ROUNDS // 2]


def row(name: str, checkpoint: Path, seconds: float, scores: VideoScores) -> str:
    """Format a row of the table."""
    size = sum(parameter.numel() for parameter in load_network(checkpoint, Wav2Lip).parameters()) / 1e6
    curve, milliseconds = scores.curves[SECOND], generator_ms(checkpoint)
    streams = int(CORES * 1000 / FPS / (milliseconds + STREAM_MS))
    cells = (name, f"{size:.2f}", f"{seconds:.0f}", f"{scores.psnr_mouth:.2f}", f"{scores.ssim_mouth:.3f}",
             f"{curve.agreement:.3f}", f"{curve.confidence:.3f}", f"{scores.opening_correlation:.3f}",
             f"{milliseconds:.1f}", f"{streams}")  # fmt: skip
    return f"| {' | '.join(cells)} |"


def run_benchmark(out: Path, widths: Sequence[float], steps: int, seed: int, options: Sequence[str]) -> None:
    """Train and score everything; print the table."""
    speakers, size = out / "speakers", SIZES["full"]
    data = prepare_speakers(speakers, size)
    folders = out / "expert", out / "second"
    train("syncnet", data, folders[0], size.expert_steps, 0, *EXPERT_OVERRIDES)
    train("syncnet", data, folders[1], size.expert_steps, SECOND_SEED, *EXPERT_OVERRIDES, f"model.width={SECOND_WIDTH}")
    experts = folders[0] / "last.pth", folders[1] / "last.pth"
    talk = render_unseen_talk(out / "talk", speakers / "videos", data, seed=0)
    scorers = load_experts(*experts, data)

    def measure(name: str, folder: Path, seed: int, *overrides: str) -> Path:
        seconds = train_generator(data, folder, experts, steps, seed, *overrides)
        checkpoint = folder / "last.pth"
        result = lip_sync_talk(checkpoint, talk, folder / "result.mp4")
        print(row(name, checkpoint, seconds, score_video(result, talk, scorers, folder)), flush=True)
        return checkpoint

    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    teacher = measure(f"teacher, width {TEACHER_WIDTH:g}", out / f"teacher-{steps}", 0, f"model.width={TEACHER_WIDTH}")
    for width in widths:
        label = f"{width:g}-{steps}-{seed}"
        measure(f"width {width:g}, alone", out / f"alone-{label}", seed, f"model.width={width}")
        taught = ("recipe=distill", path_override("teacher_checkpoint_path", teacher), f"model.width={width}", *options)
        measure(f"width {width:g}, taught", out / "-".join(["taught", label, *options]), seed, *taught)


def main() -> None:
    """Run the entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("distillation"), help="folder for speakers and runs")
    parser.add_argument("--widths", type=float, nargs="+", default=[0.25, 0.125], help="of the students")
    parser.add_argument("--steps", type=int, default=540, help="of every generator")
    parser.add_argument("--seed", type=int, default=0, help="of the students; that of the teacher is 0")
    parser.add_argument("--options", nargs="*", default=[], help="overrides of the taught students")
    args = parser.parse_args()
    run_benchmark(args.out, args.widths, args.steps, args.seed, args.options)


if __name__ == "__main__":
    main()
