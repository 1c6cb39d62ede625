"""Compare training recipes of the expert:  python -m benchmarks.recipes --data DIR --steps 300 --seeds 0 1 2

Each recipe trains through the entry point. The table has the last validation, the best, and the worst of the last five,
i.e. the result of stopping at an unlucky moment. Without --data the speakers are synthetic.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wav2lip.synthetic import write_videos

RECIPES = {
    "public": ["recipe=public"],
    "public, rate 1e-3": ["recipe=public", "learning_rate=1e-3", "lr_schedule=cosine", "warmup_steps=50"],
    "the same averaged": [
        "recipe=public",
        "learning_rate=1e-3",
        "lr_schedule=cosine",
        "warmup_steps=50",
        "ema_decay=0.999",
    ],
    "default": ["recipe=default"],
    "default, not averaged": ["recipe=default", "ema_decay=null"],
    "default, constant rate": ["recipe=default", "lr_schedule=constant"],
    "default and InfoNCE": ["recipe=default", "infonce_wt=1.0"],
}
SCORES = ("loss", "accuracy", "auc")
VALIDATIONS = 10  # per run
LAST_VALIDATIONS = 5  # over which the worst scores are taken
COLUMNS = ("recipe", "seed", "last loss", "accuracy", "AUC", "best loss", "worst of last 5: loss", "accuracy", "AUC")


def main() -> None:
    """Train all recipes and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    parser.add_argument("--data", type=Path, help="preprocessed data root with train.txt and val.txt")
    parser.add_argument("--out", type=Path, default=Path("recipes"), help="folder for runs and synthetic data")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps, at least 10")
    parser.add_argument("--width", type=float, default=1.0, help="share of the published channels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--windows", type=int, default=512, help="validation windows, half of them with wrong audio")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    args = parser.parse_args()
    data = args.data or prepare_synthetic_data(args.out / "synthetic")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for seed in args.seeds:
        for name in args.recipes:
            folder = args.out / f"{name.replace(', ', '_').replace(' ', '_')}-{seed}-{time.time_ns()}"
            train(data, folder, args, [f"seed={seed}", *RECIPES[name]])
            print(f"| {name} | {seed} | {format_cells(folder)} |", flush=True)


def prepare_synthetic_data(folder: Path) -> Path:
    """Render and preprocess ten speakers with two clips of 7 s each, one speaker held out; returns the data root."""
    if not (folder / "data" / "filelists").is_dir():
        write_videos(folder / "videos", 20, 7, 0)
        run_module("preprocess", f"videos={folder / 'videos'}", f"out={folder / 'data'}", "detector=haar", "test=0")
    return folder / "data"


def train(data: Path, folder: Path, args: argparse.Namespace, overrides: list[str]) -> None:
    """Train one run; wrong windows of its validation are at least eight frames away."""
    run_module("train.syncnet", f"data_root={data}", f"checkpoint_dir={folder}", f"max_steps={args.steps}",
        f"model.width={args.width}", f"batch_size={args.batch}", f"eval_windows={args.windows}",
        f"eval_interval={args.steps // VALIDATIONS}", f"checkpoint_interval={args.steps}", "keep_last_n=1",
        "diagnose_after=0", "compat.min_negative_offset=8", *overrides)  # fmt: skip


def run_module(module: str, *arguments: str) -> None:
    """Run a module in a process of its own; its output is printed only if it fails."""
    result = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)


def format_cells(folder: Path) -> str:
    """Format the scores of a run's validations."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    curves = {name: [event.value for event in events.Scalars(f"val/{name}")] for name in SCORES}
    late = {name: values[-LAST_VALIDATIONS:] for name, values in curves.items()}
    last = [curves[name][-1] for name in SCORES]
    worst = [max(late["loss"]), min(late["accuracy"]), min(late["auc"])]
    return " | ".join(f"{value:.3f}" for value in (*last, min(curves["loss"]), *worst))


if __name__ == "__main__":
    main()
