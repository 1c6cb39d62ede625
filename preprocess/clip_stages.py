"""What is done with clips once they are cut: judged, dealt out, packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preprocess import duplicates, splits
from preprocess.fates import Verdict
from preprocess.manifest import OK, Record
from preprocess.quality import Limits, Quality, judge
from preprocess.quality_stage import QUALITY, copies_among, measure_quality
from preprocess.runner import Runner
from preprocess.sync import look_up, measure_sync
from preprocess.sync_scores import STAGE, Unit
from preprocess.sync_verdicts import SyncSettings, keep_speakers
from wav2lip.clips import read_info
from wav2lip.windows import FPS


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


def judge_clips(root: Path, clips: Sequence[str], settings: ClipSettings, runner: Runner) -> Judged:
    """Look at the quality of clips, find copies, look at their sync, and deal out what is good.

    Raises: InputError if a stage that may not work has something left to do.
    """
    units, broken = look_up(root, clips, runner.crew)
    qualities = measure_quality(root, units, runner)
    measured = {clip: Quality(**record.figures) for clip, record in qualities.items() if record.fate == OK}
    copies = copies_among(units, qualities)
    sync: dict[str, Record] = {}
    summary: dict[str, Any] | None = None
    if settings.sync is not None and clips:
        sync, summary = _sync(root, units, measured, copies, settings, runner)
    first = QUALITY if settings.sync is None else STAGE  # of the stages that were asked: it met what is broken
    verdicts = {clip: Verdict(first, record.cause, record.reason) for clip, record in broken.items()}
    verdicts |= {clip: _verdict(record) for clip, record in sync.items() if record.fate != OK}
    for clip, record in qualities.items():
        fault = judge(measured[clip], settings.limits) if record.fate == OK else (record.cause, record.reason)
        if fault is not None:
            verdicts.setdefault(clip, Verdict(QUALITY, *fault))
    seconds = {clip: unit.place.frames / FPS for clip, unit in units.items()}
    surplus = duplicates.surplus(
        [pair for pair in copies if pair.one not in verdicts and pair.other not in verdicts],
        {clip: quality.face_pixels for clip, quality in measured.items()},
        seconds,
    )
    for clip, better in surplus.items():
        verdicts[clip] = Verdict(QUALITY, "duplicate", f"shows the same recording as {better}, which is kept")
    dealt = _deal(root, [clip for clip in clips if clip not in verdicts], seconds, copies, settings.shares)
    verdicts |= {clip: Verdict("splits", left.cause, left.reason) for clip, left in dealt.left.items()}
    return Judged(clips, sync, summary, qualities, verdicts, dealt)


def _sync(
    root: Path,
    units: Mapping[str, Unit],
    measured: Mapping[str, Quality],
    copies: Sequence[duplicates.Copies],
    settings: ClipSettings,
    runner: Runner,
) -> tuple[dict[str, Record], dict[str, Any]]:
    """As `measure_sync`; of several faces only the one that speaks, if that is wanted."""
    assert settings.sync is not None
    sync, summary = measure_sync(
        root,
        units,
        runner.manifest,
        runner.crew,
        settings.sync,
        copies=duplicates.groups(copies),
        may_work=STAGE in runner.stages,
        overwrite=runner.overwrite,
    )
    if settings.speaking:
        places = {clip: unit.place for clip, unit in units.items()}
        sizes = {clip: quality.face_pixels for clip, quality in measured.items()}
        sync = keep_speakers(sync, places, sizes, summary["agreement_found"])
    return sync, summary


def _deal(
    root: Path,
    clips: Sequence[str],
    seconds: Mapping[str, float],
    copies: Sequence[duplicates.Copies],
    shares: Shares,
) -> splits.Dealt:
    kept = set(clips)
    return splits.deal(
        (splits.Entry.of(clip, seconds[clip], read_info(root / clip)) for clip in clips),
        val=shares.val,
        test=shares.test,
        seed=shares.seed,
        by=shares.by,
        gap_seconds=shares.gap_seconds,
        copies=[[clip for clip in group if clip in kept] for group in duplicates.groups(copies)],
    )


def _verdict(record: Record) -> Verdict:
    return Verdict(record.stage, record.cause, record.reason)
