"""Stages of the demo: generate videos, preprocess, train two experts and the generator, lip-sync, report."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from wav2lip.demo import report
from wav2lip.demo.commands import path_override, run_command
from wav2lip.demo.scores import DemoScores, load_experts, score_video
from wav2lip.demo.training import EXPERT_STEPS, GENERATOR_STEPS, train_experts, train_generator
from wav2lip.demo.unseen import UnseenTalk, render_unseen_talk
from wav2lip.synthetic import write_videos

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoSize:
    """Amount of data and of training."""

    videos: int  # each of another speaker
    video_seconds: float
    expert_steps: int
    generator_steps: int


FULL_SIZE = DemoSize(videos=32, video_seconds=7, expert_steps=EXPERT_STEPS, generator_steps=GENERATOR_STEPS)


def run_demo(out: Path, seed: int = 0, size: DemoSize = FULL_SIZE) -> int:
    """Run every stage and write out/index.html.

    Returns: the exit code, 1 if a network did not learn.
    """
    start = time.monotonic()
    videos, data = out / "videos", out / "data"
    log.info("1/5 generating %d videos of talking heads", size.videos)
    generate_videos(videos, size, seed)
    log.info("2/5 preprocessing the videos")
    run_command("preprocess", path_override("videos", videos), path_override("out", data), "detector=haar", "test=0")
    log.info("3/5 training the SyncNet expert, and a second one that only scores")
    expert, second = train_experts(out, data, size.expert_steps, seed)
    log.info("4/5 training the generator")
    generator = train_generator(out / "generator", data, (expert, second), size.generator_steps, seed)
    log.info("5/5 lip-syncing an unseen speaker to unseen speech")
    talk = render_unseen_talk(out, videos, data, seed)
    run_command("wav2lip.infer", "--checkpoint_path", generator, "--face", talk.face, "--audio", talk.speech,
                "--outfile", out / "result.mp4")  # fmt: skip
    scores = score_demo(out, data, talk, expert, second)
    page = report.write_report(out, scores)
    log.info("%s", scores.format())
    log.info("finished in %.0f s; open %s", time.monotonic() - start, page.resolve())
    for failure in scores.failures():
        log.error("did not learn: %s", failure)
    return 1 if scores.failures() else 0


def generate_videos(folder: Path, size: DemoSize, seed: int) -> None:
    """Write the synthetic videos, with a progress bar."""
    with tqdm(total=size.videos, unit="video") as bar:
        write_videos(folder, size.videos, size.video_seconds, seed, lambda done, _: bar.update(done - bar.n),
                     videos_per_speaker=1)  # fmt: skip


def score_demo(out: Path, data: Path, talk: UnseenTalk, expert: Path, second: Path) -> DemoScores:
    """Score the result, the rendered truth and the untouched video, and read the validations of the trainers."""
    experts = load_experts(expert, second, data)
    videos = {"generated": out / "result.mp4", "truth": talk.truth, "untouched": talk.untouched}
    scored = {name: score_video(video, talk, experts, out / "scored") for name, video in videos.items()}
    logs = {name: report.last_scores(out / name) for name in ("expert", "second_expert", "generator")}
    return DemoScores(scored, logs)
