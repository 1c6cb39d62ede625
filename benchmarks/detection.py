"""Sparse detection beside detection in every full-size frame: how far the boxes differ, and what each costs.

    python -m benchmarks.detection [VIDEO ...] [--detector haar] [--inference] [--stride 2] [--window 13]
        [--seconds 20] [--keep DIR] [--s3fd]

Without videos, clips of the sample data set are made. The reference is the same detector on every frame at full size,
one face followed, gaps filled and smoothed as the tracks are; --keep stores it, for it takes long for large video.
--inference follows the face as inference does, cuts included, instead of as preprocessing does.
--s3fd adds what S3FD costs, with random weights: the pictures it is given are those that Haar is given, the boxes are
Haar's, and the cost of every full-size frame is that of three frames times their number. With --inference it computes
in 16 bits where inference does. One thread, or --threads.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from face_detection.haar import Haar
from face_detection.interface import Detector, Face
from face_detection.mtcnn import MTCNN
from face_detection.mtcnn_weights import installed_weights
from face_detection.s3fd import S3FD
from face_detection.s3fd_network import S3FDNetwork
from face_detection.sparse import track_faces
from face_detection.tracks import Tracks, fill_gaps, follow, overlap, smooth
from wav2lip.cuts import mark_cuts
from wav2lip.devices import inference_dtype
from wav2lip.lipsync.tracking import Following
from wav2lip.media import read_frames
from wav2lip.sample import write_sample

FPS = 25  # to which videos are resampled
FULL_SIZE = 1_000_000  # pixels: larger than any frame
LONGEST_GAP = 5  # frames
WINDOWS = {"haar": 13, "mtcnn": 5}  # frames over which boxes are averaged, as preprocessing does
TIMED = 3  # full-size frames of which S3FD's time is taken


class Timed:
    """A detector with a clock."""

    def __init__(self, detector: Detector):
        self.detector, self.name, self.seconds = detector, detector.name, 0.0

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        began = time.perf_counter()
        found = self.detector.detect(frames)
        self.seconds += time.perf_counter() - began
        return found


class CostOf:
    """Runs one detector for its cost and gives the faces of another."""

    def __init__(self, costly: Timed, faces: Detector):
        self.costly, self.faces, self.name = costly, faces, costly.name

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        self.costly.detect(frames)
        return self.faces.detect(frames)


def random_weights() -> dict[str, torch.Tensor]:
    """Of an S3FD that finds nothing, at the cost of one that could."""
    torch.manual_seed(0)
    state = S3FDNetwork().state_dict()
    heads = [key for key in state if key.endswith("_mbox_conf.bias")]
    assert heads, "the heads are told by their names"
    for key in heads:
        state[key][:] = torch.linspace(20, -20, len(state[key]))  # background first
    return state


def detector_of(name: str, max_side: int | None = None) -> Detector:
    """A detector at its usual working size, or another."""
    side = {} if max_side is None else {"max_side": max_side}
    return Haar(**side) if name == "haar" else MTCNN(installed_weights(), **side)


def frames_of(video: Path, seconds: float | None) -> Iterator[np.ndarray]:
    """Frames of a video, or of its beginning."""
    return islice(read_frames(video, FPS), None if seconds is None else round(seconds * FPS))


def every_frame(video: Path, seconds: float | None, name: str, keep: Path | None) -> tuple[list[list[Face]], float]:
    """Faces of each full-size frame, and the seconds it took to find them."""
    part = "" if seconds is None else f".{seconds:g}s"
    stored = keep / f"{video.stem}{part}.{name}.npz" if keep else None
    if stored and stored.is_file():
        arrays = np.load(stored)
        kept: list[list[Face]] = [[] for _ in range(int(arrays["frames"]))]
        for frame, *box, score in arrays["rows"].tolist():
            kept[int(frame)].append(Face(tuple(box), score))
        return kept, float(arrays["seconds"])
    detector = Timed(detector_of(name, FULL_SIZE))
    found = [detector.detect([frame])[0] for frame in frames_of(video, seconds)]
    if stored:
        rows = np.array([(n, *face.box, face.score) for n, faces in enumerate(found) for face in faces])
        np.savez(stored, rows=rows.reshape(-1, 6), frames=len(found), seconds=detector.seconds)
    return found, detector.seconds


def one_box_a_frame(tracks: Tracks) -> np.ndarray:
    """The longest track of each frame, (N, 4)."""
    boxes = np.full((tracks.frames, 4), np.nan, np.float32)
    for track in sorted(tracks.tracks, key=lambda track: len(track.boxes)):
        boxes[track.start : track.stop] = track.boxes
    return boxes


def row(video: Path, name: str, tracks: Tracks, agreement: str, plain: float, ours: float) -> str:
    ratio = tracks.frames * tracks.height * tracks.width / max(1, tracks.detector_pixels)
    return f"| {video.stem} | {name} | {tracks.frames} | {agreement} | {ratio:.1f} | {plain:.1f} | {ours:.1f} |"


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """How faces are followed, as `track_faces` takes it."""
    usual = {"stride": 2, "smooth_window": WINDOWS[args.detector], "longest_gap": LONGEST_GAP}
    if args.inference:
        usual = vars(Following.at(Fraction(FPS), args.detector))
    given = {"stride": args.stride, "smooth_window": args.window}
    return usual | {option: value for option, value in given.items() if value is not None}


def measure(video: Path, args: argparse.Namespace) -> Iterator[str]:
    """The rows of one video."""
    found, plain = every_frame(video, args.seconds, args.detector, args.keep)
    options = settings(args)
    reference = smooth(fill_gaps(follow(found), LONGEST_GAP)[0], args.window or WINDOWS[args.detector])
    sparse = Timed(detector_of(args.detector))

    def frames() -> Iterator[np.ndarray]:
        return frames_of(video, args.seconds)

    cuts = {n for n, (_, begins) in enumerate(mark_cuts(frames())) if begins} if args.inference else set()
    tracks = track_faces(frames(), sparse, cuts, **options)
    seen = ~np.isnan(reference[:, 0])
    overlaps = overlap(one_box_a_frame(tracks), reference)[seen]
    agreement = f"{(overlaps >= 0.9).mean():.1%} | {np.median(overlaps):.3f}" if seen.any() else "no face | "
    yield row(video, args.detector, tracks, agreement, plain, sparse.seconds)
    if args.s3fd:
        alone = Timed(S3FD(random_weights(), max_side=FULL_SIZE))
        for frame in islice(frames(), TIMED):
            alone.detect([frame])
        dtype = inference_dtype(torch.device("cpu")) if args.inference else torch.float32
        s3fd = Timed(S3FD(random_weights(), max_side=FULL_SIZE, dtype=dtype))
        tracks = track_faces(frames(), CostOf(s3fd, detector_of(args.detector)), cuts, **options)
        plain = alone.seconds / min(TIMED, tracks.frames) * tracks.frames
        yield row(video, "S3FD, cost only", tracks, " | ", plain, s3fd.seconds)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="*", help="videos to measure on; none: made on the spot")
    parser.add_argument("--detector", choices=list(WINDOWS), default="haar", help="who finds the boxes")
    parser.add_argument("--stride", type=int, help="frames from one look at a face to the next")
    parser.add_argument("--window", type=int, help="frames over which boxes are averaged, on both sides")
    parser.add_argument("--inference", action="store_true", help="follow as inference does, not preprocessing")
    parser.add_argument("--seconds", type=float, help="of each video, from its beginning")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder in which to keep the reference")
    parser.add_argument("--s3fd", action="store_true", help="also what S3FD costs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    print("| clip | detector | frames | IoU ≥ 0.9 | median IoU | detector-pixels, times fewer | s plain | s ours |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for video in args.videos or write_sample(Path(folder), clips=3, seconds=8):
            for line in measure(video, args):
                print(line, flush=True)


if __name__ == "__main__":
    main()
