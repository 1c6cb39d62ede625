"""Recovery of synthetic sync errors: a third of the clips is shifted, a tenth gets the audio of other clips.

    python benchmarks/sync_recovery.py                          on synthetic talking heads
    python benchmarks/sync_recovery.py --data DIR               on your own clips, which must be in sync
    python benchmarks/sync_recovery.py --data DIR --expert FILE

Clips are cut into segments, copied with errors and checked by `python -m preprocess.sync`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from face_detection import build_detector
from preprocess.sync.decide import SyncSettings, decide, summarize
from wav2lip.audio import load_wav
from wav2lip.dataset.clip import AUDIO, Clip, ClipWriter, read_info
from wav2lip.execution.manifest import OK, Manifest, Record
from wav2lip.synthetic import Speaker, render, speak

FPS = 25
SAMPLES_PER_FRAME = 640
KINDS = ("untouched", "shifted", "swapped")


@dataclass(frozen=True)
class Truth:
    """Error that was applied to a clip."""

    source: str
    shift: int | None  # delay of the audio in frames; None: audio of another clip


@dataclass(frozen=True)
class Segment:
    """Part of a clip that is in sync."""

    clip: Path
    start: int  # first frame
    frames: int
    source: str

    def read_audio(self, shift: int = 0) -> np.ndarray:
        """Read the audio delayed by `shift` frames; the ends continue into the rest of the clip."""
        wav = load_wav(self.clip / AUDIO)
        begin, end = (self.start - shift) * SAMPLES_PER_FRAME, (self.start - shift + self.frames) * SAMPLES_PER_FRAME
        inside = wav[max(0, begin) : max(0, end)]
        return np.pad(inside, (max(0, -begin), max(0, end - max(0, begin) - len(inside))))


def make_clips(root: Path, speakers: int, seconds: float) -> None:
    """Render two clips of each synthetic speaker."""
    detector = build_detector("haar")
    for number in range(speakers):
        speaker = Speaker.from_seed(number)
        for clip_number in range(2):
            speech = speak(seconds, speaker, 2 * number + clip_number)
            frames = list(render(speech, speaker, 2 * number + clip_number))
            boxes = [faces[0].box for faces in detector.detect(frames[::10]) if faces]
            left, top, right, bottom = np.median(boxes, axis=0).round().astype(int)
            with ClipWriter(root, f"speaker_{number:02d}/{clip_number}") as clip:
                for n, frame in enumerate(frames):
                    clip.write_frame(n, frame[max(0, top) : bottom, max(0, left) : right])
                clip.write_audio([speech.wav[: len(frames) * SAMPLES_PER_FRAME].astype(np.float32)])


def cut_segments(root: Path, seconds: float) -> Iterator[Segment]:
    """Cut every clip into segments of about this length."""
    for audio in sorted(root.glob(f"*/*/{AUDIO}")):
        clip = Clip.open(audio.parent)
        frames = min(int(clip.frames[-1]) + 1, len(load_wav(audio)) // SAMPLES_PER_FRAME)
        count = max(1, round(frames / (25 * seconds)))
        edges = np.linspace(0, frames, count + 1).astype(int)
        source = (read_info(clip.path) or {}).get("source", clip.path.relative_to(root).as_posix())
        for first, last in pairwise(edges):
            yield Segment(clip.path, int(first), int(last - first), source)


def write_errors(segments: list[Segment], root: Path, seed: int, shifted: float, swapped: float) -> dict[str, Truth]:
    """Write the segments as clips; `shifted` and `swapped` are the shares with a shift and with other audio."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(segments)).tolist()
    moved = set(order[: round(shifted * len(order))])
    others = order[len(moved) : len(moved) + (max(2, round(swapped * len(order))) if swapped else 0)]
    donors = dict(zip(others, others[1:] + others[:1], strict=True))
    truth = {}
    for number, segment in enumerate(segments):
        clip_id = f"{segment.clip.parent.name}_{segment.clip.name}/{segment.start:06d}"
        shift = int(rng.integers(3, 13) * rng.choice([-1, 1])) if number in moved else 0
        audio = segments[donors[number]].read_audio() if number in donors else segment.read_audio(shift)
        truth[clip_id] = Truth(segment.source, None if number in donors else shift)
        with ClipWriter(root, clip_id) as clip:
            for frame in range(segment.frames):
                image = segment.clip / f"{segment.start + frame}.jpg"
                if image.exists():
                    os.link(image, clip.folder / f"{frame}.jpg")
            clip.write_audio([np.resize(audio, segment.frames * SAMPLES_PER_FRAME)])
            info = {"source": segment.source, "start": segment.start / 25, "frames": segment.frames, "fps": 25}
            clip.write_info(info)
    return truth


def run_sync(root: Path, expert: str | None) -> tuple[dict[str, Record], str]:
    """Run preprocess.sync; returns the record of each clip and the conclusion on all."""
    options = [] if expert is None else [f"expert='{expert}'"]
    command = [sys.executable, "-m", "preprocess.sync", f"data_root='{root}'", "workers=1", "correct=false", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    settings = SyncSettings(expert=expert, correct=False)
    with Manifest(root) as manifest:
        measured = dict(manifest.records("sync"))
    summary = summarize(measured.values(), settings, [])
    conclusion, agreement_found = summary["conclusion"], summary["agreement_found"]
    if agreement_found is None:
        raise SystemExit(conclusion)
    return {clip: decide(record, settings, agreement_found) for clip, record in measured.items()}, conclusion


def estimate_source_offsets(records: dict[str, Record], truth: dict[str, Truth]) -> dict[str, int]:
    """Return the audio delay of each source in frames before any error is applied, where it is confident."""
    offsets_by_source = defaultdict(list)
    for clip, record in records.items():
        if record.status == OK:
            offsets_by_source[truth[clip].source].append(record.data["offset"])
    return {source: round(float(np.median(offsets))) for source, offsets in offsets_by_source.items()}


def confusion(
    records: dict[str, Record], truth: dict[str, Truth], before: dict[str, int]
) -> Counter[tuple[str, str]]:  # fmt: skip
    """Count the outcomes of each kind of clip."""
    counts: Counter[tuple[str, str]] = Counter()
    for clip, true in truth.items():
        kind = "swapped" if true.shift is None else "shifted" if true.shift else "untouched"
        if records[clip].status != OK:
            counts[kind, "dropped"] += 1
            continue
        error = None if true.shift is None else records[clip].data["offset"] - true.shift - before.get(true.source, 0)
        counts[kind, "right" if error is not None and abs(error) <= 1 else "wrong"] += 1
    return counts


def format_table(counts: Counter[tuple[str, str]]) -> str:
    """Format the confusion table in Markdown."""
    lines = [
        "| truth | clips | confident, offset within 1 frame | confident, offset wrong | dropped |",
        "|---|---|---|---|---|",
    ]
    for kind in KINDS:
        cells = [counts[kind, outcome] for outcome in ("right", "wrong", "dropped")]
        lines.append(f"| {kind} | {sum(cells)} | {cells[0]} | {cells[1]} | {cells[2]} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of clips in sync; default: synthetic ones")
    parser.add_argument("--expert", help="SyncNet checkpoint; default: bootstrap")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a segment")
    parser.add_argument("--speakers", type=int, default=30, help="number of synthetic speakers, two clips each")
    parser.add_argument("--seeds", type=int, default=3, help="number of random selections, summed")
    parser.add_argument("--all-swapped", action="store_true", help="give every clip the audio of another")
    args = parser.parse_args()
    total: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(dir=args.data.parent if args.data else None) as scratch:
        data = args.data or Path(scratch) / "synthetic"
        if not args.data:
            make_clips(data, args.speakers, args.seconds)
        segments = list(cut_segments(data, args.seconds))
        print(f"{len(segments)} clips, {sum(p.frames for p in segments) / 25:.0f} s")
        truth = write_errors(segments, Path(scratch) / "untouched", 0, 0, 0)
        records, conclusion = run_sync(Path(scratch) / "untouched", args.expert)
        before = {} if args.all_swapped else estimate_source_offsets(records, truth)
        print(f"untouched: {conclusion}; sources with an offset: { {k: v for k, v in before.items() if v} }")
        for seed in range(args.seeds):
            root = Path(scratch) / f"seed_{seed}"
            truth = write_errors(segments, root, seed, *((0, 1) if args.all_swapped else (1 / 3, 1 / 10)))
            start_time = time.monotonic()
            records, conclusion = run_sync(root, args.expert)
            total += confusion(records, truth, before)
            print(f"seed {seed}: {conclusion} ({time.monotonic() - start_time:.0f} s)")
    print(format_table(total))


if __name__ == "__main__":
    main()
