"""Crop and alignment of SadTalker's photo from the detector's five points, against 68 landmarks of another network.

    python -m benchmarks.five_points --predictor shape_predictor_68_face_landmarks.dat PHOTO_OR_VIDEO ...

Needs the package dlib or dlib-bin; its predictor stands in for FAN-98, whose weights are not part of the project. The
predictor's own errors are part of the differences. Every face of a photo and of the first frame of a video counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import dlib  # type: ignore[import-not-found]
import numpy as np

from face_detection import build_detector
from wav2lip.engine.frame_source import FileSource
from wav2lip.engine.options import FaceSelectionOptions
from wav2lip.errors import InputError
from wav2lip.sadtalker.source.alignment import fit_head
from wav2lip.sadtalker.source.cropping import choose_region, locate_face_square
from wav2lip.sadtalker.source.landmarks import five_points
from wav2lip.sadtalker.source.portrait import PortraitFinder

SIDE = 256  # pixels of the renderer
MAX_FACES = 20
COLUMNS = ("center of the crop, share of its side", "side of the crop", "scale of the head",
           "position of the head, pixels of 224")  # fmt: skip


def compare(photo: np.ndarray, points: np.ndarray, reference: np.ndarray) -> list[float]:
    """Return the differences of two sets of landmarks of a face, see COLUMNS.

    photo: (H, W, 3) uint8 RGB. points, reference: (5, 2) or (68, 2). The head is aligned in the crop of `reference`.
    """
    height, width = photo.shape[:2]
    squares = [locate_face_square(each, width, height) for each in (points, reference)]
    boxes = np.array([square.inner for square in squares], np.float64)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    _, region = choose_region("crop", photo, reference)
    first, second = (fit_head(region.to_region(each, SIDE), SIDE, SIDE) for each in (points, reference))
    shift = np.hypot(first.x - second.x, first.y - second.y) * second.scale
    return [
        float(np.linalg.norm(centers[0] - centers[1]) / squares[1].side),
        abs(squares[0].side / squares[1].side - 1),
        abs(first.scale / second.scale - 1),
        float(shift),
    ]


def main() -> None:
    """Measure all faces and print their median and maximum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="PHOTO_OR_VIDEO")
    parser.add_argument("--predictor", type=Path, required=True, metavar="FILE", help="dlib's 68 landmarks")
    args = parser.parse_args()
    detector = build_detector("mtcnn")
    finder, predictor = PortraitFinder(detector, None), dlib.shape_predictor(str(args.predictor))
    rows, reduced = [], []
    for file in args.files:
        for number in range(MAX_FACES):
            try:
                portrait = finder(FileSource(file, static=True), FaceSelectionOptions(faces=str(number)))
            except InputError:
                break
            assert portrait.box is not None
            shape = predictor(portrait.photo, dlib.rectangle(*portrait.box))
            reference = np.array([(point.x, point.y) for point in shape.parts()], np.float32)
            rows.append(compare(portrait.photo, portrait.landmarks, reference))
            reduced.append(compare(portrait.photo, five_points(reference), reference))
            print(f"{file.name} {number}: " + ", ".join(f"{value:.3f}" for value in rows[-1]), flush=True)
    print(f"\n| {len(rows)} faces | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, values in (("five points of MTCNN", rows), ("five points of the 68", reduced)):
        for label, reduce in (("median", np.median), ("maximum", np.max)):
            print(f"| {name}, {label} | " + " | ".join(f"{value:.3f}" for value in reduce(values, axis=0)) + " |")


if __name__ == "__main__":
    main()
