"""Options of the visual-quality discriminator, from the generator of a finished demo.

    python -m benchmarks.discriminator --demo DIR --seed SEED_OF_THE_DEMO --out DIR [--variants bce hinge ...]

Each variant trains the demo's generator further with `train.wav2lip_gan`, after 100 steps of the discriminator alone,
and `control` with `train.wav2lip`, for equal steps of the generator. The demo's unseen talk is then scored against the
rendered truth and by the second expert, which trained nothing. Finished runs in DIR are not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from benchmarks.finetuning import start_from
from benchmarks.quality import lip_sync_talk, talk_values, train
from wav2lip.demo.report import last_scores
from wav2lip.demo.scores import load_experts, score_video
from wav2lip.demo.training import expert_overrides
from wav2lip.demo.unseen import render_unseen_talk

CONTROL = "control"
COMMON = ("batch_size=8", "learning_rate=2e-4", "lr_schedule=constant", "warmup_steps=20", "ema_decay=0.98",
          "eval_windows=64", "preview_seconds=0", "syncnet_wt=0.01", "syncnet_wt_on=0.01")  # fmt: skip
WARMUP_STEPS = 100
WARMUP = (f"disc_warmup_steps={WARMUP_STEPS}", "disc_learning_rate=2e-4")
PLAIN = (*WARMUP, "r1_wt=0")
VARIANTS: dict[str, tuple[str, ...]] = {
    CONTROL: (),
    "default": WARMUP,
    "bce": PLAIN,
    "bce_pytorch": (*PLAIN, "disc_init=pytorch"),
    "bce_0.2": (*PLAIN, "disc_wt=0.2"),
    "bce_r1": (*WARMUP, "r1_wt=1"),
    "hinge": (*PLAIN, "disc_loss=hinge"),
    "hinge_spectral_norm": (*PLAIN, "disc_loss=hinge", "disc_spectral_norm=true"),
    "bce_feature_matching": (*PLAIN, "feature_matching_wt=0.1"),
    "hinge_feature_matching": (*PLAIN, "disc_loss=hinge", "feature_matching_wt=0.1"),
}
COLUMNS = ("generator", "agreement", "confidence", "mouth PSNR, dB", "SSIM", "sharpness", "opening",
           "validation: mouth PSNR, dB", "sharpness")  # fmt: skip


def run_benchmark(demo: Path, seed: int, out: Path, steps: int, variants: Iterable[str]) -> None:
    """Train the variants, score them and the demo's generator, and print the table."""
    experts = demo / "expert" / "last.pth", demo / "second_expert" / "last.pth"
    talk = render_unseen_talk(out / "talk", demo / "videos", demo / "data", seed)
    scorers = load_experts(*experts, demo / "data")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    folders = {"before": demo / "generator"}
    for name in variants:
        folder = folders[name] = out / name
        trainer, total = ("wav2lip", steps) if name == CONTROL else ("wav2lip_gan", WARMUP_STEPS + steps)
        train(trainer, demo / "data", folder, total, seed, *expert_overrides(*experts), *COMMON, *VARIANTS[name],
              *start_from(demo / "generator" / "last.pth"))  # fmt: skip
    for name, folder in folders.items():
        result, validation = lip_sync_talk(folder / "last.pth", talk, out / f"{name}.mp4"), last_scores(folder)
        scores = score_video(result, talk, scorers, out)
        values = *talk_values(scores), validation["psnr_mouth"], validation["sharpness"]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |", flush=True)


def main() -> None:
    """Run the entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True, help="output folder of wav2lip.demo")
    parser.add_argument("--seed", type=int, default=0, help="of the demo")
    parser.add_argument("--out", type=Path, default=Path("discriminator"), help="folder for the runs")
    parser.add_argument("--steps", type=int, default=300, help="of the generator (default: 300)")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    args = parser.parse_args()
    run_benchmark(args.demo, args.seed, args.out, args.steps, args.variants)


if __name__ == "__main__":
    main()
