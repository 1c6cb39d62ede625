"""Learning benchmark: train the small recipe on synthetic speakers with several seeds and compare with a record.

    python -m benchmarks.quality --out DIR --against benchmarks/quality.json
    python -m benchmarks.quality --out DIR --record

Renders and preprocesses speakers, trains two experts and the generator through their entry points, and reads the scores
on a held-out speaker from the last validations. The second expert, which trains nothing, decides about sync. The exit
code is 1 if a seed misses a threshold or a mean is worse than the record's by more than its tolerance. --ablation
breaks the recipe, which must then miss a threshold.
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

from wav2lip.cli import run as run_entry_point
from wav2lip.dataset.clip import AUDIO
from wav2lip.demo.commands import path_override
from wav2lip.demo.report import last_scores
from wav2lip.demo.scores import SECOND, VideoScores, load_experts, score_video
from wav2lip.demo.training import (
    EXPERT_OVERRIDES,
    EXPERT_STEPS,
    GENERATOR_OVERRIDES,
    GENERATOR_STEPS,
    SECOND_SEED,
    SECOND_WIDTH,
    expert_overrides,
    trainer_command,
)
from wav2lip.demo.unseen import UnseenTalk, render_unseen_talk
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics import HIGHER, LOWER, ONE, ZERO
from wav2lip.evaluation.metrics.base import badness
from wav2lip.synthetic import write_videos

ROOT = Path(__file__).resolve().parents[1]
RESULTS, SECTION = ROOT / "benchmarks" / "RESULTS.md", "## Learning benchmark"
RECORD = ROOT / "benchmarks" / "quality.json"
NO_SYNC_LOSS, SHUFFLED_AUDIO = "no_sync_loss", "shuffled_audio"


@dataclass(frozen=True)
class Size:
    """Amount of data and training."""

    speakers: int  # one or two of which are held out
    videos: int  # of each speaker
    seconds: float  # length of a clip
    expert_steps: int
    generator_steps: int
    generator_overrides: tuple[str, ...] = ()
    learns_sync: bool = True  # False: too few steps for the sync loss, only the expert has thresholds


SIZES = {
    "full": Size(32, 1, 7, EXPERT_STEPS, GENERATOR_STEPS),
    "short": Size(6, 2, 5, 200, 200, ("model.width=0.125",), learns_sync=False),
}


@dataclass(frozen=True)
class Criterion:
    """Limits of a score: for the mean relative to the record, and for every seed."""

    better: str
    tolerance: float  # by which the mean may be worse than the record's
    threshold: float | None = None  # that every seed must reach


CRITERIA = {  # scores of the expert, then of the generator, see docs/training.md
    "accuracy": Criterion(HIGHER, 0.06, threshold=0.70),
    "auc": Criterion(HIGHER, 0.06),
    "sync": Criterion(LOWER, 0.25),
    "second_confidence": Criterion(HIGHER, 0.15, threshold=0.12),
    "second_offset": Criterion(ZERO, 1, threshold=2),
    "psnr_mouth": Criterion(HIGHER, 1.5),
    "ssim_mouth": Criterion(HIGHER, 0.10),
    "sharpness": Criterion(ONE, 2.0),
}
EXPERT_SCORES = ("accuracy", "auc")
EXTRA_SCORES = (
    "sync_of_input",
    "sync_of_truth",
    "second_sync",
    "second_sync_of_truth",
    "expert_confidence",
    "expert_offset",
    "flicker",
    "flicker_of_truth",
)  # reported, not compared
TALK_SCORES = (
    "agreement",
    "confidence",
    "talk_psnr_mouth",
    "talk_ssim_mouth",
    "talk_sharpness",
    "opening_correlation",
)  # of an unseen talk; reported
TRUE_TALK_SCORES = ("truth_agreement", "truth_confidence")  # of its rendered truth

Scores = dict[str, float]


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("quality"), help="folder for speakers and runs")
    parser.add_argument("--size", choices=tuple(SIZES), default="full", help="full: the demo's; short: CI's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the runs (default: 0 1 2)")
    parser.add_argument("--ablation", choices=(NO_SYNC_LOSS, SHUFFLED_AUDIO), help="break the recipe")
    parser.add_argument("--against", type=Path, metavar="FILE", help="record to compare with")
    parser.add_argument("--record", action="store_true", help=f"write the result to {RECORD.name} and RESULTS.md")
    return parser


def main() -> None:
    """Run the entry point."""
    args = build_parser().parse_args()
    run_entry_point(lambda: run_benchmark(args))


def run_benchmark(args: argparse.Namespace) -> int:
    """Train all seeds, print and compare the result; returns the exit code."""
    record = read_record(args.against, args.size) if args.against else None
    scores = [train_and_score(args.out, SIZES[args.size], seed, args.ablation) for seed in args.seeds]
    result = summarize(f"{args.size} {args.ablation}" if args.ablation else args.size, args.seeds, scores)
    print(json.dumps(result, indent=1))
    print(format_row(result))
    if args.record:
        write_record(result)
    names = tuple(CRITERIA) if SIZES[args.size].learns_sync else EXPERT_SCORES
    failures = [
        message for seed, one in zip(args.seeds, scores, strict=True) for message in check_scores(one, seed, names)
    ]
    failures += compare_means(result, record) if record else []
    for message in failures:
        print(message, file=sys.stderr)
    return 1 if failures else 0


def train_and_score(out: Path, size: Size, seed: int, ablation: str | None = None) -> Scores:
    """Train two experts and the generator; return the scores of their last validations and of an unseen talk.

    The generator is skipped if the expert misses a threshold, as it could not learn from it.
    """
    data = prepare_speakers(out / "speakers", size)
    if ablation == SHUFFLED_AUDIO:
        data = shuffle_audio(data, out / "shuffled_audio")
    folder = out / f"{ablation or 'recipe'}-{seed}"
    expert, generator, second = folder / "expert", folder / "generator", folder / "second_expert"
    train("syncnet", data, expert, size.expert_steps, seed, *EXPERT_OVERRIDES)
    expert_scores = last_scores(expert)
    scores = {name: expert_scores[name] for name in EXPERT_SCORES}
    if check_scores(scores, seed, EXPERT_SCORES):
        return scores
    train("syncnet", data, second, size.expert_steps, seed + SECOND_SEED, *EXPERT_OVERRIDES,
          f"model.width={SECOND_WIDTH}")  # fmt: skip
    sync = ["syncnet_wt_on=0"] if ablation == NO_SYNC_LOSS else []
    experts = expert_overrides(expert / "last.pth", second / "last.pth")
    train("wav2lip", data, generator, size.generator_steps, seed, *GENERATOR_OVERRIDES, *experts, *sync,
          "preview_seconds=0", *size.generator_overrides)  # fmt: skip
    generator_scores = last_scores(generator)
    names = [name for name in (*CRITERIA, *EXTRA_SCORES) if name not in EXPERT_SCORES]
    return scores | {name: generator_scores[name] for name in names} | score_talk(out / "speakers", folder)


def score_talk(speakers: Path, folder: Path) -> Scores:
    """Lip-sync an unseen speaker to unseen speech; return the scores beside those of the rendered truth."""
    talk = render_unseen_talk(folder / "talk", speakers / "videos", speakers / "data", seed=0)
    result = lip_sync_talk(folder / "generator" / "last.pth", talk, folder / "talk" / "result.mp4")
    paths = folder / "expert" / "last.pth", folder / "second_expert" / "last.pth"
    experts = load_experts(*paths, speakers / "data")
    generated, truth = (score_video(video, talk, experts, folder / "talk") for video in (result, talk.truth))
    true_curve = truth.curves[SECOND]
    values = *talk_values(generated), true_curve.agreement, true_curve.confidence
    return dict(zip((*TALK_SCORES, *TRUE_TALK_SCORES), values, strict=True))


def lip_sync_talk(checkpoint: Path, talk: UnseenTalk, result: Path, *flags: str) -> Path:
    """Lip-sync the face of a talk to its speech with a generator, and further flags of `wav2lip.infer`."""
    run_module("wav2lip.infer", "--checkpoint_path", str(checkpoint), "--face", str(talk.face), "--audio",
               str(talk.speech), "--outfile", str(result), "--no_cache", *flags)  # fmt: skip
    return result


def talk_values(video: VideoScores) -> tuple[float, ...]:
    """Return the scores named by TALK_SCORES: sync by the second expert, then the image against the rendered truth."""
    curve = video.curves[SECOND]
    return (curve.agreement, curve.confidence, video.psnr_mouth, video.ssim_mouth, video.sharpness,
            video.opening_correlation)  # fmt: skip


def prepare_speakers(root: Path, size: Size) -> Path:
    """Render and preprocess the same synthetic speakers every time; returns the data root."""
    data = root / "data"
    if not (data / "filelists").is_dir():
        count = size.speakers * size.videos
        write_videos(root / "videos", count, size.seconds, seed=0, videos_per_speaker=size.videos)
        videos, out = path_override("videos", root / "videos"), path_override("out", data)
        run_module("preprocess", videos, out, "detector=haar", "test=0")
    return data


def shuffle_audio(data: Path, copy: Path) -> Path:
    """Copy a dataset and give each training clip another speaker's audio."""
    if copy.is_dir():
        return copy
    partial = copy.with_name(f"{copy.name}.partial")
    shutil.copytree(data, partial, ignore=shutil.ignore_patterns("packed", "mel.npy"), dirs_exist_ok=True)
    names = (data / "filelists" / "train.txt").read_text().split()
    for name, other in zip(names, [*names[3:], *names[:3]], strict=True):  # a speaker has one or two clips
        shutil.copyfile(data / other / AUDIO, partial / name / AUDIO)
    partial.rename(copy)
    return copy


def train(trainer: str, data: Path, folder: Path, steps: int, seed: int, *overrides: str) -> None:
    """Train a network through its entry point, unless its last checkpoint exists."""
    if (folder / f"checkpoint_step{steps:09d}.pth").is_file():
        return
    run_module(*trainer_command(f"train.{trainer}", data, folder, steps, seed, "diagnose_after=0", *overrides))


def run_module(module: str, *arguments: str) -> None:
    """Run a module in a process of its own; its output is printed only if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if result.returncode:
        raise SystemExit(result.stderr)


def check_scores(scores: Scores, seed: int, names: Iterable[str] = CRITERIA) -> list[str]:
    """Return a message for each threshold that a seed misses; a missing or NaN score misses it."""
    messages = []
    for name in names:
        criterion, score = CRITERIA[name], scores.get(name, math.nan)
        if criterion.threshold is None:
            continue
        if not badness(criterion.better, score) <= badness(criterion.better, criterion.threshold):
            messages.append(f"{name}={score:.3f} (seed {seed}): misses the threshold of {criterion.threshold:g}")
    return messages


def compare_means(result: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """Return a message for each mean that is worse than the record's by more than its tolerance."""
    messages = []
    for name, criterion in CRITERIA.items():
        if name not in result["mean"] or name not in record["mean"]:  # not in records of earlier versions
            continue
        now, before = result["mean"][name], record["mean"][name]
        if not badness(criterion.better, now) - badness(criterion.better, before) <= criterion.tolerance:
            messages.append(
                f"{name}={now:.3f}: worse than {before:.3f} of {record['date']} ({record['commit']}) by more than "
                f"{criterion.tolerance:g}"
            )
    return messages


def read_record(path: Path, size: str) -> dict[str, Any]:
    """Read the record of a size. Raises: InputError if there is none."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--against={path}: cannot be read ({error.strerror}); check the path") from error
    if size not in records:
        raise InputError(f"--size={size}: has no record in {path}; choose one of {', '.join(records)}")
    return records[size]


def summarize(size: str, seeds: list[int], scores: list[Scores]) -> dict[str, Any]:
    """Build the record of a run."""
    names = [
        name
        for name in (*CRITERIA, *EXTRA_SCORES, *TALK_SCORES, *TRUE_TALK_SCORES)
        if all(name in one for one in scores)
    ]
    spread = {name: stdev(one[name] for one in scores) if len(scores) > 1 else 0.0 for name in names}
    return {
        "size": size,
        "date": date.today().isoformat(),
        "commit": describe_commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU only'}, torch {torch.__version__}",
        "seeds": seeds,
        "mean": {name: round_digits(mean(one[name] for one in scores)) for name in names},
        "spread": {name: round_digits(value) for name, value in spread.items()},
        "each": [{name: round_digits(value) for name, value in one.items()} for one in scores],
    }


def round_digits(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def describe_commit() -> str:
    """Return the short hash of the commit, with a + if tracked files other than the records differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    records = [f":!{path.relative_to(ROOT)}" for path in (RESULTS, RECORD)]
    is_changed = git("status", "--porcelain", "-uno", "--", ".", *records)
    return git("rev-parse", "--short", "HEAD") + ("+" if is_changed else "")


def format_row(result: dict[str, Any]) -> str:
    """Format a row of the table in RESULTS.md: mean ± standard deviation over the seeds."""
    means, spread = result["mean"], result["spread"]
    cells = [f"{means[name]:.3g} ± {spread[name]:.2g}" if name in means else "-" for name in CRITERIA]
    return (
        "| " + " | ".join([result["date"], result["commit"], result["size"], str(len(result["seeds"])), *cells]) + " |"
    )


def write_record(result: dict[str, Any]) -> None:
    """Replace the record of this size and append a row to the table in RESULTS.md."""
    records = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    RECORD.write_text(json.dumps({**records, result["size"]: result}, indent=1) + "\n", encoding="utf-8")
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(SECTION))
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("## ")), len(lines))
    last_row = max(n for n in range(start, end) if lines[n].startswith("|"))
    lines.insert(last_row + 1, format_row(result))
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
