"""Whether mouths rest while nobody speaks: motion of the mouth in a pause of the sound, eased shut and not.

    python benchmarks/silence.py --audio FILE [--checkpoint_path FILE] [--strips DIR] VIDEO ...

The sound is two seconds of FILE, two of silence, two of FILE again; the people of the videos talk all through. Without
a checkpoint a stand-in makes the faces, which gives back its reference and knows no sound: what it leaks is all that a
generator can copy. Levels are mean |difference from frame to frame| of the grey patch of the mouth, which is cut out
upright by MTCNN's landmarks of the source, so that the head's motion counts for little; in the source, in the result
with --silence off, and with --silence ease, each within the pause and, in brackets, while there is speech.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import cv2
import numpy as np
import torch
from seams import Scene, scene

from face_detection import build_detector
from wav2lip.audio import SAMPLE_RATE, load_wav, melspectrogram
from wav2lip.crops import FACE_SIZE, Pads
from wav2lip.lipsync import FaceSource
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.closed_mouth import ClosedMouths, mouth_patch
from wav2lip.lipsync.engine import LipSync
from wav2lip.lipsync.painting import paint
from wav2lip.lipsync.shown import Shown
from wav2lip.lipsync.silence import Silence
from wav2lip.lipsync.voice import openness, voiced
from wav2lip.windows import InferenceWindows

FPS, SPEECH, PAUSE = 25, 2, 2  # frames a second; seconds
SETTLED = 8  # frames from the edges of the pause to what is measured of it


class Copies:
    """Stands in for a generator: what it is shown as reference comes back."""

    resolution = FACE_SIZE

    def __call__(
        self, crops: np.ndarray, mels: np.ndarray, references: np.ndarray | None = None, top: int = 0
    ) -> np.ndarray:
        """The references."""
        return crops if references is None else references


def motion(frames: np.ndarray, given: Scene, numbers: range) -> float:
    """Mean |difference from frame to frame| of the mouth, in levels."""
    marks = [target.landmarks for target in given.targets]
    patches = [
        cv2.cvtColor(mouth_patch(frames[n], marks[n]), cv2.COLOR_RGB2GRAY).astype(np.float32)
        for n in numbers if marks[n] is not None
    ]  # fmt: skip
    return float(np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(patches)]))


def result(given: Scene, windows: InferenceWindows, repaint: Copies, silence: Silence | None) -> np.ndarray:
    """The frames with their new lips."""
    shown = (Shown(n, f.copy(), [t]) for n, (f, t) in enumerate(zip(given.frames, given.targets, strict=True)))
    return np.stack([one.frame for one in paint(shown, windows, repaint, 8, build_blend("feather"), silence)])


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--checkpoint_path", type=Path)
    parser.add_argument("--audio", required=True, type=Path)
    parser.add_argument("--strips", type=Path, help="folder for pictures of the pause: source, off, ease")
    args = parser.parse_args()
    torch.set_num_threads(2)
    repaint = (
        Copies() if args.checkpoint_path is None else LipSync.from_checkpoint(args.checkpoint_path, "cpu").repainter
    )
    speech = load_wav(args.audio)[: SPEECH * SAMPLE_RATE]
    sound = np.concatenate([speech, np.zeros(PAUSE * SAMPLE_RATE, np.float32), speech])
    frames = len(sound) * FPS // SAMPLE_RATE
    windows = InferenceWindows.covering(melspectrogram(sound), len(sound), FPS)
    share = openness(voiced([sound]), frames, FPS)
    pause = range(SPEECH * FPS + SETTLED, (SPEECH + PAUSE) * FPS - SETTLED)
    print("| video | source | off | ease |\n|---|---|---|---|")
    for path in args.videos:
        given = scene(path, frames)
        closed = ClosedMouths(FaceSource(path), lambda: build_detector("mtcnn"), Pads(), repaint.resolution)
        made = {
            "source": given.frames,
            "off": result(given, windows, repaint, None),
            "ease": result(given, windows, repaint, Silence(share[: len(given.frames)], closed)),
        }
        talk = range(5, SPEECH * FPS - 5)
        cells = [f"{motion(m, given, pause):.2f} ({motion(m, given, talk):.2f})" for m in made.values()]
        print(f"| {path.stem} | {' | '.join(cells)} |", flush=True)
        if args.strips:
            args.strips.mkdir(parents=True, exist_ok=True)
            rows = [
                np.hstack([mouth_patch(m[n], given.targets[n].landmarks) for n in pause[::4]]) for m in made.values()
            ]
            cv2.imwrite(str(args.strips / f"{path.stem}.png"), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
