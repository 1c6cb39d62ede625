"""How far recipes bring the expert in as many steps:  python -m benchmarks.recipes --data DIR --steps 300 --seeds 0 1 2

Each recipe trains through the entry point, as a user would. The table has the last validation, the best, and the worst
of the last five: what one gets who stops at a bad moment. Without --data it makes several speakers up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wav2lip.sample import write_sample

RECIPES = {
    "public": ["recipe=public"],
    "public, rate 1e-3": ["recipe=public", "learning_rate=1e-3", "lr_schedule=cosine", "warmup=50"],
    "the same averaged": ["recipe=public", "learning_rate=1e-3", "lr_schedule=cosine", "warmup=50", "ema=0.999"],
    "default": ["recipe=default"],
    "default, not averaged": ["recipe=default", "ema=null"],
    "default, constant rate": ["recipe=default", "lr_schedule=constant"],
    "default and InfoNCE": ["recipe=default", "contrast_wt=1.0"],
}
SCORES = ("loss", "accuracy", "auc")
EVALUATIONS = 10  # in a training, of which the last five are looked at
COLUMNS = ("recipe", "seed", "last loss", "accuracy", "AUC", "best loss", "worst of last 5: loss", "accuracy", "AUC")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    parser.add_argument("--data", type=Path, help="data root that preprocess made, with train.txt and val.txt")
    parser.add_argument("--out", type=Path, default=Path("recipes"), help="folder for trainings and made-up data")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps, at least 10")
    parser.add_argument("--width", type=float, default=1.0, help="share of the published channels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--windows", type=int, default=512, help="held-out windows, half of them with a wrong sound")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    args = parser.parse_args()
    data = args.data or made_up(args.out / "made_up")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for seed in args.seeds:
        for name in args.recipes:
            folder = args.out / f"{name.replace(', ', '_').replace(' ', '_')}-{seed}-{time.time_ns()}"
            train(data, folder, args, [f"seed={seed}", *RECIPES[name]])
            print(f"| {name} | {seed} | {row(folder)} |", flush=True)


def made_up(folder: Path) -> Path:
    """Ten made-up speakers with two clips of seven seconds each, one of them held out."""
    if not (folder / "data" / "filelists").is_dir():
        write_sample(folder / "videos", 20, 7, 0)
        run("preprocess", f"videos={folder / 'videos'}", f"out={folder / 'data'}", "detector=haar", "test=0")
    return folder / "data"


def train(data: Path, folder: Path, args: argparse.Namespace, overrides: list[str]) -> None:
    """One training; wrong windows of its validation are at least eight frames away."""
    run("train.syncnet", f"data_root={data}", f"checkpoint_dir={folder}", f"max_steps={args.steps}",
        f"model.width={args.width}", f"batch_size={args.batch}", f"eval_windows={args.windows}",
        f"eval_interval={args.steps // EVALUATIONS}", f"checkpoint_interval={args.steps}", "keep=1", "judge_after=0",
        "compat.min_shift=8", *overrides)  # fmt: skip


def run(module: str, *arguments: str) -> None:
    """A part of the toolkit as a process of its own; what it says is shown only if it fails."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def row(folder: Path) -> str:
    """The cells of a training's validations."""
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    of = {name: [event.value for event in curves.Scalars(f"val/{name}")] for name in SCORES}
    late = {name: values[-5:] for name, values in of.items()}
    last = [of[name][-1] for name in SCORES]
    worst = [max(late["loss"]), min(late["accuracy"]), min(late["auc"])]
    return " | ".join(f"{value:.3f}" for value in (*last, min(of["loss"]), *worst))


if __name__ == "__main__":
    main()
