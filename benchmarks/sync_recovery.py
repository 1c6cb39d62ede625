"""How much of what is put out of sync is found: a third of the clips shifted, a tenth given other clips' sound.

    python benchmarks/sync_recovery.py                          on talking heads that it makes itself
    python benchmarks/sync_recovery.py --data DIR               on your own clips, which must be in sync
    python benchmarks/sync_recovery.py --data DIR --expert FILE

Clips are cut into pieces, and copies of them judged by `python -m preprocess.sync`, started as a user would.
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
from preprocess.manifest import OK, Manifest, Record
from preprocess.sync_verdicts import SyncSettings, judge, summary_of
from wav2lip.audio import load_wav
from wav2lip.clips import AUDIO, Clip, ClipWriter, read_info
from wav2lip.sample import Speaker, render, speak

FRAME = 640  # samples
KINDS = ("untouched", "shifted", "swapped")


@dataclass(frozen=True)
class Truth:
    """What was done to a clip."""

    source: str
    shift: int | None  # frames by which its sound was made later; None: it is another clip's


@dataclass(frozen=True)
class Piece:
    """A part of a clip that is in sync."""

    clip: Path
    first: int
    frames: int
    source: str

    def sound(self, shift: int = 0) -> np.ndarray:
        """Its sound, lying so many frames after its lips; what comes in at an end is what was said there."""
        whole = load_wav(self.clip / AUDIO)
        begin, end = (self.first - shift) * FRAME, (self.first - shift + self.frames) * FRAME
        inside = whole[max(0, begin) : max(0, end)]
        return np.pad(inside, (max(0, -begin), max(0, end - max(0, begin) - len(inside))))


def make_clips(root: Path, speakers: int, seconds: float) -> None:
    """Two takes of each made-up speaker, as clips."""
    detector = build_detector("haar")
    for number in range(speakers):
        speaker = Speaker.from_seed(number)
        for take in range(2):
            speech = speak(seconds, speaker, 2 * number + take)
            frames = list(render(speech, speaker, 2 * number + take))
            boxes = [faces[0].box for faces in detector.detect(frames[::10]) if faces]
            left, top, right, bottom = np.median(boxes, axis=0).round().astype(int)
            with ClipWriter(root, f"speaker_{number:02d}/{take}") as clip:
                for n, frame in enumerate(frames):
                    clip.write_frame(n, frame[max(0, top) : bottom, max(0, left) : right])
                clip.write_audio([speech.wav[: len(frames) * FRAME].astype(np.float32)])


def pieces_of(root: Path, seconds: float) -> Iterator[Piece]:
    """Every clip in pieces of about so many seconds."""
    for audio in sorted(root.glob(f"*/*/{AUDIO}")):
        clip = Clip.open(audio.parent)
        frames = min(int(clip.frames[-1]) + 1, len(load_wav(audio)) // FRAME)
        count = max(1, round(frames / (25 * seconds)))
        edges = np.linspace(0, frames, count + 1).astype(int)
        source = (read_info(clip.path) or {}).get("source", clip.path.relative_to(root).as_posix())
        for first, last in pairwise(edges):
            yield Piece(clip.path, int(first), int(last - first), source)


def put_out_of_sync(pieces: list[Piece], root: Path, seed: int, shifted: float, swapped: float) -> dict[str, Truth]:
    """Write the pieces as clips, with these shares of them shifted and given other clips' sound."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pieces)).tolist()
    moved = set(order[: round(shifted * len(order))])
    others = order[len(moved) : len(moved) + (max(2, round(swapped * len(order))) if swapped else 0)]
    giver = dict(zip(others, others[1:] + others[:1], strict=True))
    truth = {}
    for number, piece in enumerate(pieces):
        clip_id = f"{piece.clip.parent.name}_{piece.clip.name}/{piece.first:06d}"
        shift = int(rng.integers(3, 13) * rng.choice([-1, 1])) if number in moved else 0
        sound = pieces[giver[number]].sound() if number in giver else piece.sound(shift)
        truth[clip_id] = Truth(piece.source, None if number in giver else shift)
        with ClipWriter(root, clip_id) as clip:
            for frame in range(piece.frames):
                picture = piece.clip / f"{piece.first + frame}.jpg"
                if picture.exists():
                    os.link(picture, clip.folder / f"{frame}.jpg")
            clip.write_audio([np.resize(sound, piece.frames * FRAME)])
            info = {"source": piece.source, "start": piece.first / 25, "frames": piece.frames, "fps": 25}
            clip.write_info(info)
    return truth


def judged(root: Path, expert: str | None) -> tuple[dict[str, Record], str]:
    """Run preprocess.sync; returns what it says of each clip, and of all."""
    options = [] if expert is None else [f"expert='{expert}'"]
    command = [sys.executable, "-m", "preprocess.sync", f"data_root='{root}'", "workers=1", "correct=false", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    settings = SyncSettings(expert=expert, correct=False)
    with Manifest(root) as manifest:
        measured = dict(manifest.records("sync"))
    summary = summary_of(measured.values(), settings, [])
    return {clip: judge(measured[clip], settings, summary["agreement_found"]) for clip in measured}, summary["verdict"]


def offsets_of_sources(records: dict[str, Record], truth: dict[str, Truth]) -> dict[str, int]:
    """How far the sound of each source lies after its lips before anything is done to it, where that is sure."""
    found = defaultdict(list)
    for clip, record in records.items():
        if record.fate == OK:
            found[truth[clip].source].append(record.figures["offset"])
    return {source: round(float(np.median(offsets))) for source, offsets in found.items()}


def confusion(
    records: dict[str, Record], truth: dict[str, Truth], before: dict[str, int]
) -> Counter[tuple[str, str]]:  # fmt: skip
    """How often each kind of clip met each fate."""
    counts: Counter[tuple[str, str]] = Counter()
    for clip, true in truth.items():
        kind = "swapped" if true.shift is None else "shifted" if true.shift else "untouched"
        if records[clip].fate != OK:
            counts[kind, "set aside"] += 1
            continue
        error = (
            None if true.shift is None else records[clip].figures["offset"] - true.shift - before.get(true.source, 0)
        )
        counts[kind, "right" if error is not None and abs(error) <= 1 else "wrong"] += 1
    return counts


def table(counts: Counter[tuple[str, str]]) -> str:
    """The confusion table in Markdown."""
    lines = [
        "| truth | clips | sure, offset right to within 1 frame | sure, offset wrong | set aside |",
        "|---|---|---|---|---|",
    ]
    for kind in KINDS:
        found = [counts[kind, what] for what in ("right", "wrong", "set aside")]
        lines.append(f"| {kind} | {sum(found)} | {found[0]} | {found[1]} | {found[2]} |")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of clips that are in sync; made up if not given")
    parser.add_argument("--expert", help="checkpoint of a SyncNet; bootstrap if not given")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the pieces")
    parser.add_argument("--speakers", type=int, default=30, help="made-up ones, two takes of each")
    parser.add_argument("--seeds", type=int, default=3, help="draws of what is shifted and swapped, added up")
    parser.add_argument("--all-swapped", action="store_true", help="every clip has another's sound")
    args = parser.parse_args()
    total: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(dir=args.data.parent if args.data else None) as scratch:
        data = args.data or Path(scratch) / "made"
        if not args.data:
            make_clips(data, args.speakers, args.seconds)
        pieces = list(pieces_of(data, args.seconds))
        print(f"{len(pieces)} clips, {sum(p.frames for p in pieces) / 25:.0f} s")
        truth = put_out_of_sync(pieces, Path(scratch) / "untouched", 0, 0, 0)
        records, verdict = judged(Path(scratch) / "untouched", args.expert)
        before = {} if args.all_swapped else offsets_of_sources(records, truth)
        print(f"untouched: {verdict}; sources shifted by themselves: { {k: v for k, v in before.items() if v} }")
        for seed in range(args.seeds):
            root = Path(scratch) / f"seed_{seed}"
            truth = put_out_of_sync(pieces, root, seed, *((0, 1) if args.all_swapped else (1 / 3, 1 / 10)))
            began = time.monotonic()
            records, verdict = judged(root, args.expert)
            total += confusion(records, truth, before)
            print(f"seed {seed}: {verdict} ({time.monotonic() - began:.0f} s)")
    print(table(total))


if __name__ == "__main__":
    main()
