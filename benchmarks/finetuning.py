"""Fine-tuning to one person, scored by an expert that the generator was not trained against.

    python -m benchmarks.finetuning --demo DIR --people DATA_ROOT --person DATA_ROOT --out DIR --speech FILE ...

General networks train on the speakers of a finished `wav2lip.demo` and on other people; the person's train.txt
fine-tunes the expert and, by each recipe, the generator. The person's val.txt is then generated with its own audio and
with each recording of --speech. The judge is another expert of another seed, trained on the general data alone, or
with --judge_sees_person fine-tuned to the person too. A measure without an expert stands beside it: the error of the
mouth against the true frames, with the right audio and with shifted audio. Finished runs in DIR are not repeated.
Widths and rates are the demo's: small enough for two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality import run_module, train
from models import Wav2Lip
from wav2lip.audio.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column
from wav2lip.checkpoints import load_network
from wav2lip.dataset.clip import Clip
from wav2lip.dataset.filelist import read_filelist
from wav2lip.demo.commands import path_override
from wav2lip.demo.training import (
    EXPERT_OVERRIDES,
    GENERATOR_OVERRIDES,
    SECOND_SEED,
    SECOND_WIDTH,
    WIDTH,
    expert_overrides,
)
from wav2lip.faces.tensors import generator_input, to_network
from wav2lip.sync.expert import MAX_SHIFT

EXPERT_STEPS, GENERAL_STEPS = 900, 400  # on the general data; the generator starts from the demo's
EXPERT_FINETUNE_STEPS = 200
PEOPLE_FRACTION = 0.4  # share of the samples of the general training that is not synthetic
REPLAY_FRACTION = 0.5  # share of the samples of fine-tuning that is general
RATE = "learning_rate=5e-4"  # of every generator: half of the demo's and ten times the recipe's, for thin networks
EXPERT_RATE = "learning_rate=4e-4"  # of fine-tuned experts, for the same reason
FIVE_FRAMES = (RATE, "batch_size=8", "eval_windows=64", "preview_seconds=0")
MANY_WINDOWS = (RATE, *GENERATOR_OVERRIDES, "preview_seconds=0")
ERROR_SHIFTS = (-15, -12, -9, -6, -4, -2, -1, 0, 1, 2, 4, 6, 9, 12, 15)  # frames by which the audio is early or late
AUGMENTATION = ("flip=0.5", "color_jitter=0.2")
RECIPES = {
    "public": ("recipe=public", "lr_schedule=constant", *FIVE_FRAMES),
    "finetune": ("recipe=finetune", "ema_decay=0.98", *FIVE_FRAMES),
    "windows": ("recipe=finetune", "ema_decay=0.98", *MANY_WINDOWS),
    "windows_no_sync": ("recipe=finetune", "ema_decay=0.98", *MANY_WINDOWS, "syncnet_wt_on=0"),
    "windows_augmented": ("recipe=finetune", "ema_decay=0.98", *MANY_WINDOWS, *AUGMENTATION),
}
BEFORE = "before"
METRICS = (
    "second_agreement",
    "second_confidence",
    "second_offset",
    "expert_agreement",
    "expert_confidence",
    "psnr_mouth",
    "ssim_mouth",
    "sharpness",
    "flicker",
)


def train_general_experts(args: argparse.Namespace, data: Path) -> tuple[Path, Path]:
    """Train the expert and the judge on the demo's speakers and on other people; return their checkpoints."""
    folders = args.out / "general_expert", args.out / "judge"
    for folder, seed, width in zip(folders, (args.seed, args.seed + SECOND_SEED), (WIDTH, SECOND_WIDTH), strict=True):
        train("syncnet", data, folder, EXPERT_STEPS, seed, *EXPERT_OVERRIDES, f"model.width={width}",
              path_override("replay_root", args.people), f"replay_fraction={PEOPLE_FRACTION}")  # fmt: skip
    return folders[0] / "last.pth", folders[1] / "last.pth"


def finetune_expert(args: argparse.Namespace, general: Path, folder: Path, data: Path, seed: int, width: float) -> Path:
    """Fine-tune an expert to the person; return its checkpoint."""
    train("syncnet", args.person, folder, EXPERT_FINETUNE_STEPS, seed, "recipe=finetune", EXPERT_RATE,
          "ema_decay=0.98", *EXPERT_OVERRIDES, f"model.width={width}", *start_from(general), *replay(data))  # fmt: skip
    return folder / "last.pth"


def start_from(checkpoint: Path) -> tuple[str, ...]:
    """Return the overrides that start from the weights of a checkpoint."""
    return path_override("checkpoint_path", checkpoint), "reset_optimizer=true"


def replay(data: Path) -> tuple[str, ...]:
    """Return the overrides that mix general data in."""
    return path_override("replay_root", data), f"replay_fraction={REPLAY_FRACTION}"


def run_benchmark(args: argparse.Namespace) -> None:
    """Train everything, evaluate the generators and print the table."""
    data = args.demo / "data"
    general_expert, judge = train_general_experts(args, data)
    expert = finetune_expert(args, general_expert, args.out / "expert", data, args.seed, WIDTH)
    if args.judge_sees_person:
        seed = args.seed + SECOND_SEED
        judge = finetune_expert(args, judge, args.out / "judge_of_person", data, seed, SECOND_WIDTH)
    general = args.out / "general_generator"
    train("wav2lip", data, general, GENERAL_STEPS, args.seed, *expert_overrides(general_expert, judge), *MANY_WINDOWS,
          *start_from(args.demo / "generator" / "last.pth"), "syncnet_wt_on=0",
          path_override("replay_root", args.people), f"replay_fraction={PEOPLE_FRACTION}")  # fmt: skip
    checkpoints = {BEFORE: general / "last.pth"}
    for name in args.recipes:
        folder = args.out / name
        train("wav2lip", args.person, folder, args.steps, args.seed, *expert_overrides(expert, judge),
              *RECIPES[name], *start_from(general / "last.pth"), *replay(data))  # fmt: skip
        checkpoints[name] = folder / "last.pth"
    evaluate(args, checkpoints, expert, judge)


def evaluate(args: argparse.Namespace, checkpoints: dict[str, Path], expert: Path, judge: Path) -> None:
    """Score the generators on the person's validation clips; print the table."""
    folder = args.out / "evaluation"
    speech = ["--speech", *map(str, args.speech)] if args.speech else []
    run_module("wav2lip.evaluate", "compare", *(f"{name}={path}" for name, path in checkpoints.items()), "--data_root",
               str(args.person), "--out", str(folder), "--expert", str(expert), "--second_expert", str(judge),
               "--detector", "haar", "--audio", *args.audio, *speech)  # fmt: skip
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    print(f"| generator | {' | '.join(METRICS)} |\n{'|---' * (len(METRICS) + 1)}|")
    for system, scores in results["summary"].items():
        cells = (f"{scores[name]['mean']:.2f}" if name in scores else "" for name in METRICS)
        print(f"| {system} | {' | '.join(cells)} |", flush=True)
    print_errors(checkpoints, args.person)


def error_curve(generator: Wav2Lip, clip: Clip) -> np.ndarray:
    """Return the mean absolute error of the mouth against the true frames, with the audio at every shift.

    The reference face is half a clip away, so the mouth can only come from the audio.
    Returns: (len(ERROR_SHIFTS),) in gray levels.
    """
    mel, size = clip.mel(write_cache=False), generator.resolution
    frames = clip.frames[MAX_SHIFT + 1 : -MAX_SHIFT - WINDOW_FRAMES : 2]
    faces = torch.from_numpy(np.stack([clip.read(frame, size) for frame in frames.tolist()]))
    target, reference = to_network(faces), to_network(faces.roll(len(faces) // 2, dims=0))
    inputs, truth = generator_input(target, reference), target[..., size // 2 :, :]
    errors = []
    for shift in ERROR_SHIFTS:
        columns = [first_column(frame - 1 + shift) for frame in frames.tolist()]
        windows = np.stack([mel[None, :, column : column + WINDOW_COLUMNS] for column in columns])
        with torch.inference_mode():
            generated = torch.cat([
                generator(*batch) for batch in zip(torch.from_numpy(windows).split(32), inputs.split(32), strict=True)
            ])  # fmt: skip
        errors.append(255 * float((generated[..., size // 2 :, :] - truth).abs().mean()))
    return np.array(errors)


def print_errors(checkpoints: dict[str, Path], person: Path) -> None:
    """Print the error against the truth of each generator, and by how much wrong audio raises it."""
    clips = [Clip.open(person / name) for name in read_filelist(person / "filelists" / "val.txt", person)]
    print("| generator | error of the mouth, gray levels | more with wrong audio (median shift), % | best shift |")
    print("|---|---|---|---|")
    for name, path in checkpoints.items():
        generator = load_network(path, Wav2Lip).eval()
        curve = np.mean([error_curve(generator, clip) for clip in clips], axis=0)
        error, shift = curve[ERROR_SHIFTS.index(0)], ERROR_SHIFTS[curve.argmin()]
        print(f"| {name} | {error:.2f} | {100 * (np.median(curve) / error - 1):.1f} | {shift:+d} |", flush=True)


def main() -> None:
    """Run the entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True, help="output folder of wav2lip.demo")
    parser.add_argument("--people", type=Path, required=True, help="data set of other people")
    parser.add_argument("--person", type=Path, required=True, help="data set of the person")
    parser.add_argument("--out", type=Path, default=Path("finetuning"), help="folder for the runs")
    parser.add_argument("--steps", type=int, default=300, help="of each fine-tuning (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", nargs="+", choices=tuple(RECIPES), default=list(RECIPES))
    parser.add_argument("--speech", nargs="+", type=Path, default=[], metavar="FILE", help="other audio")
    parser.add_argument("--audio", nargs="+", choices=("true", "shuffled"), default=["true"], help="of the clips")
    parser.add_argument("--judge_sees_person", action="store_true", help="fine-tune the judge to the person too")
    run_benchmark(parser.parse_args())


if __name__ == "__main__":
    main()
