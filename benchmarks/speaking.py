"""Who speaks: frames in which `--faces speaking` chooses the right one of two people, on clips side by side.

    python -m benchmarks.speaking VIDEO VIDEO [VIDEO ...] [--turns 8] [--both_move] [--sync_expert FILE] [--record]

Every two of the clips are put side by side. They take turns of 1.5 to 4 s: who speaks plays the clip with its own
audio, the other one rests, as the middle of the longest pause of the clip, played to and fro; the pause is found by its
audio alone. Between two turns both rest for 0.3 s. With --both_move the other one plays the clip too, without its
audio, so that only the agreement of lips and audio can show who speaks. Prints a confusion table of the frames with a
voice.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from face_detection import Detector, build_detector
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME
from wav2lip.engine.face_selection import center_x
from wav2lip.engine.face_tracking import CachedTracker, TrackingParams
from wav2lip.engine.frame_source import FileSource
from wav2lip.engine.speakers.speaking import assign_speaking
from wav2lip.engine.speakers.voice_level import VoiceLevel
from wav2lip.faces.boxes import Pads
from wav2lip.media import read_audio, read_frames
from wav2lip.sync.expert import StreamingExpert
from wav2lip.sync.syncnet_experts import load_expert
from wav2lip.synthetic import encode_video

RESULTS = Path(__file__).with_name("RESULTS.md")
HEIGHT = 288  # pixels of a frame
MAX_SECONDS = 20.0  # of a clip
TURN_FRAMES = (38, 100)
GAP_FRAMES = 8
PAUSE_DB = 20.0  # below the loud parts
REST_FRAMES = 10  # at most, of the middle of a pause
FADE_SAMPLES = 800
NOISE = 1e-4  # between the turns


@dataclass(frozen=True)
class Footage:
    """A clip at 25 fps."""

    frames: list[np.ndarray]  # (HEIGHT, w, 3) uint8
    wav: np.ndarray  # (len(frames) * 640,) float32 at 16 kHz
    rest: list[int]  # frames in the middle of the longest pause

    @classmethod
    def read(cls, path: Path) -> Footage:
        """Read the start of a clip."""
        frames = [_scale(frame) for frame in itertools.islice(read_frames(path, Fraction(FPS)), int(MAX_SECONDS * FPS))]
        wav = np.concatenate(list(read_audio(path, SAMPLE_RATE)))[: len(frames) * SAMPLES_PER_FRAME]
        wav = np.pad(wav, (0, len(frames) * SAMPLES_PER_FRAME - len(wav)))
        return cls(frames, wav, _rest(wav.reshape(len(frames), -1)))

    def audio(self, numbers: list[int]) -> np.ndarray:
        """Return the audio of frames, faded in and out."""
        wav = np.concatenate([self.wav[n * SAMPLES_PER_FRAME : (n + 1) * SAMPLES_PER_FRAME] for n in numbers])
        ramp = np.minimum(1, np.arange(len(wav)) / FADE_SAMPLES)
        return np.asarray(wav * ramp * ramp[::-1])


def _scale(frame: np.ndarray) -> np.ndarray:
    width = 2 * round(frame.shape[1] * HEIGHT / frame.shape[0] / 2)
    return cv2.resize(frame, (width, HEIGHT), interpolation=cv2.INTER_AREA)


def _rest(blocks: np.ndarray) -> list[int]:
    level = 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-8)
    level = np.convolve(np.pad(level, 1, mode="edge"), np.ones(3) / 3, "valid")
    runs = [list(run) for is_quiet, run in itertools.groupby(
        range(len(level)), key=lambda n: level[n] < np.quantile(level, 0.95) - PAUSE_DB) if is_quiet]  # fmt: skip
    longest = max(runs, key=len)
    cut = max(0, len(longest) - REST_FRAMES) // 2
    return longest[cut : len(longest) - cut]


def compose(first: Footage, second: Footage, path: Path, turns: int, seed: int, both_move: bool = False) -> np.ndarray:
    """Write a video of two people who take turns. Returns: (N,) int, 0 or 1 from left to right: who speaks."""
    rng = np.random.default_rng(seed)
    clips, positions = (first, second), [0, 0]
    rests = [itertools.cycle([*clip.rest, *clip.rest[-2:0:-1]]) for clip in clips]
    frames: list[np.ndarray] = []
    wav: list[np.ndarray] = []
    truth: list[int] = []
    speaker = int(rng.integers(2))
    for _ in range(turns):
        count = int(rng.integers(*TURN_FRAMES))
        numbers: list[list[int]] = []
        for person, clip in enumerate(clips):
            if person == speaker or both_move:
                plays = [(positions[person] + n) % len(clip.frames) for n in range(count)]
                positions[person] += count
            else:
                plays = list(itertools.islice(rests[person], count))
            numbers.append(plays + list(itertools.islice(rests[person], GAP_FRAMES)))
        frames += [np.hstack([first.frames[a], second.frames[b]]) for a, b in zip(*numbers, strict=True)]
        pause = NOISE * rng.standard_normal(GAP_FRAMES * SAMPLES_PER_FRAME)
        wav += [clips[speaker].audio(numbers[speaker][:count]), pause]
        truth += [speaker] * (count + GAP_FRAMES // 2) + [1 - speaker] * (GAP_FRAMES - GAP_FRAMES // 2)
        speaker = 1 - speaker
    encode_video(path, frames, np.concatenate(wav))
    return np.array(truth)


def confusion(
    video: Path, truth: np.ndarray, middle: float, detector: Detector, expert: StreamingExpert | None = None
) -> np.ndarray:
    """Return the number of frames with a voice by who speaks (rows) and who is chosen: left, right, nobody (columns).

    middle: pixels between the two people.
    """
    source = FileSource(video)
    tracker = CachedTracker(
        source, len(truth), detector, TrackingParams.for_video(source.fps, detector.name), cache=None
    )
    assign = assign_speaking(source, tracker(source.frames()), Pads(), expert)
    is_word = np.zeros(len(truth), bool)
    for first, last in VoiceLevel.measure(source.read_audio(SAMPLE_RATE)).words(float(source.fps)):
        is_word[first:last] = True
    table = np.zeros((2, 3), int)
    for (_, faces), speaker, counts in zip(tracker(source.frames()), truth.tolist(), is_word.tolist(), strict=False):
        voices = assign(faces)
        chosen = [int(center_x(face) > middle) for face in faces if face.person in voices] or [2]
        table[speaker, chosen[0]] += counts
    return table


def measure(
    paths: list[Path], turns: int, both_move: bool, detector: Detector, expert: StreamingExpert | None
) -> list[tuple[str, np.ndarray]]:
    """Return the confusion table of every two clips."""
    clips = {path: Footage.read(path) for path in paths}
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for seed, (a, b) in enumerate(itertools.combinations(paths, 2)):
            video = Path(folder) / f"{seed}.mp4"
            truth = compose(clips[a], clips[b], video, turns, seed, both_move)
            table = confusion(video, truth, clips[a].frames[0].shape[1], detector, expert)
            tables.append((f"{a.stem}, {b.stem}", table))
    return tables


def format_tables(tables: list[tuple[str, np.ndarray]]) -> str:
    """Return the Markdown table."""
    lines = ["| clips | left speaks: left, right, nobody | right speaks: left, right, nobody | frames right |",
             "|---|---|---|---|"]  # fmt: skip
    for name, table in [*tables, ("all", sum(table for _, table in tables))]:
        right = (table[0, 0] + table[1, 1]) / max(1, table.sum())
        rows = " | ".join(", ".join(map(str, row)) for row in table)
        lines.append(f"| {name} | {rows} | {right:.1%} of {table.sum()} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--both_move", action="store_true")
    parser.add_argument("--sync_expert", type=Path, metavar="FILE")
    parser.add_argument("--record", action="store_true", help=f"append to {RESULTS.name}")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    expert = None if args.sync_expert is None else load_expert(args.sync_expert)
    text = format_tables(measure(args.videos, args.turns, args.both_move, build_detector("mtcnn"), expert))
    print(text)
    if args.record:
        mode = "both mouths move" if args.both_move else "the other one rests"
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"\n{len(args.videos)} clips, {args.turns} turns, {mode}:\n\n{text}\n")


if __name__ == "__main__":
    main()
