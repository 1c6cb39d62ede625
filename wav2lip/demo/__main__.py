"""Run the whole toolkit on synthetic talking heads, with no download: python -m wav2lip.demo

Generate videos, preprocess them, train a SyncNet expert and a generator, lip-sync an unseen speaker, and write a page
with the result. Each stage runs the same command that a user would run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wav2lip.cli import run
from wav2lip.demo.pipeline import run_demo


def build_parser() -> argparse.ArgumentParser:
    """Build the command line parser."""
    parser = argparse.ArgumentParser(prog="python -m wav2lip.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="output folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of the synthetic speakers and of training")
    return parser


def main() -> None:
    """Parse the arguments and run the demo."""
    args = build_parser().parse_args()
    run(lambda: run_demo(args.out, args.seed))


if __name__ == "__main__":
    main()
