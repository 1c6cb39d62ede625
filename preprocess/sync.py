"""Sync of every clip: measured, corrected, or set aside with the reason.

python -m preprocess.sync data_root=DIR                bootstrap: learn to judge from the data itself
python -m preprocess.sync data_root=DIR expert=FILE    judge with a SyncNet: ours, the public one or SyncNet v2
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig
from tqdm import tqdm

from configs import entry
from preprocess import duplicates
from preprocess.bootstrap import FEWEST_CLIPS, bootstrap, sample, spread_evenly
from preprocess.manifest import FAILED, OK, REJECTED, STATE, Manifest, Record, digest
from preprocess.places import Place, with_recordings
from preprocess.quality_stage import QUALITY, copies_among, measure_quality
from preprocess.resync import recover
from preprocess.runner import Runner
from preprocess.splits import SPLITS, replace_text
from preprocess.sync_scores import (
    STAGE,
    Correct,
    LinearMaker,
    Look,
    LookUp,
    NetworkMaker,
    Score,
    Unit,
    measured,
    save_linear,
    unreadable,
)
from preprocess.sync_verdicts import SyncSettings, judge, summary_of, table
from preprocess.workers import Crash, Crew, Work
from wav2lip.clips import AUDIO, read_filelist
from wav2lip.errors import InputError
from wav2lip.linear_expert import Views

log = logging.getLogger(__name__)

NO_CLIP = f"holds no clip (GROUP/CLIP/{AUDIO}); give the folder that preprocess made"
ROUNDS = "sync_rounds"  # stage under which the manifest keeps how bootstrapping went
BAR = "{desc:9} {bar}| {n_fmt} of {total_fmt} [{elapsed}, {remaining} left]"

T = TypeVar("T")
R = TypeVar("R")


def look_up(root: Path, clips: Sequence[str], crew: Crew) -> tuple[dict[str, Unit], dict[str, Record]]:
    """What the clips of a data set are, by name, and records of those that cannot be read."""
    units: dict[str, Unit] = {}
    broken: dict[str, Record] = {}
    for clip, found in _through(crew, LookUp(root), clips, "clips"):
        if isinstance(found, Unit):
            units[clip] = found
        elif isinstance(found, Crash):
            broken[clip] = Record(STAGE, clip, "", FAILED, found.cause, found.reason)
        else:
            broken[clip] = Record(STAGE, clip, "", REJECTED, "unreadable", found)
    return units, broken


def measure_sync(
    root: Path,
    units: Mapping[str, Unit],
    manifest: Manifest,
    crew: Crew,
    settings: SyncSettings,
    *,
    copies: Sequence[Sequence[str]] = (),
    may_work: bool = True,
    overwrite: bool = False,
) -> tuple[dict[str, Record], dict[str, Any]]:
    """Judge clips of a data set, and correct those that are surely shifted.

    What was measured before, with the same clips and settings, is not measured again, and nothing is moved twice.
    units: clips as `look_up` finds them. copies: clips by recording (`duplicates.groups`): none of them is judged by
        what was learned from, or compared with, another of its recording.
    may_work: False only tells what is known, and moves no sound. overwrite: measure everything again.
    Returns: a record for each clip, REJECTED where it is to be set aside, and the summary for dataset.json. Figures:
        offset (frames by which the sound lay after the lips at first), confidence, sure, applied (frames corrected),
        curve, windows.
    Raises: InputError if something is left to measure and may not be; OSError if a clip cannot be written.
    """
    clips, marked = list(units), _mark(units, settings, copies)
    units = _marked(units, marked, copies)
    stage = _Stage(root, manifest, crew, settings, units, marked)
    if may_work:
        stage.measure(overwrite)
    elif unknown := len(units) - len(stage.known()):
        raise InputError(
            f"{root}: {unknown} clips lack what the stage sync finds out, or changed since; add sync to stages="
        )
    settings = replace(settings, correct=settings.correct and may_work)
    known = {clip: _as_it_is(record, units[clip]) for clip, record in stage.known().items()}
    rounds = manifest.find(ROUNDS, "all", marked)
    summary = summary_of(known.values(), settings, rounds.figures["rounds"] if rounds else [])
    records = {clip: judge(record, settings, summary["agreement_found"]) for clip, record in known.items()}
    if settings.correct:
        moving = [record for record in records.values() if record.fate == OK and record.figures["sure"]]
        for record, result in _through(crew, Correct(root), moving, "correct"):
            if isinstance(result, Crash):
                records[record.key] = replace(record, fate=FAILED, cause=result.cause, reason=result.reason)
    records |= stage.crashed
    return {clip: records[clip] for clip in clips}, summary


def _mark(units: Mapping[str, Unit], settings: SyncSettings, copies: Sequence[Sequence[str]]) -> str:
    """What stands for the expert: a bootstrapped one depends on all clips; one that was given does not."""
    if settings.expert is not None:
        return digest(settings.key())
    clips = sorted((clip, unit.state.origin) for clip, unit in units.items())
    return digest(settings.key(), clips, sorted(sorted(group) for group in copies))


def _marked(units: Mapping[str, Unit], marked: str, copies: Sequence[Sequence[str]]) -> dict[str, Unit]:
    """Units in order of name that know their copies and have their fingerprint."""
    ordered = dict(sorted(units.items()))
    places = with_recordings((unit.place for unit in ordered.values()), copies)
    return {
        place.clip: replace(unit, place=place, fingerprint=digest(marked, place.clip, unit.state.origin))
        for place, unit in zip(places, ordered.values(), strict=True)
    }


def _as_it_is(record: Record, unit: Unit) -> Record:
    """A record with what was done to the clip since, rather than when it was measured."""
    return replace(record, figures={**record.figures, "applied": unit.state.applied}) if record.fate == OK else record


def _through(crew: Crew, work: Work[T, R], units: Sequence[T], doing: str) -> Iterator[tuple[T, R | Crash]]:
    """Have a work done to all units, with a progress bar."""
    with tqdm(total=len(units), desc=doing, disable=None if units else True, bar_format=BAR) as bar:
        for done in crew.do(work, units):
            bar.update()
            yield done


@dataclass
class _Stage:
    """Everything that measuring needs."""

    root: Path
    manifest: Manifest
    crew: Crew
    settings: SyncSettings
    units: dict[str, Unit]
    marked: str  # stands for the expert and the settings

    def __post_init__(self) -> None:
        self.crashed: dict[str, Record] = {}

    def known(self) -> dict[str, Record]:
        """What is known of the clips as they are."""
        found = {clip: self.manifest.find(STAGE, clip, unit.fingerprint) for clip, unit in self.units.items()}
        return {clip: record for clip, record in found.items() if record is not None}

    def measure(self, overwrite: bool) -> None:
        """Measure what is not known yet, or everything."""
        known = self.known()
        if overwrite:
            for clip in known:
                self.manifest.add(Record(STAGE, clip, ""))
            known = {}
        todo = {clip: unit for clip, unit in self.units.items() if clip not in known}
        if not todo:
            return
        places = [unit.place for unit in self.units.values()]
        compared = tuple(spread_evenly(places, self.settings.others))
        if self.settings.expert is not None:
            makers: tuple[Any, ...] = (NetworkMaker(self.settings.expert, self.settings.device),)
        else:
            makers, compared, todo = self._bootstrap(todo, places)
        work = Score(self.root, makers, compared, self.settings.reach)
        for unit, found in _through(self.crew, work, list(todo.values()), "sync"):
            if isinstance(found, Crash):
                self._crash(unit, found)
            else:
                self.manifest.add(found)

    def _crash(self, unit: Unit, crash: Crash) -> None:
        clip = unit.place.clip
        self.crashed[clip] = Record(STAGE, clip, unit.fingerprint, FAILED, crash.cause, crash.reason)

    def _bootstrap(
        self, todo: dict[str, Unit], places: list[Place]
    ) -> tuple[tuple[LinearMaker, ...], tuple[Place, ...], dict[str, Unit]]:
        """Learn experts; returns them, the clips to compare with, and the clips that they have yet to judge."""
        views = self._views(sample(places, self.settings.minutes))
        learned = [self.units[clip].place for clip in views]
        if len(views) < FEWEST_CLIPS:
            for unit in self._left(todo).values():
                self.manifest.add(measured(unit, None))
            return (), (), {}
        options = self.settings
        result = bootstrap(
            views, learned, sure=options.sure, reach=options.reach, folds=options.folds, others=options.others
        )
        folder = self.manifest.folder / STAGE
        for old in folder.glob("expert_*.npz"):  # of other clips or settings
            old.unlink()
        makers = []
        for fold, expert in enumerate(result.experts):
            path = folder / f"expert_{self.marked}_{fold}.npz"
            save_linear(expert, path)
            makers.append(LinearMaker(str(path)))
        self.manifest.add(Record(ROUNDS, "all", self.marked, figures={"rounds": result.rounds}))
        for clip, unit in todo.items():
            if clip in result.syncs:
                self.manifest.add(measured(unit, result.syncs[clip]))
        rest = _with_folds(self._left(todo), learned, result.folds)
        return tuple(makers), tuple(spread_evenly(learned, options.others)), rest

    def _left(self, units: dict[str, Unit]) -> dict[str, Unit]:
        """Those of the units of which nothing is known and that did not crash."""
        known = self.known()
        return {clip: unit for clip, unit in units.items() if clip not in known and clip not in self.crashed}

    def _views(self, sample: Sequence[Place]) -> dict[str, Views]:
        """What the linear expert needs of these clips, by clip in order of name; of those that can be read."""
        views: dict[str, Views] = {}
        for unit, found in _through(self.crew, Look(self.root), [self.units[p.clip] for p in sample], "look"):
            if isinstance(found, Crash):
                self._crash(unit, found)
            elif isinstance(found, str):
                self.manifest.add(unreadable(unit, found))
            else:
                views[unit.place.clip] = found
        return {clip: views[clip] for clip in sorted(views)}


def _with_folds(units: Mapping[str, Unit], learned: Sequence[Place], folds: Mapping[str, int]) -> dict[str, Unit]:
    """Units with the fold of what was learned from nearest to them, a copy first: its expert saw nothing of that."""
    copied = {place.recording: folds[place.clip] for place in learned if place.recording}
    near: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place in learned:
        near[place.source].append((place.first, folds[place.clip]))

    def fold_of(place: Place) -> int:
        if place.recording in copied:
            return copied[place.recording]
        inside = near.get(place.source)
        return min(inside, key=lambda at: abs(at[0] - place.first))[1] if inside else 0

    return {clip: replace(unit, fold=fold_of(unit.place)) for clip, unit in units.items()}


def find_clips(root: Path) -> list[str]:
    """Clip ids of all clips under a data root, sorted."""
    found = (path.parent.relative_to(root) for path in root.glob(f"*/*/{AUDIO}"))
    return sorted(clip.as_posix() for clip in found if not any(part.startswith(".") for part in clip.parts))


def trim_filelists(folder: Path, records: Mapping[str, Record]) -> None:
    """Take the clips that were set aside out of the file lists that are there."""
    for name in SPLITS:
        path = folder / f"{name}.txt"
        if path.exists() and path.stat().st_size:
            clips = read_filelist(path, folder.parent)
            kept = [clip for clip in clips if clip not in records or records[clip].fate == OK]
            replace_text(path, "".join(f"{clip}\n" for clip in kept))


def sync(cfg: DictConfig) -> None:
    """Judge the sync of a data set as a config says, and print what was found."""
    # parse
    root = Path(str(cfg.data_root))
    settings = SyncSettings(
        expert=None if cfg.expert is None else str(cfg.expert),
        sure=cfg.sure,
        reach=cfg.reach,
        folds=cfg.folds,
        minutes=cfg.minutes,
        others=cfg.others,
        correct=cfg.correct,
        device=cfg.device,
    )
    if settings.expert is not None and cfg.bootstrap:
        raise InputError("bootstrap=true: learns an expert from the data, but expert= names one; give one of the two")
    if not find_clips(root) and not (root / STATE).exists():
        raise InputError(f"{root}: {NO_CLIP}")

    # run
    try:
        with Manifest(root) as manifest, Crew(cfg.workers) as crew:
            recover(root)  # before clips are looked for: a run that was killed may have left one aside
            records, summary = _judge_all(root, manifest, crew, settings)
        if settings.correct:
            trim_filelists(root / "filelists", records)
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error}); make room, or copy the clips elsewhere") from error
    print(table(records, summary))  # noqa: T201 - the answer to the command


def _judge_all(
    root: Path, manifest: Manifest, crew: Crew, settings: SyncSettings
) -> tuple[dict[str, Record], dict[str, Any]]:
    """Records of all clips under a data root, and the summary."""
    clips = find_clips(root)
    if not clips:
        raise InputError(f"{root}: {NO_CLIP}")
    units, broken = look_up(root, clips, crew)
    qualities = measure_quality(root, units, Runner(manifest, crew, (QUALITY, STAGE)))
    copies = duplicates.groups(copies_among(units, qualities))
    records, summary = measure_sync(root, units, manifest, crew, settings, copies=copies)
    records |= broken
    return {clip: records[clip] for clip in clips}, summary


def main() -> None:
    """Entry point."""
    entry.run(sync, "sync")


if __name__ == "__main__":
    main()
