"""Agreement and cost of adaptive detection compared with full-size detection in every frame.

    python -m benchmarks.detection [VIDEO ...] [--detector haar] [--inference] [--stride 2] [--window 13]
        [--seconds 20] [--reference DIR] [--s3fd]

Without videos, synthetic ones are rendered. The reference is the same detector on every full-size frame, tracking a
single face, with gaps filled and boxes smoothed; --reference caches it, as it is slow for large videos. --inference
tracks as inference does, with shot boundaries, instead of as preprocessing does. --s3fd adds the cost of S3FD with
random weights, which finds no faces: it runs on the images that Haar gets, while Haar's boxes are used, and the cost of
detection in every frame is extrapolated from three. With --inference it computes in 16 bits where inference does.
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

from face_detection.detectors.haar import Haar
from face_detection.detectors.mtcnn import MTCNN
from face_detection.detectors.mtcnn_weights import find_installed_weights
from face_detection.detectors.s3fd import S3FD
from face_detection.detectors.s3fd_network import S3FDNetwork
from face_detection.interface import Detector, Face
from face_detection.tracking.offline_tracker import track_faces
from face_detection.tracking.tracks import Tracks, fill_gaps, iou, smooth_boxes, track_single_face
from wav2lip.audio.windows import FPS
from wav2lip.devices import inference_dtype
from wav2lip.engine.face_tracking import TrackingParams
from wav2lip.media import read_frames
from wav2lip.media.shot_boundaries import detect_shot_boundaries
from wav2lip.synthetic import write_videos

FULL_SIZE = 1_000_000  # pixels; larger than any frame, so that none is downscaled
MAX_GAP_FRAMES = 5
SMOOTH_WINDOW_FRAMES = {"haar": 13, "mtcnn": 5}  # as in preprocessing
TIMED_FRAMES = 3  # full-size frames on which S3FD is timed


class TimedDetector:
    """Detector that measures its time."""

    def __init__(self, detector: Detector):
        self.detector, self.name, self.seconds = detector, detector.name, 0.0

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        start = time.perf_counter()
        faces = self.detector.detect(frames)
        self.seconds += time.perf_counter() - start
        return faces


class CostProxy:
    """Runs one detector for its cost and returns the faces of another."""

    def __init__(self, costly: TimedDetector, detector: Detector):
        self.costly, self.detector, self.name = costly, detector, costly.name

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        self.costly.detect(frames)
        return self.detector.detect(frames)


def random_s3fd_weights() -> dict[str, torch.Tensor]:
    """Return weights with which S3FD finds no face at the usual cost."""
    torch.manual_seed(0)
    state = S3FDNetwork().state_dict()
    biases = [key for key in state if key.endswith("_mbox_conf.bias")]
    assert biases, "the layers of the heads have other names"
    for key in biases:
        state[key][:] = torch.linspace(20, -20, len(state[key]))  # background is the first class
    return state


def build_benchmark_detector(name: str, max_side: int | None = None) -> Detector:
    """Build a detector at its default working size or another."""
    side = {} if max_side is None else {"max_side": max_side}
    return Haar(**side) if name == "haar" else MTCNN(find_installed_weights(), **side)


def read_start(video: Path, seconds: float | None) -> Iterator[np.ndarray]:
    """Read the frames of a video or of its first seconds."""
    return islice(read_frames(video, FPS), None if seconds is None else round(seconds * FPS))


def detect_every_frame(
    video: Path, seconds: float | None, name: str, cache: Path | None
) -> tuple[list[list[Face]], float]:  # fmt: skip
    """Return the faces of each full-size frame and the seconds of detection, from the cache if it has them."""
    suffix = "" if seconds is None else f".{seconds:g}s"
    file = cache / f"{video.stem}{suffix}.{name}.npz" if cache else None
    if file and file.is_file():
        arrays = np.load(file)
        cached: list[list[Face]] = [[] for _ in range(int(arrays["frames"]))]
        for frame, *box, score in arrays["rows"].tolist():
            cached[int(frame)].append(Face(tuple(box), score))
        return cached, float(arrays["seconds"])
    detector = TimedDetector(build_benchmark_detector(name, FULL_SIZE))
    detections = [detector.detect([frame])[0] for frame in read_start(video, seconds)]
    if file:
        rows = np.array([(n, *face.box, face.score) for n, faces in enumerate(detections) for face in faces])
        np.savez(file, rows=rows.reshape(-1, 6), frames=len(detections), seconds=detector.seconds)
    return detections, detector.seconds


def longest_track_boxes(tracks: Tracks) -> np.ndarray:
    """Return the box of each frame's longest track, (N, 4), NaN without one."""
    boxes = np.full((tracks.frames, 4), np.nan, np.float32)
    for track in sorted(tracks.tracks, key=lambda track: len(track.boxes)):
        boxes[track.start : track.stop] = track.boxes
    return boxes


def format_row(
    video: Path, detector: str, tracks: Tracks, agreement: str, full_s: float, adaptive_s: float
) -> str:  # fmt: skip
    ratio = tracks.frames * tracks.height * tracks.width / max(1, tracks.detector_pixels)
    return (
        f"| {video.stem} | {detector} | {tracks.frames} | {agreement} | {ratio:.1f} | {full_s:.1f} | {adaptive_s:.1f} |"
    )


def tracking_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `track_faces`."""
    defaults = {
        "stride": 2, "smooth_window_frames": SMOOTH_WINDOW_FRAMES[args.detector], "max_gap_frames": MAX_GAP_FRAMES,
    }  # fmt: skip
    if args.inference:
        defaults = vars(TrackingParams.for_video(Fraction(FPS), args.detector))
    flags = {"stride": args.stride, "smooth_window_frames": args.window}
    return defaults | {name: value for name, value in flags.items() if value is not None}


def measure(video: Path, args: argparse.Namespace) -> Iterator[str]:
    """Yield the table rows of a video."""
    detections, full_s = detect_every_frame(video, args.seconds, args.detector, args.reference)
    tracking = tracking_arguments(args)
    window = args.window or SMOOTH_WINDOW_FRAMES[args.detector]
    reference = smooth_boxes(fill_gaps(track_single_face(detections), MAX_GAP_FRAMES)[0], window)
    detector = TimedDetector(build_benchmark_detector(args.detector))

    def frames() -> Iterator[np.ndarray]:
        return read_start(video, args.seconds)

    cuts = {n for n, (_, is_cut) in enumerate(detect_shot_boundaries(frames())) if is_cut} if args.inference else set()
    tracks = track_faces(frames(), detector, cuts, **tracking)
    has_face = ~np.isnan(reference[:, 0])
    overlaps = iou(longest_track_boxes(tracks), reference)[has_face]
    agreement = f"{(overlaps >= 0.9).mean():.1%} | {np.median(overlaps):.3f}" if has_face.any() else "no face | "
    yield format_row(video, args.detector, tracks, agreement, full_s, detector.seconds)
    if args.s3fd:
        full_size = TimedDetector(S3FD(random_s3fd_weights(), max_side=FULL_SIZE))
        for frame in islice(frames(), TIMED_FRAMES):
            full_size.detect([frame])
        dtype = inference_dtype(torch.device("cpu")) if args.inference else torch.float32
        s3fd = TimedDetector(S3FD(random_s3fd_weights(), max_side=FULL_SIZE, dtype=dtype))
        tracks = track_faces(frames(), CostProxy(s3fd, build_benchmark_detector(args.detector)), cuts, **tracking)
        full_s = full_size.seconds / min(TIMED_FRAMES, tracks.frames) * tracks.frames
        yield format_row(video, "S3FD, cost only", tracks, " | ", full_s, s3fd.seconds)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="*", help="videos; default: synthetic ones")
    parser.add_argument("--detector", choices=list(SMOOTH_WINDOW_FRAMES), default="haar")
    parser.add_argument("--stride", type=int, help="frames between two detections of a face")
    parser.add_argument("--window", type=int, help="frames over which boxes are averaged, for reference and tracker")
    parser.add_argument("--inference", action="store_true", help="track as inference does, not preprocessing")
    parser.add_argument("--seconds", type=float, help="use only the first seconds of each video")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reference", type=Path, help="folder in which the reference is cached")
    parser.add_argument("--s3fd", action="store_true", help="measure the cost of S3FD too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    print("| clip | detector | frames | IoU ≥ 0.9 | median IoU | pixel ratio | full-size, s | adaptive, s |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for video in args.videos or write_videos(Path(folder), count=3, seconds=8):
            for row in measure(video, args):
                print(row, flush=True)


if __name__ == "__main__":
    main()
