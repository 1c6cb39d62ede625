"""Who speaks: frames in which `--faces speaking` chooses the right one of two people, on clips side by side.

    python -m benchmarks.speaking VIDEO VIDEO [VIDEO ...] [--turns 8] [--turn_seconds 1.5 4] [--repeats 1]
        [--both_move] [--equalize] [--sync_expert FILE] [--record]

Every two of the clips are put side by side. They take turns: who speaks plays the clip with its own audio, the other
one rests, as the middle of the longest pause of the clip, played to and fro; the pause is found by its audio alone.
Between two turns both rest for 0.3 s. With --both_move the other one plays the clip too, without its audio, so that
only the agreement of lips and audio can show who speaks. Clips that are shorter than their turns start again. With
--equalize all clips get the same average spectrum, so that voices do not differ by their microphones. Prints a
confusion table of the frames with a voice.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import fftconvolve, firwin2, welch

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
GAP_FRAMES = 8
PAUSE_DB = 20.0  # below the loud parts
REST_FRAMES = 10  # at most, of the middle of a pause
FADE_SAMPLES = 800
NOISE = 1e-4  # between the turns


@dataclass(frozen=True)
class Composition:
    """How two clips become a conversation."""

    turns: int = 8
    turn_seconds: tuple[float, float] = (1.5, 4.0)  # of speech, shortest and longest
    both_move: bool = False


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

    def equalized(self) -> Footage:
        """Return the footage with an average spectrum that falls by 6 dB per octave from 200 Hz on."""
        hertz, power = welch(self.wav, SAMPLE_RATE, nperseg=512)
        gain = np.sqrt(1 / (power + 1e-4 * power.max()))
        gain = np.minimum(gain, 30 * np.median(gain)) / np.maximum(hertz, 200)
        wav = fftconvolve(self.wav, firwin2(401, hertz, gain / gain.max(), fs=SAMPLE_RATE), "same")
        return replace(self, wav=np.float32(0.5 / np.abs(wav).max()) * wav.astype(np.float32))

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


def compose(first: Footage, second: Footage, path: Path, seed: int, composition: Composition) -> np.ndarray:
    """Write a video of two people who take turns. Returns: (N,) int, 0 or 1 from left to right: who speaks."""
    rng = np.random.default_rng(seed)
    clips, positions = (first, second), [0, 0]
    rests = [itertools.cycle([*clip.rest, *clip.rest[-2:0:-1]]) for clip in clips]
    frames: list[np.ndarray] = []
    wav: list[np.ndarray] = []
    truth: list[int] = []
    speaker = int(rng.integers(2))
    if composition.both_move:
        positions = [int(rng.integers(len(clip.frames))) for clip in clips]
    for _ in range(composition.turns):
        count = int(rng.integers(*(round(seconds * FPS) for seconds in composition.turn_seconds)))
        numbers: list[list[int]] = []
        for person, clip in enumerate(clips):
            if person == speaker or composition.both_move:
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
    clips: dict[str, Footage], composition: Composition, repeats: int, detector: Detector,
    expert: StreamingExpert | None,
) -> list[tuple[str, np.ndarray]]:  # fmt: skip
    """Return the confusion table of every two clips, over all repeats."""
    tables = []
    pairs = list(itertools.combinations(clips, 2))
    with tempfile.TemporaryDirectory() as folder:
        for number, (a, b) in enumerate(pairs):
            table = np.zeros((2, 3), int)
            for seed in range(number, repeats * len(pairs), len(pairs)):
                video = Path(folder) / f"{seed}.mp4"
                truth = compose(clips[a], clips[b], video, seed, composition)
                table += confusion(video, truth, clips[a].frames[0].shape[1], detector, expert)
            tables.append((f"{a}, {b}", table))
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
    parser.add_argument("--turn_seconds", nargs=2, type=float, default=(1.5, 4.0), metavar=("MIN", "MAX"))
    parser.add_argument("--repeats", type=int, default=1, help="videos of each pair")
    parser.add_argument("--both_move", action="store_true")
    parser.add_argument("--equalize", action="store_true")
    parser.add_argument("--sync_expert", type=Path, metavar="FILE")
    parser.add_argument("--record", action="store_true", help=f"append to {RESULTS.name}")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    expert = None if args.sync_expert is None else load_expert(args.sync_expert)
    clips = {path.stem: Footage.read(path) for path in args.videos}
    if args.equalize:
        clips = {name: clip.equalized() for name, clip in clips.items()}
    composition = Composition(args.turns, tuple(args.turn_seconds), args.both_move)
    text = format_tables(measure(clips, composition, args.repeats, build_detector("mtcnn"), expert))
    print(text)
    if args.record:
        mode = "both mouths move" if args.both_move else "the other one rests"
        mode += ", equal spectrum" if args.equalize else ""
        with RESULTS.open("a", encoding="utf-8") as file:
            seconds = "{:g} to {:g} s".format(*composition.turn_seconds)
            file.write(f"\n{len(args.videos)} clips, {args.turns} turns of {seconds}, {mode}:\n\n{text}\n")


if __name__ == "__main__":
    main()
