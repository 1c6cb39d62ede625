"""Hands over the mouth: error of the result with and without the gate of the blending, and false holds on clean frames.

    python -m benchmarks.occlusion VIDEO ... [--frames 90] [--strips DIR]

A painted hand of four fingers comes from below, covers a part of the lower face in the middle third of the frames and
leaves again. The generated faces are those of `benchmarks.seams` (blurred, with color errors and a moving jaw), made
from the frames without the hand: a generator that paints skin over fingers. The true result is the frame with the hand.

error: mean |difference from the true frame| in grey levels over the pixels of the hand in the box
held back: share of the frames with the whole hand; in the rows without a hand, share of all frames: false holds
changed: share of the frames without a hand that the gate changes at all
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from benchmarks.seams import Scene, read_scene, stand_in
from wav2lip.audio.mel import SAMPLE_RATE, melspectrogram
from wav2lip.audio.windows import InferenceWindows
from wav2lip.engine.interface import FrameItem
from wav2lip.faces.boxes import Box
from wav2lip.faces.crops import FACE_SIZE, crop_box, resize
from wav2lip.lipsync.blending import build_blend
from wav2lip.media import probe, read_audio

LIFTS = (0.25, 0.4, 0.55)  # share of the box, from below, that the hand covers
MOVE_FRAMES = 5  # in which it comes and goes
FINGERS = 4


def paint_hand(frame: np.ndarray, box: Box, lift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the frame (H, W, 3) with fingers from below in the color of the face, and their mask (H, W) bool."""
    left, top, right, bottom = box
    height, width = bottom - top, right - left
    cheek = frame[top + height // 2 : top + round(0.6 * height), left + width // 4 : right - width // 4]
    skin = 0.92 * np.median(cheek.reshape(-1, 3), axis=0)
    radius = max(2, round(0.085 * width))
    cover, shade = np.zeros(frame.shape[:2], np.float32), np.zeros(frame.shape[:2], np.float32)
    for finger in range(FINGERS):
        x, bend = round(left + width * (0.22 + 0.17 * finger)), finger - (FINGERS - 1) / 2
        tip = x, round(bottom - lift * height + 0.05 * height * abs(bend)) + radius
        shape = np.zeros(frame.shape[:2], np.uint8)
        cv2.line(shape, tip, (round(x + 0.04 * width * bend), frame.shape[0] + 50), 1, 2 * radius)
        cv2.circle(shape, tip, radius, 1, -1)
        depth = np.minimum(1, cv2.distanceTransform(shape, cv2.DIST_L2, 3) / radius)
        shade = np.where(shape > 0, 0.7 + 0.35 * depth, shade)
        cover = np.maximum(cover, shape)
    weight = cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None]
    painted = frame * (1 - weight) + weight * skin * shade[..., None]
    return np.clip(painted, 0, 255).astype(np.uint8), cover > 0


def lift_of(index: int, count: int, lift: float) -> float:
    """Return the height of the hand in a frame."""
    inside = min(index - count // 3, 2 * count // 3 - index)
    return lift * min(1.0, max(0.0, inside / MOVE_FRAMES))


def blend(frames: np.ndarray, scene: Scene, faces: np.ndarray, has_gate: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the result (N, H, W, 3), and True for the frames that were held back."""
    blender, items = build_blend("feather", has_gate), []
    for number, (frame, target) in enumerate(zip(frames.copy(), scene.targets, strict=True)):
        items.append(FrameItem(number, frame, [target]))
        blender(items[-1], target, resize(crop_box(frame, target.box), FACE_SIZE, FACE_SIZE), faces[number])
    return np.stack([item.frame for item in items]), np.array([item.is_held_back for item in items])


def measure(path: Path, count: int, strips: Path | None) -> list[str]:
    """Return the rows of a clip."""
    scene = read_scene(path, count)
    count = len(scene.frames)
    wav = np.concatenate(list(read_audio(path, SAMPLE_RATE)))
    windows = InferenceWindows.build(melspectrogram(wav), len(wav), float(probe(path).require_video().fps))
    mels = np.stack([windows[min(n, len(windows) - 1)][None] for n in range(count)])
    crops = [resize(crop_box(f, t.box), FACE_SIZE, FACE_SIZE) for f, t in zip(scene.frames, scene.targets, strict=True)]
    faces = stand_in(np.stack(crops), mels)
    plain, _ = blend(scene.frames, scene, faces, has_gate=False)
    gated, held = blend(scene.frames, scene, faces, has_gate=True)
    changed = (plain != gated).any(axis=(1, 2, 3))
    rows = [f"| {path.stem} | none | | | {held.mean():.1%} of {count} | {changed.mean():.1%} |"]
    for lift in LIFTS:
        lifts = [lift_of(n, count, lift) for n in range(count)]
        painted = [paint_hand(f, t.box, v) for f, t, v in zip(scene.frames, scene.targets, lifts, strict=True)]
        frames, whole = np.stack([frame for frame, _ in painted]), np.array(lifts) == lift
        results = [blend(frames, scene, faces, has_gate) for has_gate in (False, True)]
        errors = [hand_error(result, frames, scene, [mask for _, mask in painted], whole) for result, _ in results]
        held = results[1][1][whole].mean()
        rows.append(f"| {path.stem} | {lift:.0%} | {errors[0]:.2f} | {errors[1]:.2f} | {held:.1%} held | |")
        if strips is not None:
            strips.mkdir(parents=True, exist_ok=True)
            pictures = [
                np.hstack(row[count // 3 - 2 : 2 * count // 3 : 5]) for row in (frames, *[r for r, _ in results])
            ]
            cv2.imwrite(str(strips / f"{path.stem}_{lift:.2f}.png"), np.vstack(pictures)[..., ::-1])
    return rows


def hand_error(
    result: np.ndarray, frames: np.ndarray, scene: Scene, masks: list[np.ndarray], whole: np.ndarray
) -> float:  # fmt: skip
    """Return the mean error over the pixels of the hand in the box, in the frames with the whole hand."""
    errors = []
    for number in np.flatnonzero(whole):
        left, top, right, bottom = scene.targets[number].box
        mask = masks[number][top:bottom, left:right]
        difference = np.abs(result[number].astype(int) - frames[number]).mean(axis=2)[top:bottom, left:right]
        errors.append(difference[mask].mean())
    return float(np.mean(errors))


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--strips", type=Path, metavar="DIR", help="write pictures: with hand, without and with gate")
    args = parser.parse_args()
    print("| clip | hand | error without gate | with gate | held back | changed |\n|---|---|---|---|---|---|")
    for path in args.videos:
        print("\n".join(measure(path, args.frames, args.strips)), flush=True)


if __name__ == "__main__":
    main()
