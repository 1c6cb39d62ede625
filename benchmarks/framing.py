"""Generators at other pads than those of their training data, on the unseen talk of a finished demo.

    python -m benchmarks.framing plain=FILE jittered=FILE --demo DIR --seed SEED_OF_THE_DEMO --out DIR

Compares, for example, generators trained with and without `box_jitter`, flips or other colors. Scores are those of the
demo: against the rendered truth and by the second expert.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.quality import lip_sync_talk, talk_values
from wav2lip.demo.scores import load_experts, score_video
from wav2lip.demo.unseen import render_unseen_talk

BOTTOM_PADS = (0, 5, 10)  # pixels
COLUMNS = ("generator", "pads", "agreement", "confidence", "mouth PSNR, dB", "SSIM", "sharpness", "opening")


def run_benchmark(generators: dict[str, Path], demo: Path, seed: int, out: Path, pads: list[int]) -> None:
    """Lip-sync and score the talk with each generator at each of the pads; print the table."""
    talk = render_unseen_talk(out / "talk", demo / "videos", demo / "data", seed)
    scorers = load_experts(demo / "expert" / "last.pth", demo / "second_expert" / "last.pth", demo / "data")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for name, checkpoint in generators.items():
        for bottom in pads:
            pads_flag = "--pads", "0", str(bottom), "0", "0"
            result = lip_sync_talk(checkpoint, talk, out / f"{name}-{bottom}.mp4", *pads_flag)
            values = talk_values(score_video(result, talk, scorers, out))
            print(f"| {name} | 0 {bottom} 0 0 | {' | '.join(f'{value:.2f}' for value in values)} |", flush=True)


def parse_generator(text: str) -> tuple[str, Path]:
    """Parse NAME=FILE."""
    name, equals, path = text.partition("=")
    if not (name and equals and Path(path).is_file()):
        raise argparse.ArgumentTypeError(f"{text}: must be NAME=FILE, with the checkpoint of a generator")
    return name, Path(path)


def main() -> None:
    """Run the entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", nargs="+", type=parse_generator, metavar="NAME=FILE")
    parser.add_argument("--demo", type=Path, required=True, help="output folder of wav2lip.demo")
    parser.add_argument("--seed", type=int, default=0, help="of the demo")
    parser.add_argument("--out", type=Path, default=Path("framing"), help="folder for the videos")
    parser.add_argument("--pads", type=int, nargs="+", default=list(BOTTOM_PADS), help="at the bottom, in pixels")
    args = parser.parse_args()
    run_benchmark(dict(args.generators), args.demo, args.seed, args.out, args.pads)


if __name__ == "__main__":
    main()
