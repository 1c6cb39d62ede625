"""What shows at the seams of a result: the box paste beside the feathered one, the same generated faces in both.

    python benchmarks/seams.py --audio FILE [--checkpoint_path FILE] [--strips DIR] VIDEO ...

Without a checkpoint a stand-in makes the faces: the crop itself, blurred, too bright, its colour off by some levels
more from frame to frame and from side to side, its jaw moved by the loudness of the sound. That is what leaks at seams
of a well trained generator; it is no lip-sync.

The first --frames frames of each video are given new lips, their boxes found by MTCNN in every frame. In levels:

step: mean |change that the paste made to the difference between neighbouring pixels|, on the pairs of pixels that the
    outline of the box runs between, and over the band in which the mask falls (mask between 0.02 and 0.98)
flicker: mean |second difference in time| of the grey picture, in a ring of 3 % of the box about that outline, and over
    that band, in the result and in the source

Milliseconds are of one thread, for putting one face back.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from face_detection import build_detector
from face_detection.tracks import fill_gaps, follow, smooth
from wav2lip.crops import FACE_SIZE, Pads, cut, pad_boxes, resize, whole_pixels
from wav2lip.lipsync import LipSync, sound_windows
from wav2lip.lipsync.blending import BLENDS, build_blend, lower_face_mask, open_edges, place_of
from wav2lip.lipsync.shown import Box, Shown, Target
from wav2lip.media import probe, read_frames


@dataclass(frozen=True)
class Scene:
    """Frames of a video with the one face in each."""

    frames: np.ndarray  # (N, H, W, 3) uint8
    targets: Sequence[Target]


def scene(path: Path, count: int) -> Scene:
    """The first frames of a video whose every frame has a face."""
    frames = np.stack(list(itertools.islice(read_frames(path), count)))
    found = [faces for (faces,) in (build_detector("mtcnn").detect([frame]) for frame in frames)]
    filled, _ = fill_gaps(follow(found))
    boxes = whole_pixels(smooth(pad_boxes(filled, Pads(), *frames.shape[1:3])), *frames.shape[1:3])
    targets = []
    for box, faces in zip(boxes, found, strict=True):
        assert box is not None, f"{path}: a frame without a face; give another video"
        points = max(faces, key=lambda face: face.area).landmarks if faces else None
        targets.append(Target(box, None if points is None else np.array(points, np.float32)))
    return surroundings(Scene(frames, targets))


def surroundings(given: Scene) -> Scene:
    """The same with all of the frames left out that is far from any of the boxes."""
    boxes = np.array([target.box for target in given.targets])
    reach = int((boxes[:, 3] - boxes[:, 1]).max()) // 3
    left, top = np.maximum(boxes[:, :2].min(axis=0) - reach, 0)
    right, bottom = boxes[:, 2:].max(axis=0) + reach
    targets = [
        Target(tuple(box), None if target.landmarks is None else target.landmarks - np.float32([left, top]))
        for target, box in zip(given.targets, (boxes - [left, top, left, top]).tolist(), strict=True)
    ]
    return Scene(given.frames[:, top:bottom, left:right].copy(), targets)


def stand_in(crops: np.ndarray, mels: np.ndarray) -> np.ndarray:
    """Crops as a generator might give them back, (N, R, R, 3) uint8."""
    rng, size = np.random.default_rng(0), crops.shape[1]
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    slope = ((x / size - 0.5) * 8)[..., None]  # levels
    loudness = np.clip(mels[:, 0, :, 6:10].mean(axis=(1, 2)) / 4 + 0.6, 0, 1)  # from mel values in [-4, 4]
    across, below = (x / size - 0.5) / 0.3, (y / size - 0.735) / 0.25
    jaw = np.clip(1 - across**2, 0, None) * np.clip(below * 4, 0, 1) * np.clip(1 - below, 0, 1)
    faces = []
    for crop, opening in zip(crops, loudness, strict=True):
        moved = cv2.remap(crop, x, (y - jaw * opening * 0.1 * size).astype(np.float32), cv2.INTER_LINEAR)
        colour = 6 + slope + rng.normal(0, 2, 3)
        faces.append(np.clip(cv2.GaussianBlur(moved, (0, 0), 0.008 * size) + colour, 0, 255).astype(np.uint8))
    return np.stack(faces)


def generated(given: Scene, lipsync: LipSync | None, audio: Path, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Crops and generated faces, (N, R, R, 3) uint8 each."""
    size = FACE_SIZE if lipsync is None else lipsync.repainter.resolution
    crops = np.stack([resize(cut(f, t.box), size, size) for f, t in zip(given.frames, given.targets, strict=True)])
    windows = sound_windows(audio, fps)  # type: ignore[arg-type]
    mels = np.stack([windows[n % len(windows)][None] for n in range(len(crops))])
    if lipsync is None:
        return crops, stand_in(crops, mels)
    batches = range(0, len(crops), 8)
    return crops, np.concatenate([lipsync.repainter(crops[i : i + 8], mels[i : i + 8]) for i in batches])


def blended(given: Scene, crops: np.ndarray, faces: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """The frames with the faces in them, and milliseconds for each."""
    out, blend = given.frames.copy(), build_blend(name)
    begun = time.process_time()
    for n, target in enumerate(given.targets):
        blend(Shown(n, out[n], [target]), target, crops[n], faces[n])
    return out, (time.process_time() - begun) * 1000 / len(out)


def band_of(target: Target, shape: tuple[int, ...]) -> np.ndarray:
    """Where the mask of a face falls, (H, W) bool."""
    left, top, right, bottom = target.box
    mask = resize(lower_face_mask(place_of(target), open_edges(target, shape)), right - left, bottom - top)
    band = np.zeros(shape[:2], bool)
    band[top:bottom, left:right] = (mask > 0.02) & (mask < 0.98)
    return band


def outline_of(box: Box, shape: tuple[int, ...]) -> np.ndarray:
    """A ring of 3 % of the box about its edge, (H, W) bool."""
    left, top, right, bottom = box
    reach = max(1, round(0.03 * (bottom - top)))
    ring = np.zeros(shape[:2], bool)
    ring[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach] = True
    ring[top + reach : bottom - reach, left + reach : right - reach] = False
    return ring


def step_at_box(change: np.ndarray, box: Box) -> float:
    """Mean |jump of the change| over the outline of a box. change: (H, W, 3) result less source."""
    left, top, right, bottom = box
    height, width = change.shape[:2]
    jumps = [
        change[top:bottom, x] - change[top:bottom, x - 1] for x in (left, right) if 0 < x < width
    ] + [change[y, left:right] - change[y - 1, left:right] for y in (top, bottom) if 0 < y < height]  # fmt: skip
    return float(np.abs(np.concatenate(jumps)).mean())


def step_in(change: np.ndarray, band: np.ndarray) -> float:
    """Mean |difference between neighbours| of the change, within a band."""
    across, down = np.abs(np.diff(change, axis=1))[:-1], np.abs(np.diff(change, axis=0))[:, :-1]
    return float((across[band[:-1, :-1]].mean() + down[band[:-1, :-1]].mean()) / 2)


def flicker(frames: np.ndarray, regions: Sequence[np.ndarray]) -> float:
    """Mean |second difference in time| over each frame's region."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    inner = regions[1:-1]
    return float(np.mean([
        np.abs(a - 2 * b + c)[region].mean() for a, b, c, region in zip(grey, grey[1:], grey[2:], inner, strict=False)
    ]))  # fmt: skip


def strip(given: Scene, made: dict[str, np.ndarray], places: Sequence[int], height: int = 320) -> np.ndarray:
    """Rows: source, box, feather; columns: frames."""
    rows = []
    for frames in (given.frames, *made.values()):
        cells = []
        for n in places:
            left, top, right, bottom = given.targets[n].box
            reach = (bottom - top) // 4
            cell = frames[n][max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach]
            cells.append(resize(cell, round(height * cell.shape[1] / cell.shape[0]), height))
        width = min(cell.shape[1] for cell in cells)
        rows.append(np.hstack([cell[:, :width] for cell in cells]))
    width = min(row.shape[1] for row in rows)
    return np.vstack([row[:, :width] for row in rows])


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--checkpoint_path", type=Path)
    parser.add_argument("--audio", required=True, type=Path)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--strips", type=Path, help="folder for pictures: source, box, feather")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    lipsync = args.checkpoint_path and LipSync.from_checkpoint(args.checkpoint_path, device="cpu")
    print("| video | blend | step at the box | in the band | flicker at the box (source) | in the band (source) | ms |")
    print("|---|---|---|---|---|---|---|")
    for path in args.videos:
        given = scene(path, args.frames)
        crops, faces = generated(given, lipsync, args.audio, float(probe(path).require_video().fps))
        shape = given.frames.shape[1:]
        bands = [band_of(target, shape) for target in given.targets]
        rings = [outline_of(target.box, shape) for target in given.targets]
        still = flicker(given.frames, rings), flicker(given.frames, bands)
        made = {}
        for name in reversed(BLENDS):
            made[name], ms = blended(given, crops, faces, name)
            changes = [m.astype(np.float32) - f for m, f in zip(made[name], given.frames, strict=True)]
            at_box = np.mean([step_at_box(c, t.box) for c, t in zip(changes, given.targets, strict=True)])
            in_band = np.mean([step_in(c, band) for c, band in zip(changes, bands, strict=True)])
            moving = flicker(made[name], rings), flicker(made[name], bands)
            print(f"| {path.stem} | {name} | {at_box:.2f} | {in_band:.2f} | {moving[0]:.2f} ({still[0]:.2f}) "
                  f"| {moving[1]:.2f} ({still[1]:.2f}) | {ms:.2f} |", flush=True)  # fmt: skip
        if args.strips:
            args.strips.mkdir(parents=True, exist_ok=True)
            places = np.linspace(2, len(given.frames) - 3, 6).astype(int)
            cv2.imwrite(str(args.strips / f"{path.stem}.jpg"), strip(given, made, places)[..., ::-1])


if __name__ == "__main__":
    main()
