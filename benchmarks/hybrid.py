"""Sync of SadTalker's engine with the mouth of a Wav2Lip generator, by an expert that did not train it.

    python -m wav2lip.demo --out DIR
    python -m benchmarks.hybrid --demo DIR [--checkpoint DIR/generator/last.pth] [--seed 0]

One frame of the demo's unseen speaker is animated with the demo's unseen speech. SadTalker's weights are not part of
the project, so a formula that turns and shifts the head replaces its networks, and a warp of the photo its renderer:
lips move only where the generator draws them. The rest is the engine: crop, motion windows, mouth stage, paste. Boxes
are detected in each result, as in the generator's training data. Scores are the demo's; the second expert decides.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.moving_head import build_moving_head
from face_detection import Detector, Face, build_detector
from wav2lip.audio.windows import FPS
from wav2lip.dataset.clip import Clip
from wav2lip.demo.scores import SECOND, TRAINING, correlate_opening, load_experts, measure_curve
from wav2lip.demo.unseen import UnseenTalk, read_faces, render_unseen_talk, write_clip
from wav2lip.evaluation.faces import find_boxes
from wav2lip.faces.boxes import round_boxes
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.lipsync.mouth_stage import MouthStage
from wav2lip.media import read_frames
from wav2lip.sadtalker import SadTalkerOptions
from wav2lip.sync.expert import Expert

DETECTOR = "haar"  # of the demo's training data
COLUMNS = ("video", "motion of the head, box widths", "agreement, second expert", "confidence", "best shift, frames",
           "agreement, training expert", "correlation of the mouth's opening")  # fmt: skip


class BoxesWithLandmarks:
    """Boxes of the detector of the training data with the landmarks of MTCNN."""

    def __init__(self, boxes: Detector):
        self.boxes, self.points, self.name = boxes, build_detector("mtcnn"), boxes.name

    def detect(self, frames: list[np.ndarray]) -> list[list[Face]]:
        """See `Detector`."""
        return [
            [replace(faces[0], landmarks=points[0].landmarks)] if faces and points else []
            for faces, points in zip(self.boxes.detect(frames), self.points.detect(frames), strict=True)
        ]


def render_videos(out: Path, talk: UnseenTalk, checkpoint: Path, seed: int) -> Iterator[tuple[str, Path]]:
    """Write the videos of the photo and yield their names and files."""
    photo = next(iter(read_frames(talk.face, FPS)))
    lipsync = LipSync.from_checkpoint(checkpoint, "cpu")
    sadtalker = build_moving_head(
        lambda batch_size, compat: BoxesWithLandmarks(build_detector(DETECTOR)),
        lambda path: MouthStage.from_checkpoint(path, "cpu"),
    )
    moving = SadTalkerOptions(preprocess="full", seed=seed)
    yield "moving head", sadtalker(photo, talk.speech, out / "head.mp4", moving).outfile
    hybrid = replace(moving, mouth=checkpoint)
    yield "moving head with mouth", sadtalker(photo, talk.speech, out / "hybrid.mp4", hybrid).outfile
    still = lipsync(photo, talk.speech, out / "still.mp4", LipSyncOptions())
    yield "Wav2Lip on the photo", still.outfile
    yield "truth", talk.truth


def score(video: Path, talk: UnseenTalk, experts: Mapping[str, Expert], out: Path, detector: str) -> list[str]:
    """Return the cells of a video's row."""
    located = find_boxes(video, out / "boxes", lambda: build_detector(detector), detector)
    boxes = round_boxes(located, *next(iter(read_frames(video, FPS))).shape[:2])
    centers = (located[:, :2] + located[:, 2:]) / 2
    motion = np.linalg.norm(np.nanstd(centers, axis=0)) / np.nanmean(located[:, 2] - located[:, 0])
    clip = Clip.open(write_clip(out / "crops", video.stem, video, replace(talk, boxes=boxes)))
    curves = {name: measure_curve(expert, clip) for name, expert in experts.items()}
    second = curves[SECOND]
    opening = correlate_opening(dict(read_faces(video, boxes)), talk)
    return [f"{motion:.3f}", f"{second.agreement:.2f}", f"{second.confidence:.2f}", f"{second.offset:+d}",
            f"{curves[TRAINING].agreement:.2f}", f"{opening:.2f}"]  # fmt: skip


def main() -> None:
    """Render, score and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of python -m wav2lip.demo")
    parser.add_argument("--checkpoint", type=Path, help="generator; default: that of the demo")
    parser.add_argument("--out", type=Path, default=Path("hybrid"), help="folder of the videos")
    parser.add_argument("--seed", type=int, default=0, help="that of the demo")
    args = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = args.checkpoint or args.demo / "generator/last.pth"
    talk = render_unseen_talk(args.out, args.demo / "videos", args.demo / "data", args.seed)
    experts = load_experts(args.demo / "expert/last.pth", args.demo / "second_expert/last.pth", args.demo / "data")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name, video in render_videos(args.out, talk, checkpoint, args.seed):
        print(f"| {' | '.join([name, *score(video, talk, experts, args.out, DETECTOR)])} |", flush=True)


if __name__ == "__main__":
    main()
