"""The whole chain on sample data that it makes itself, with no download: python -m wav2lip.demo

Every stage is started as a user would start it; the page at the end shows what came out.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models import SyncNet
from wav2lip import demo_page
from wav2lip.checkpoints import load_network
from wav2lip.clips import Clip, read_filelist, read_info
from wav2lip.errors import run
from wav2lip.media import VideoWriter, read_frames
from wav2lip.metrics import agreement_by_shift, sync_loss_of
from wav2lip.sample import Speaker, write_sample, write_speech

log = logging.getLogger(__name__)

SHIFTS = range(-15, 16)  # frames
# Thin networks and a high rate that falls: what learns in minutes on two cores. Real training uses the defaults.
THIN = ["model.width=0.25", "learning_rate=1e-3", "lr_schedule=cosine", "num_workers=0", "log_interval=10"]
ENOUGH_ACCURACY = 0.7  # held out, balanced; chance is 0.5


@dataclass(frozen=True)
class Size:
    """How much is made and trained."""

    clips: int
    seconds: float  # of each clip
    expert_steps: int
    generator_steps: int
    speech_seconds: float  # of the unseen sound


FULL = Size(clips=20, seconds=7, expert_steps=360, generator_steps=440, speech_seconds=8)


@dataclass(frozen=True)
class Scores:
    """What was learned, on a speaker and sounds that training never saw."""

    accuracy: float  # of the expert, balanced
    auc: float  # of the expert
    val_sync: float  # sync loss of generated held-out windows
    val_sync_of_input: float  # of the same windows untouched
    result_sync: float  # sync loss of the finished video
    untouched_sync: float  # of the same video with the new sound and its old lips

    def failures(self) -> list[str]:
        """What was not learned, in sentences."""
        sentences = []
        if self.accuracy < ENOUGH_ACCURACY:
            sentences.append(f"the expert's held-out accuracy is {self.accuracy:.2f}, near chance (0.5)")
        if self.val_sync >= self.val_sync_of_input:
            sentences.append(f"generated lips fit held-out sound no better ({self.val_sync:.2f}) than untouched ones")
        if self.result_sync == float("inf"):
            sentences.append("no face can be found in the result")
        elif self.result_sync >= self.untouched_sync:
            sentences.append(f"the result's lips fit its sound no better ({self.result_sync:.2f}) than before")
        return sentences


def build_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(prog="python -m wav2lip.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything it makes")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other speakers and trains otherwise")
    return parser


def main() -> None:
    """Entry point."""
    args = build_parser().parse_args()
    run(lambda: demo(args.out, args.seed))


def demo(out: Path, seed: int = 0, size: Size = FULL) -> int:
    """Make data, train, lip-sync, judge; returns the exit code, 1 if nothing was learned."""
    began = time.monotonic()
    data, expert, generator = out / "data", out / "expert", out / "generator"
    log.info("1/5 making %d clips of talking heads", size.clips)
    make_clips(out / "videos", size, seed)
    log.info("2/5 preprocessing them")
    stage("preprocess", f"videos={quoted(out / 'videos')}", f"out={quoted(data)}", "detector=haar", "test=0")
    log.info("3/5 training the SyncNet expert")
    expert_file = train("train.syncnet", data, expert, size.expert_steps, seed, "batch_size=32", "eval_windows=256")
    log.info("4/5 training the generator")
    generator_file = train(
        "train.wav2lip", data, generator, size.generator_steps, seed, "batch_size=8", "eval_windows=64",
        "syncnet_wt=0.03", f"syncnet_checkpoint_path={quoted(expert_file)}",
    )  # fmt: skip
    log.info("5/5 lip-syncing a speaker it never saw with words nobody said")
    face, speech = unseen(out, data, size, seed)
    result, untouched = out / "result.mp4", out / "untouched.mp4"
    stage("wav2lip.infer", "--checkpoint_path", generator_file, "--face", face, "--audio", speech,
          "--outfile", result, "--detector", "haar")  # fmt: skip
    dub(face, speech, untouched, size.speech_seconds)
    curves = {name: sync_curve(out, video, expert_file) for name, video in
              (("generated", result), ("untouched", untouched))}  # fmt: skip
    scores = judge(expert, generator, curves)
    page = demo_page.write(out, scores=asdict(scores), shifts=list(SHIFTS), curves=curves, logs=[expert, generator])
    for name, value in asdict(scores).items():
        log.info("%-18s %.3f", name, value)
    log.info("%.0f s in all; open %s", time.monotonic() - began, page.resolve())
    for sentence in scores.failures():
        log.error("did not learn: %s", sentence)
    return 1 if scores.failures() else 0


def make_clips(folder: Path, size: Size, seed: int) -> None:
    """The sample videos, with a progress bar."""
    with tqdm(total=size.clips, unit="clip") as bar:
        write_sample(folder, size.clips, size.seconds, seed, progress=lambda done, _: bar.update(done - bar.n))


def stage(module: str, *arguments: str | Path) -> None:
    """Run a part of the toolkit as a process of its own; leave with its exit code if it fails."""
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def quoted(path: Path) -> str:
    """A path as Hydra's override grammar takes any path."""
    return "'" + str(path).replace("\\", "/").replace("'", "\\'") + "'"


def train(module: str, data: Path, folder: Path, steps: int, seed: int, *more: str) -> Path:
    """Run a trainer; returns its last checkpoint."""
    stage(module, f"data_root={quoted(data)}", f"checkpoint_dir={quoted(folder)}", f"max_steps={steps}",
          f"eval_interval={steps // 4}", f"checkpoint_interval={steps}", f"seed={seed}", *THIN, *more)  # fmt: skip
    return folder / f"checkpoint_step{steps:09d}.pth"


def unseen(out: Path, data: Path, size: Size, seed: int) -> tuple[Path, Path]:
    """A video of a held-out speaker, and new speech of a voice that is in no clip."""
    held_out = read_filelist(data / "filelists" / "val.txt", data)[0]
    speech = out / "unseen_speech.wav"
    write_speech(speech, size.speech_seconds, Speaker.from_seed(seed + 1000), seed + 1000)
    info = read_info(data / held_out)
    assert info is not None  # every clip of preprocessing has one
    return out / "videos" / info["source"], speech


def dub(face: Path, speech: Path, outfile: Path, seconds: float) -> None:
    """The video as it is with the new sound, for comparison."""
    with VideoWriter(outfile, 25, speech) as video:
        for number, frame in enumerate(read_frames(face, 25)):
            if number >= seconds * 25:
                break
            video.write(frame)


def sync_curve(out: Path, video: Path, expert_file: Path) -> np.ndarray:
    """Agreement of a finished video's lips with its sound, (windows, shifts); through preprocessing, like any video.

    No rows if no face can be found in it, as in what an untrained generator paints.
    """
    root = out / "judged" / video.stem
    subprocess.run(
        [sys.executable, "-m", "preprocess", f"videos={quoted(video)}", f"out={quoted(root)}", "detector=haar",
         "workers=0", "longest=null", "stages=[probe,shots,faces,segments,crops]", "overwrite=true"], check=False,
    )  # fmt: skip
    clips = [path.parent for path in root.glob("*/*/audio.wav")]
    if not clips:
        return np.zeros((0, len(SHIFTS)), np.float32)
    return agreement_by_shift(load_network(expert_file, SyncNet).eval(), Clip.open(clips[0]), SHIFTS)


def judge(expert: Path, generator: Path, curves: dict[str, np.ndarray]) -> Scores:
    """The scores, from the trainers' logs and the finished videos."""
    heard, painted = demo_page.last_scores(expert), demo_page.last_scores(generator)
    now = list(SHIFTS).index(0)
    return Scores(
        accuracy=heard["accuracy"],
        auc=heard["auc"],
        val_sync=painted["sync"],
        val_sync_of_input=painted["sync_of_input"],
        result_sync=_loss(curves["generated"][:, now]),
        untouched_sync=_loss(curves["untouched"][:, now]),
    )


def _loss(agreement: np.ndarray) -> float:
    return sync_loss_of(agreement) if len(agreement) else float("inf")


if __name__ == "__main__":
    main()
