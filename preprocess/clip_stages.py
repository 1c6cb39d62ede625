"""What is done with clips once they are cut: judged, dealt out, packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preprocess import duplicates, splits
from preprocess.bootstrap import Place
from preprocess.fates import Verdict
from preprocess.manifest import OK, REJECTED, Record, digest
from preprocess.quality import Limits, Quality, judge, measure
from preprocess.runner import Runner
from preprocess.sync import measure_sync
from preprocess.sync_verdicts import SyncSettings, keep_speakers
from preprocess.workers import Progress, Tools
from wav2lip.clips import AUDIO, INFO, Clip, read_info
from wav2lip.errors import InputError

QUALITY = "quality"
QUALITY_FORMAT = 1  # raised when the same clip measures otherwise than before


@dataclass(frozen=True)
class Shares:
    """How clips are dealt out to train, val and test."""

    val: float = 0.05
    test: float = 0.05
    seed: int = 0
    by: str = "auto"
    gap_seconds: float = splits.GAP_SECONDS

    def __post_init__(self) -> None:
        splits.check_shares(self.val, self.test)


@dataclass(frozen=True)
class ClipSettings:
    """How clips are judged and dealt out."""

    sync: SyncSettings | None = field(default_factory=SyncSettings)  # None: it is not looked at
    speaking: bool = False  # of several faces at a time, only the one that speaks is kept
    limits: Limits = field(default_factory=Limits)
    shares: Shares = field(default_factory=Shares)


@dataclass(frozen=True)
class Judged:
    """What was found out about the clips of a data set."""

    clips: Sequence[str]
    sync: Mapping[str, Record]  # empty if that was not looked at
    sync_summary: dict[str, Any] | None
    qualities: Mapping[str, Record]  # figures: see `Quality`
    verdicts: Mapping[str, Verdict]  # of the clips that are in no file list
    dealt: splits.Dealt


@dataclass(frozen=True)
class MeasureQuality:
    """Measures a clip."""

    root: Path

    def fingerprint(self, clip: str) -> str:
        """Changes when the clip does: it is cut anew, its sound is moved."""
        files = (path for path in (self.root / clip / AUDIO, self.root / clip / INFO) if path.exists())
        return digest(QUALITY, QUALITY_FORMAT, [[file.stat().st_size, file.stat().st_mtime_ns] for file in files])

    def __call__(self, clip: str, tools: Tools, progress: Progress) -> Record:
        """figures: `Quality`."""
        mark = self.fingerprint(clip)
        try:
            quality = measure(Clip.open(self.root / clip), read_info(self.root / clip))
        except InputError as error:
            return Record(QUALITY, clip, mark, REJECTED, "unreadable", str(error))
        return Record(QUALITY, clip, mark, figures=quality.as_json())


def judge_clips(root: Path, clips: Sequence[str], settings: ClipSettings, runner: Runner) -> Judged:
    """Look at the sync and the quality of clips, find copies, and deal out what is good.

    Raises: InputError if a stage that may not work has something left to do.
    """
    sync: dict[str, Record] = {}
    summary: dict[str, Any] | None = None
    verdicts: dict[str, Verdict] = {}
    if settings.sync is not None and clips:
        sync, summary = measure_sync(root, clips, runner.manifest, runner.crew, settings.sync)
        if settings.speaking:
            sync = keep_speakers(sync, {clip: _place(root, clip) for clip in clips})
        verdicts |= {clip: _verdict(record) for clip, record in sync.items() if record.fate != OK}
    qualities = runner.run(QUALITY, MeasureQuality(root), {clip: clip for clip in clips if clip not in verdicts})
    measured: dict[str, Quality] = {}
    for clip, record in qualities.items():
        if record.fate != OK:
            verdicts[clip] = _verdict(record)
            continue
        measured[clip] = Quality(**record.figures)
        broken = judge(measured[clip], settings.limits)
        if broken is not None:
            verdicts[clip] = Verdict(QUALITY, *broken)
    kept = [clip for clip in clips if clip not in verdicts]
    entries = {clip: _entry(root, clip) for clip in kept}
    copies = duplicates.find({clip: measured[clip].hash for clip in kept})
    surplus = duplicates.surplus(
        copies,
        {clip: measured[clip].face_pixels for clip in kept},
        {clip: entry.seconds for clip, entry in entries.items()},
    )
    for clip, better in surplus.items():
        verdicts[clip] = Verdict(QUALITY, "duplicate", f"shows the same recording as {better}, which is kept")
    shares = settings.shares
    dealt = splits.deal(
        (entry for clip, entry in entries.items() if clip not in surplus),
        val=shares.val,
        test=shares.test,
        seed=shares.seed,
        by=shares.by,
        gap_seconds=shares.gap_seconds,
        copies=duplicates.groups(copies),
    )
    verdicts |= {clip: Verdict("splits", left.cause, left.reason) for clip, left in dealt.left.items()}
    return Judged(clips, sync, summary, qualities, verdicts, dealt)


def _verdict(record: Record) -> Verdict:
    return Verdict(record.stage, record.cause, record.reason)


def _place(root: Path, clip: str) -> Place:
    info = read_info(root / clip)
    assert info is not None  # our own clips have one
    return Place(clip, info["source"], round(info["start"] * 25), info["frames"])


def _entry(root: Path, clip: str) -> splits.Entry:
    folder = root / clip
    info = read_info(folder)
    seconds = info["frames"] / 25 if info is not None else float(Clip.open(folder).frames[-1] + 1) / 25
    return splits.Entry.of(clip, seconds, info)
