"""Does it still learn? The thin recipe on made-up talkers, with several seeds, against a record of how it did before.

    python -m benchmarks.quality --out DIR --against benchmarks/quality.json
    python -m benchmarks.quality --out DIR --record

Makes speakers, preprocesses them, trains the expert and then the generator through their entry points, and reads the
scores of a held-out speaker from their last validations. Exits with 1 if a mark is missed or a mean is worse than the
record's by more than its tolerance. --spoil breaks the recipe on purpose, which has to miss a mark.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from wav2lip.clips import AUDIO
from wav2lip.demo import THIN, quoted
from wav2lip.demo_page import last_scores
from wav2lip.errors import InputError
from wav2lip.errors import run as run_entry
from wav2lip.evaluation.metrics import HIGHER, LOWER, ONE, ZERO
from wav2lip.evaluation.metrics.metric import badness
from wav2lip.sample import write_sample

ROOT = Path(__file__).resolve().parents[1]
RESULTS, SECTION = ROOT / "benchmarks" / "RESULTS.md", "## Does it still learn?"
RECORD = ROOT / "benchmarks" / "quality.json"
NO_SYNC, SHUFFLED = "no_sync_loss", "shuffled_sound"  # ways to break the recipe


@dataclass(frozen=True)
class Size:
    """How much is made and trained."""

    speakers: int  # two clips each; one of them is held out
    seconds: float  # of a clip
    expert_steps: int
    generator_steps: int
    generator: tuple[str, ...] = ()  # further settings


SIZES = {
    "full": Size(10, 7, 360, 440),
    "short": Size(6, 5, 200, 200, ("model.width=0.125",)),
}


@dataclass(frozen=True)
class Score:
    """A score that is told, which values are better, and by how much its mean may be worse than the record's."""

    better: str
    tolerance: float
    mark: float | None = None  # what every seed has to reach, measured by how bad it is


SCORES = {  # of the expert, then of the generator as its expert judges it; see docs/training.md
    "accuracy": Score(HIGHER, 0.06, mark=0.70),
    "auc": Score(HIGHER, 0.06),
    "sync": Score(LOWER, 0.25),
    "expert_confidence": Score(HIGHER, 0.15, mark=0.15),
    "expert_offset": Score(ZERO, 1, mark=2),
    "psnr_mouth": Score(HIGHER, 1.5),
    "ssim_mouth": Score(HIGHER, 0.10),
    "sharpness": Score(ONE, 2.0),
}
OF_EXPERT = ("accuracy", "auc")  # the others are the generator's
MARGINS = ("sync_of_input", "sync_of_truth", "flicker", "flicker_of_truth")  # told for reading, not compared

Scores = dict[str, float]


def build_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("quality"), help="folder for talkers and trainings")
    parser.add_argument("--size", choices=tuple(SIZES), default="full", help="full: the demo's; short: CI's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings (default: 0 1 2)")
    parser.add_argument("--spoil", choices=(NO_SYNC, SHUFFLED), help="break the recipe, to see that it shows")
    parser.add_argument("--against", type=Path, metavar="FILE", help="record to compare with")
    parser.add_argument("--record", action="store_true", help=f"keep the result in {RECORD.name} and RESULTS.md")
    return parser


def main() -> None:
    """Entry point."""
    args = build_parser().parse_args()
    run_entry(lambda: bench(args))


def bench(args: argparse.Namespace) -> int:
    """Train, tell, compare; returns the exit code, 1 if a mark or the record is missed."""
    before = known(args.against, args.size) if args.against else None
    found = [learn(args.out, SIZES[args.size], seed, args.spoil) for seed in args.seeds]
    result = summary(f"{args.size} {args.spoil}" if args.spoil else args.size, args.seeds, found)
    print(json.dumps(result, indent=1))
    print(row(result))
    if args.record:
        keep(result)
    wrong = [sentence for seed, scores in zip(args.seeds, found, strict=True) for sentence in missed(scores, seed)]
    wrong += worse(result, before) if before else []
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def learn(out: Path, size: Size, seed: int, spoil: str | None = None) -> Scores:
    """Train both networks with a seed; the scores of their last validations.

    Of an expert that heard nothing no generator learns, so none is trained and its scores are left out.
    """
    data = talkers(out / "talkers", size)
    if spoil == SHUFFLED:
        data = dubbed(data, out / "dubbed")
    folder = out / f"{spoil or 'sound'}-{seed}"
    expert, generator = folder / "expert", folder / "generator"
    train("syncnet", data, expert, size.expert_steps, seed, "batch_size=32", "eval_windows=256")
    found = {name: last_scores(expert)[name] for name in OF_EXPERT}
    if missed(found, seed, OF_EXPERT):
        return found
    sync = ["syncnet_wt=0", "syncnet_wt_on=0"] if spoil == NO_SYNC else ["syncnet_wt=0.03"]
    train("wav2lip", data, generator, size.generator_steps, seed, "batch_size=8", "eval_windows=64", *sync,
          "preview_seconds=0", f"syncnet_checkpoint_path={quoted(expert / 'last.pth')}", *size.generator)  # fmt: skip
    painted = last_scores(generator)
    return found | {name: painted[name] for name in (*SCORES, *MARGINS) if name not in OF_EXPERT}


def talkers(root: Path, size: Size) -> Path:
    """A data set of made-up speakers, always the same, one of whom is held out."""
    data = root / "data"
    if not (data / "filelists").is_dir():
        write_sample(root / "videos", 2 * size.speakers, size.seconds, seed=0)
        run("preprocess", f"videos={quoted(root / 'videos')}", f"out={quoted(data)}", "detector=haar", "test=0")
    return data


def dubbed(data: Path, copy: Path) -> Path:
    """The data set with the sounds of the clips that are trained on swapped: each has that of another speaker."""
    if copy.is_dir():
        return copy
    partial = copy.with_name(f"{copy.name}.partial")
    shutil.copytree(data, partial, ignore=shutil.ignore_patterns("packed", "mel.npy"), dirs_exist_ok=True)
    names = (data / "filelists" / "train.txt").read_text().split()
    for name, other in zip(names, [*names[3:], *names[:3]], strict=True):  # a speaker has two clips
        shutil.copyfile(data / other / AUDIO, partial / name / AUDIO)
    partial.rename(copy)
    return copy


def train(trainer: str, data: Path, folder: Path, steps: int, seed: int, *more: str) -> None:
    """One training through its entry point, unless it is there."""
    if (folder / f"checkpoint_step{steps:09d}.pth").is_file():
        return
    arguments = [f"data_root={quoted(data)}", f"checkpoint_dir={quoted(folder)}", f"max_steps={steps}",
                 f"eval_interval={steps}", f"checkpoint_interval={steps}", f"seed={seed}", *THIN,
                 "judge_after=0", *more]  # fmt: skip
    run(f"train.{trainer}", *arguments)


def run(module: str, *arguments: str) -> None:
    """A part of the toolkit as a process of its own; what it says is shown only if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)


def missed(scores: Scores, seed: int, names: Iterable[str] = SCORES) -> list[str]:
    """The marks that a seed does not reach, in sentences; a score that is not there reaches none."""
    marks = {name: mark for name in names if (mark := SCORES[name].mark) is not None}
    return [
        f"seed {seed}: {name} is {scores.get(name, math.nan):.3f}, and the mark is {mark:g}"
        for name, mark in marks.items()
        if not badness(SCORES[name].better, scores.get(name, math.nan)) <= badness(SCORES[name].better, mark)
    ]


def worse(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """The scores whose means are worse than a record's by more than their tolerances, in sentences."""
    return [
        f"{name} is {now['mean'][name]:.3f} and was {before['mean'][name]:.3f} on {before['date']} "
        f"({before['commit']}): worse by more than {score.tolerance:g}"
        for name, score in SCORES.items()
        if name in now["mean"]
        and not badness(score.better, now["mean"][name]) - badness(score.better, before["mean"][name])
        <= score.tolerance
    ]


def known(path: Path, size: str) -> dict[str, Any]:
    """The record of a size in a file; InputError if it is not there."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check --against") from error
    if size not in records:
        raise InputError(f"{path}: has no record of --size {size}; it has {', '.join(records)}")
    return records[size]


def summary(size: str, seeds: list[int], found: list[Scores]) -> dict[str, Any]:
    """The record of a run."""
    told = [name for name in (*SCORES, *MARGINS) if all(name in scores for scores in found)]
    spread = {name: stdev(scores[name] for scores in found) if len(found) > 1 else 0.0 for name in told}
    return {
        "size": size,
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU only'}, torch {torch.__version__}",
        "seeds": seeds,
        "mean": {name: short(mean(scores[name] for scores in found)) for name in told},
        "spread": {name: short(value) for name, value in spread.items()},
        "each": [{name: short(value) for name, value in scores.items()} for scores in found],
    }


def short(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


def commit() -> str:
    """The commit that was measured; with a + if files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def row(result: dict[str, Any]) -> str:
    """Of the table in RESULTS.md: means and, after ±, standard deviations over the seeds."""
    means, spread = result["mean"], result["spread"]
    cells = [f"{means[name]:.3g} ± {spread[name]:.2g}" if name in means else "-" for name in SCORES]
    return (
        "| " + " | ".join([result["date"], result["commit"], result["size"], str(len(result["seeds"])), *cells]) + " |"
    )


def keep(result: dict[str, Any]) -> None:
    """Write the record, in place of an older one of its size, and a row below the table in RESULTS.md."""
    records = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    RECORD.write_text(json.dumps({**records, result["size"]: result}, indent=1) + "\n", encoding="utf-8")
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith(SECTION))
    end = next((n for n in range(begin + 1, len(lines)) if lines[n].startswith("## ")), len(lines))
    last = max(n for n in range(begin, end) if lines[n].startswith("|"))
    lines.insert(last + 1, row(result))
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
