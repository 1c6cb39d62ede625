"""Does it still learn? The thin recipe on made-up talkers, with several seeds, against a record of how it did before.

    python -m benchmarks.quality --out DIR --against benchmarks/quality.json
    python -m benchmarks.quality --out DIR --record

Makes speakers with the sample data's synthesiser, trains the expert and then the generator through their entry points,
and reads the scores of a held-out speaker from their last validations. Exits with 1 if a mark is missed or a mean is
worse than the record's by more than its tolerance. --spoil breaks the recipe on purpose, which has to miss a mark.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from wav2lip.clips import ClipWriter
from wav2lip.demo import THIN, quoted
from wav2lip.demo_page import last_scores
from wav2lip.evaluation.metrics import HIGHER, LOWER, ONE, ZERO
from wav2lip.evaluation.metrics.metric import badness
from wav2lip.sample import Speaker, render, speak
from wav2lip.sample.speech import Speech

ROOT = Path(__file__).resolve().parents[1]
RESULTS, SECTION = ROOT / "benchmarks" / "RESULTS.md", "## Does it still learn?"
FACE = (slice(60, 210), slice(50, 200))  # rows and columns of a sample frame that the face takes
RECORD = ROOT / "benchmarks" / "quality.json"
NO_SYNC, SHUFFLED = "no_sync_loss", "shuffled_sound"  # ways to break the recipe


@dataclass(frozen=True)
class Size:
    """How much is made and trained."""

    speakers: int  # two clips each; the last one is held out
    seconds: float  # of a clip
    width: float  # share of the published channels
    expert_steps: int
    generator_steps: int
    expert: tuple[str, ...] = ()  # further settings


SIZES = {
    "full": Size(10, 7, 0.25, 360, 440),
    # Warm-up and averaging as long as by default would outlast so short a training.
    "short": Size(6, 5, 0.125, 160, 60, ("warmup=10", "ema=0.98")),
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
    "expert_confidence": Score(HIGHER, 0.08, mark=0.08),
    "expert_offset": Score(ZERO, 1, mark=2),
    "psnr_mouth": Score(HIGHER, 1.5),
    "ssim_mouth": Score(HIGHER, 0.10),
    "sharpness": Score(ONE, 0.5),
}
MARGINS = ("sync_of_input", "sync_of_truth", "flicker", "flicker_of_truth")  # told for reading, not compared

Scores = dict[str, float]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("quality"), help="folder for talkers and trainings")
    parser.add_argument("--size", choices=SIZES, default="full", help="full: the demo's; short: CI's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings (default: 0 1 2)")
    parser.add_argument("--spoil", choices=(NO_SYNC, SHUFFLED), help="break the recipe, to see that it shows")
    parser.add_argument("--against", type=Path, metavar="FILE", help="record to compare with")
    parser.add_argument("--record", action="store_true", help=f"keep the result in {RECORD.name} and RESULTS.md")
    args = parser.parse_args()
    before = known(args.against, args.size) if args.against else None
    found = [learn(args.out, SIZES[args.size], seed, args.spoil) for seed in args.seeds]
    result = summary(args.size, args.seeds, found)
    print(json.dumps(result, indent=1))
    print(row(result))
    if args.record:
        keep(result)
    wrong = [sentence for seed, scores in zip(args.seeds, found, strict=True) for sentence in missed(scores, seed)]
    wrong += worse(result, before) if before else []
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    raise SystemExit(1 if wrong else 0)


def learn(out: Path, size: Size, seed: int, spoil: str | None = None) -> Scores:
    """Train both networks with a seed; the scores of their last validations."""
    data = talkers(out / (spoil if spoil == SHUFFLED else "talkers"), size, shuffled=spoil == SHUFFLED)
    folder = out / f"{spoil or 'sound'}-{seed}"
    expert, generator = folder / "expert", folder / "generator"
    train("syncnet", data, expert, size, size.expert_steps, seed, "batch_size=32", "eval_windows=256", *size.expert)
    sync = [f"{key}={0 if spoil == NO_SYNC else 0.03}" for key in ("syncnet_wt", "syncnet_wt_on")]
    train("wav2lip", data, generator, size, size.generator_steps, seed, "batch_size=8", "eval_windows=64", *sync,
          "preview_seconds=0", f"syncnet_checkpoint_path={quoted(expert / 'last.pth')}")  # fmt: skip
    of_expert, of_generator = last_scores(expert), last_scores(generator)
    return {name: (of_expert if name in ("accuracy", "auc") else of_generator)[name] for name in (*SCORES, *MARGINS)}


def talkers(root: Path, size: Size, shuffled: bool = False) -> Path:
    """A data set of made-up speakers, always the same; the last one is held out.

    shuffled: each clip that is trained on has the sound of the next speaker's.
    """
    lists = root / "filelists"
    if lists.is_dir():
        return root
    names, trained_on = [], size.speakers - 1
    for who, take in product(range(size.speakers), range(2)):
        names.append(f"speaker_{who:02d}/{take:02d}")
        heard = (who + 1) % trained_on if shuffled and who < trained_on else who
        with ClipWriter(root, names[-1]) as clip:
            for number, frame in enumerate(render(said(who, take, size), Speaker.from_seed(who), 2 * who + take)):
                clip.write_frame(number, np.ascontiguousarray(frame[FACE]))
            clip.write_audio([said(heard, take, size).wav])
    lists.mkdir()
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names[:-2]))
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in names[-2:]))
    return root


def said(who: int, take: int, size: Size) -> Speech:
    """What a speaker says in a take."""
    return speak(size.seconds, Speaker.from_seed(who), 2 * who + take)


def train(trainer: str, data: Path, folder: Path, size: Size, steps: int, seed: int, *more: str) -> None:
    """One training through its entry point; what it says is shown only if it fails."""
    if (folder / f"checkpoint_step{steps:09d}.pth").is_file():
        return
    arguments = [f"data_root={quoted(data)}", f"checkpoint_dir={quoted(folder)}", f"max_steps={steps}",
                 f"eval_interval={steps}", f"checkpoint_interval={steps}", f"seed={seed}", *THIN,
                 f"model.width={size.width}", "judge_after=0", *more]  # fmt: skip
    command = [sys.executable, "-m", f"train.{trainer}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)


def missed(scores: Scores, seed: int) -> list[str]:
    """The marks that a seed does not reach, in sentences."""
    return [
        f"seed {seed}: {name} is {scores[name]:.3f}, and the mark is {score.mark:g}"
        for name, score in SCORES.items()
        if score.mark is not None and not badness(score.better, scores[name]) <= badness(score.better, score.mark)
    ]


def worse(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """The scores whose means are worse than a record's by more than their tolerances, in sentences."""
    return [
        f"{name} is {now['mean'][name]:.3f} and was {before['mean'][name]:.3f} on {before['date']} "
        f"({before['commit']}): worse by more than {score.tolerance:g}"
        for name, score in SCORES.items()
        if not badness(score.better, now["mean"][name]) - badness(score.better, before["mean"][name]) <= score.tolerance
    ]


def known(path: Path, size: str) -> dict[str, Any]:
    """The record of a size in a file."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(f"{path}: cannot be read ({error.strerror}); check --against") from error
    if size not in records:
        raise SystemExit(f"{path}: has no record of --size {size}; it has {', '.join(records)}")
    return records[size]


def summary(size: str, seeds: list[int], found: list[Scores]) -> dict[str, Any]:
    """The record of a run."""
    spread = {name: stdev(scores[name] for scores in found) if len(found) > 1 else 0.0 for name in found[0]}
    return {
        "size": size,
        "date": date.today().isoformat(),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU only'}, torch {torch.__version__}",
        "seeds": seeds,
        "mean": {name: short(mean(scores[name] for scores in found)) for name in found[0]},
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
    cells = [f"{result['mean'][name]:.3g} ± {result['spread'][name]:.2g}" for name in SCORES]
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
