"""Motion of the mouth during a pause in the audio, with and without --silence ease.

    python -m benchmarks.silence --audio FILE [--checkpoint_path FILE] [--strips DIR] VIDEO ...

The audio is two seconds of FILE, two of silence and two of FILE again; the people in the videos talk throughout.
Without a checkpoint a stand-in generator returns its references and ignores the audio: what it leaks is all that a
generator can copy. The table has mean |difference between frames| in grey levels of the mouth patch, which is aligned
by MTCNN's landmarks of the source so that head motion counts little: in the source, with --silence off and with
--silence ease, during the pause and, in brackets, during speech.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.seams import Scene, read_scene
from face_detection import build_detector
from wav2lip.audio.mel import SAMPLE_RATE, load_wav, melspectrogram
from wav2lip.audio.voice_activity import detect_voice
from wav2lip.audio.windows import InferenceWindows
from wav2lip.engine.interface import FrameItem
from wav2lip.faces.crops import FACE_SIZE
from wav2lip.faces.framing import PUBLIC_FRAMING
from wav2lip.faces.mouth_patch import mouth_patch
from wav2lip.faces.roll_alignment import keep_roll
from wav2lip.lipsync import FileSource
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.closed_mouth_reference import ClosedMouthReference
from wav2lip.lipsync.pipeline import LipSync
from wav2lip.lipsync.silence import SilenceControl, mouth_openness
from wav2lip.lipsync.stages import align_faces, blend_faces, generate_faces

FPS = 25
SPEECH_S, PAUSE_S = 2, 2
PAUSE_MARGIN_FRAMES = 8  # transitions at the edges of the pause are not measured
SPEECH_MARGIN_FRAMES = 5


class CopyGenerator:
    """Generator that returns its references."""

    resolution = FACE_SIZE

    def __call__(
        self, crops: np.ndarray, mels: np.ndarray, references: np.ndarray | None = None, first_row: int = 0
    ) -> np.ndarray:
        """Return the references."""
        return crops if references is None else references


def motion(frames: np.ndarray, scene: Scene, numbers: range) -> float:
    """Return the mean |difference between frames| of the mouth in grey levels."""
    landmarks = [target.landmarks for target in scene.targets]
    patches = [
        cv2.cvtColor(mouth_patch(frames[n], landmarks[n]), cv2.COLOR_RGB2GRAY).astype(np.float32)
        for n in numbers if landmarks[n] is not None
    ]  # fmt: skip
    return float(np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(patches)]))


def generate(
    scene: Scene, windows: InferenceWindows, generator: CopyGenerator, silence: SilenceControl | None
) -> np.ndarray:
    """Generate the faces of a scene and return its frames."""
    items = (FrameItem(n, f.copy(), [t]) for n, (f, t) in enumerate(zip(scene.frames, scene.targets, strict=True)))
    aligned = align_faces(items, keep_roll, generator.resolution, 8)
    generated = generate_faces(aligned, [windows], generator, silence)
    return np.stack([item.frame for item in blend_faces(generated, build_blend("feather"))])


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--checkpoint_path", type=Path)
    parser.add_argument("--audio", required=True, type=Path)
    parser.add_argument("--strips", type=Path, help="folder for images of the pause: source, off, ease")
    args = parser.parse_args()
    torch.set_num_threads(2)
    generator = (
        CopyGenerator()
        if args.checkpoint_path is None
        else LipSync.from_checkpoint(args.checkpoint_path, "cpu").generator
    )
    speech = load_wav(args.audio)[: SPEECH_S * SAMPLE_RATE]
    audio = np.concatenate([speech, np.zeros(PAUSE_S * SAMPLE_RATE, np.float32), speech])
    frames = len(audio) * FPS // SAMPLE_RATE
    windows = InferenceWindows.build(melspectrogram(audio), len(audio), FPS)
    openness = mouth_openness(detect_voice([audio]), frames, FPS)
    pause_frames = range(SPEECH_S * FPS + PAUSE_MARGIN_FRAMES, (SPEECH_S + PAUSE_S) * FPS - PAUSE_MARGIN_FRAMES)
    print("| video | source | off | ease |\n|---|---|---|---|")
    for path in args.videos:
        scene = read_scene(path, frames)
        closed = ClosedMouthReference(
            FileSource(path), lambda: build_detector("mtcnn"), PUBLIC_FRAMING.pads, generator.resolution
        )
        videos = {
            "source": scene.frames,
            "off": generate(scene, windows, generator, None),
            "ease": generate(scene, windows, generator, SilenceControl([openness.item], closed)),
        }
        speech_frames = range(SPEECH_MARGIN_FRAMES, SPEECH_S * FPS - SPEECH_MARGIN_FRAMES)
        cells = [
            f"{motion(m, scene, pause_frames):.2f} ({motion(m, scene, speech_frames):.2f})" for m in videos.values()
        ]
        print(f"| {path.stem} | {' | '.join(cells)} |", flush=True)
        if args.strips:
            args.strips.mkdir(parents=True, exist_ok=True)
            rows = [
                np.hstack([mouth_patch(m[n], scene.targets[n].landmarks) for n in pause_frames[::4]])
                for m in videos.values()
            ]
            cv2.imwrite(str(args.strips / f"{path.stem}.png"), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
