"""Visibility of seams: box and feathered blending of the same generated faces.

    python benchmarks/seams.py --audio FILE [--checkpoint_path FILE] [--strips DIR] VIDEO ...

Without a checkpoint a stand-in makes the faces: the crop, blurred and too bright, with colour errors that vary over
frames and space, and a jaw warped by the loudness of the audio. Such errors of a well-trained generator show at seams;
there is no lip-sync. The first --frames frames of each video get new faces; MTCNN detects the boxes in every frame.

step: mean |change by blending of the difference between neighbouring pixels| in grey levels, across the outline of the
    box and within the band where the mask falls (between 0.02 and 0.98)
flicker: mean |second temporal difference| in grey levels, in a ring of 3% of the box around its outline and within that
    band, of the result and of the source

Milliseconds are of one thread, per blended face.
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
from face_detection.tracking.tracks import fill_gaps, smooth_boxes, track_single_face
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.boxes import Box, pad_boxes, round_boxes
from wav2lip.faces.crops import FACE_SIZE, crop_box, resize
from wav2lip.faces.framing import PUBLIC_FRAMING
from wav2lip.lipsync import LipSync, mel_windows_from_file
from wav2lip.lipsync.blending import MouthGeometry, build_blend, lower_face_mask, open_edges
from wav2lip.media import probe, read_frames


@dataclass(frozen=True)
class Scene:
    """Frames of a video with one face in each."""

    frames: np.ndarray  # (N, H, W, 3) uint8
    targets: Sequence[FaceTarget]


def read_scene(path: Path, count: int) -> Scene:
    """Read the first frames of a video with a face in every frame."""
    frames = np.stack(list(itertools.islice(read_frames(path), count)))
    detections = [faces for (faces,) in (build_detector("mtcnn").detect([frame]) for frame in frames)]
    boxes_filled, _ = fill_gaps(track_single_face(detections))
    boxes = round_boxes(
        smooth_boxes(pad_boxes(boxes_filled, PUBLIC_FRAMING.pads, *frames.shape[1:3])), *frames.shape[1:3]
    )
    targets = []
    for box, faces in zip(boxes, detections, strict=True):
        assert box is not None, f"{path}: a frame without a face; give another video"
        points = max(faces, key=lambda face: face.area).landmarks if faces else None
        targets.append(FaceTarget(box, None if points is None else np.array(points, np.float32)))
    return crop_scene(Scene(frames, targets))


def crop_scene(scene: Scene) -> Scene:
    """Crop all frames to the surroundings of the boxes."""
    boxes = np.array([target.box for target in scene.targets])
    margin = int((boxes[:, 3] - boxes[:, 1]).max()) // 3
    left, top = np.maximum(boxes[:, :2].min(axis=0) - margin, 0)
    right, bottom = boxes[:, 2:].max(axis=0) + margin
    targets = [
        FaceTarget(tuple(box), None if target.landmarks is None else target.landmarks - np.float32([left, top]))
        for target, box in zip(scene.targets, (boxes - [left, top, left, top]).tolist(), strict=True)
    ]
    return Scene(scene.frames[:, top:bottom, left:right].copy(), targets)


def stand_in(crops: np.ndarray, mels: np.ndarray) -> np.ndarray:
    """Return crops with the errors of a generator, (N, R, R, 3) uint8."""
    rng, size = np.random.default_rng(0), crops.shape[1]
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    slope = ((x / size - 0.5) * 8)[..., None]  # levels
    loudness = np.clip(mels[:, 0, :, 6:10].mean(axis=(1, 2)) / 4 + 0.6, 0, 1)  # from mel values in [-4, 4]
    across, below = (x / size - 0.5) / 0.3, (y / size - 0.735) / 0.25
    jaw = np.clip(1 - across**2, 0, None) * np.clip(below * 4, 0, 1) * np.clip(1 - below, 0, 1)
    faces = []
    for crop, opening in zip(crops, loudness, strict=True):
        warped = cv2.remap(crop, x, (y - jaw * opening * 0.1 * size).astype(np.float32), cv2.INTER_LINEAR)
        colour = 6 + slope + rng.normal(0, 2, 3)
        faces.append(np.clip(cv2.GaussianBlur(warped, (0, 0), 0.008 * size) + colour, 0, 255).astype(np.uint8))
    return np.stack(faces)


def generate(scene: Scene, lipsync: LipSync | None, audio: Path, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return crops and generated faces, (N, R, R, 3) uint8 each."""
    size = FACE_SIZE if lipsync is None else lipsync.generator.resolution
    crops = np.stack([resize(crop_box(f, t.box), size, size) for f, t in zip(scene.frames, scene.targets, strict=True)])
    windows = mel_windows_from_file(audio, fps)  # type: ignore[arg-type]
    mels = np.stack([windows[n % len(windows)][None] for n in range(len(crops))])
    if lipsync is None:
        return crops, stand_in(crops, mels)
    batches = range(0, len(crops), 8)
    return crops, np.concatenate([lipsync.generator(crops[i : i + 8], mels[i : i + 8]) for i in batches])


def blend_faces(scene: Scene, crops: np.ndarray, faces: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Return the frames with blended faces, and milliseconds per frame."""
    out, blend = scene.frames.copy(), build_blend(name)
    start = time.process_time()
    for n, target in enumerate(scene.targets):
        blend(FrameItem(n, out[n], [target]), target, crops[n], faces[n])
    return out, (time.process_time() - start) * 1000 / len(out)


def mask_band(target: FaceTarget, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels where the mask of a face falls, (H, W) bool."""
    left, top, right, bottom = target.box
    mask = lower_face_mask(MouthGeometry.from_target(target), open_edges(target, shape))
    mask = resize(mask, right - left, bottom - top)
    band = np.zeros(shape[:2], bool)
    band[top:bottom, left:right] = (mask > 0.02) & (mask < 0.98)
    return band


def box_ring(box: Box, shape: tuple[int, ...]) -> np.ndarray:
    """Return a ring of 3% of the box around its outline, (H, W) bool."""
    left, top, right, bottom = box
    margin = max(1, round(0.03 * (bottom - top)))
    ring = np.zeros(shape[:2], bool)
    ring[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin] = True
    ring[top + margin : bottom - margin, left + margin : right - margin] = False
    return ring


def step_at_box(change: np.ndarray, box: Box) -> float:
    """Return the mean |step of the change| across the outline of a box. change: (H, W, 3), result minus source."""
    left, top, right, bottom = box
    height, width = change.shape[:2]
    jumps = [
        change[top:bottom, x] - change[top:bottom, x - 1] for x in (left, right) if 0 < x < width
    ] + [change[y, left:right] - change[y - 1, left:right] for y in (top, bottom) if 0 < y < height]  # fmt: skip
    return float(np.abs(np.concatenate(jumps)).mean())


def step_in_band(change: np.ndarray, band: np.ndarray) -> float:
    """Return the mean |difference between neighbours| of the change within a band."""
    across, down = np.abs(np.diff(change, axis=1))[:-1], np.abs(np.diff(change, axis=0))[:, :-1]
    return float((across[band[:-1, :-1]].mean() + down[band[:-1, :-1]].mean()) / 2)


def flicker(frames: np.ndarray, regions: Sequence[np.ndarray]) -> float:
    """Return the mean |second temporal difference| over the region of each frame."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    inner = regions[1:-1]
    return float(np.mean([
        np.abs(a - 2 * b + c)[region].mean() for a, b, c, region in zip(grey, grey[1:], grey[2:], inner, strict=False)
    ]))  # fmt: skip


def contact_sheet(
    scene: Scene, results: dict[str, np.ndarray], numbers: Sequence[int], height: int = 320
) -> np.ndarray:
    """Lay out the source and each result as rows and frames as columns."""
    rows = []
    for frames in (scene.frames, *results.values()):
        cells = []
        for n in numbers:
            left, top, right, bottom = scene.targets[n].box
            margin = (bottom - top) // 4
            cell = frames[n][max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
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
    parser.add_argument("--strips", type=Path, help="folder for contact sheets: source, box, feather")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    lipsync = args.checkpoint_path and LipSync.from_checkpoint(args.checkpoint_path, device="cpu")
    print("| video | blend | step at the box | in the band | flicker at the box (source) | in the band (source) | ms |")
    print("|---|---|---|---|---|---|---|")
    for path in args.videos:
        scene = read_scene(path, args.frames)
        crops, faces = generate(scene, lipsync, args.audio, float(probe(path).require_video().fps))
        shape = scene.frames.shape[1:]
        bands = [mask_band(target, shape) for target in scene.targets]
        rings = [box_ring(target.box, shape) for target in scene.targets]
        source_flicker = flicker(scene.frames, rings), flicker(scene.frames, bands)
        results = {}
        for name in ("box", "feather"):
            results[name], ms = blend_faces(scene, crops, faces, name)
            changes = [m.astype(np.float32) - f for m, f in zip(results[name], scene.frames, strict=True)]
            at_box = np.mean([step_at_box(c, t.box) for c, t in zip(changes, scene.targets, strict=True)])
            in_band = np.mean([step_in_band(c, band) for c, band in zip(changes, bands, strict=True)])
            result_flicker = flicker(results[name], rings), flicker(results[name], bands)
            flickers = [
                f"{result:.2f} ({source:.2f})" for result, source in zip(result_flicker, source_flicker, strict=True)
            ]
            print(f"| {path.stem} | {name} | {at_box:.2f} | {in_band:.2f} | {' | '.join(flickers)} | {ms:.2f} |",
                  flush=True)  # fmt: skip
        if args.strips:
            args.strips.mkdir(parents=True, exist_ok=True)
            numbers = np.linspace(2, len(scene.frames) - 3, 6).astype(int)
            cv2.imwrite(str(args.strips / f"{path.stem}.jpg"), contact_sheet(scene, results, numbers)[..., ::-1])


if __name__ == "__main__":
    main()
