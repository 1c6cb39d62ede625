"""What is done to one clip to judge its sync; runs in the crew's processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from preprocess.manifest import OK, REJECTED, Record
from preprocess.places import Place, place_of
from preprocess.resync import State, resync, state_of
from preprocess.workers import Progress, Tools
from wav2lip.clips import Clip
from wav2lip.devices import choose_device
from wav2lip.errors import InputError
from wav2lip.linear_expert import LinearExpert, Views
from wav2lip.network_experts import load_expert
from wav2lip.sync import Expert, Sync, measure

STAGE = "sync"


@dataclass(frozen=True)
class Unit:
    """A clip to be judged."""

    place: Place
    state: State
    fingerprint: str = ""  # of the clip, the expert and the settings
    fold: int = 0  # whose expert never saw it


@dataclass(frozen=True)
class LookUp:
    """Finds out what a clip is."""

    root: Path

    def __call__(self, unit: str, tools: Tools, progress: Progress) -> Unit | str:
        """What the clip of this id is, or why it is none."""
        try:
            return Unit(place_of(self.root, unit), state_of(self.root, unit))
        except InputError as error:
            return str(error)


@dataclass(frozen=True)
class NetworkMaker:
    """Builds the expert of a checkpoint."""

    file: str
    device: str = "auto"

    def build(self, worker: int) -> Expert:
        """Several workers spread over the GPUs there are."""
        device = choose_device(self.device)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", worker % torch.cuda.device_count())
        return load_expert(self.file, device)


@dataclass(frozen=True)
class LinearMaker:
    """Reads an expert that bootstrapping left."""

    file: str

    def build(self, _worker: int) -> Expert:
        """As `save_linear` wrote it."""
        with np.load(self.file) as arrays:
            return LinearExpert(**arrays)


def save_linear(expert: LinearExpert, path: Path) -> None:
    """Write an expert for `LinearMaker`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **asdict(expert))


@dataclass(frozen=True)
class Comparison:
    """Builds what clips are compared with: the sounds of some others, as an expert hears them."""

    root: Path
    expert: NetworkMaker | LinearMaker
    places: tuple[Place, ...]

    def build(self, worker: int) -> list[tuple[Place, np.ndarray]]:
        """Sounds by place; clips that cannot be read are left out, as their own turn will tell."""
        expert = self.expert.build(worker)
        sounds = []
        for place in self.places:
            try:
                sounds.append((place, expert.embed(Clip.open(self.root / place.clip)).sound))
            except InputError:
                continue
        return sounds


@dataclass(frozen=True)
class Score:
    """Measures a clip."""

    root: Path
    experts: tuple[NetworkMaker | LinearMaker, ...]  # by fold
    compared: tuple[Place, ...]
    reach: int

    def __call__(self, unit: Unit, tools: Tools, progress: Progress) -> Record:
        """What was found, for the manifest."""
        maker = self.experts[unit.fold % len(self.experts)]
        sounds = tools.get(Comparison(self.root, maker, self.compared))
        try:
            clip = tools.get(maker).embed(Clip.open(self.root / unit.place.clip))
        except InputError as error:
            return unreadable(unit, str(error))
        foreign = [sound for place, sound in sounds if not place.shares_sound_with(unit.place)]
        return measured(unit, measure(clip, foreign, self.reach))


def unreadable(unit: Unit, reason: str) -> Record:
    """The record of a clip that cannot be read."""
    return Record(STAGE, unit.place.clip, unit.fingerprint, REJECTED, "unreadable", reason)


def measured(unit: Unit, found: Sync | None) -> Record:
    """The record of a clip that was measured: figures only, what they are worth is for `preprocess.sync` to say.

    `offset` counts from the clip as it was before any correction, the curve from the clip as it is.
    """
    figures: dict[str, Any] = {"applied": unit.state.applied}
    if found is not None:
        figures |= {
            "offset": unit.state.applied + found.offset,
            "peak": round(unit.state.applied + found.peak, 2),
            "confidence": round(found.confidence, 2),
            "at_edge": found.at_edge,
            "windows": found.windows,
            "curve": [round(float(value), 4) for value in found.curve],
        }
    return Record(STAGE, unit.place.clip, unit.fingerprint, OK, figures=figures)


@dataclass(frozen=True)
class Look:
    """Reads what the linear expert needs of a clip."""

    root: Path

    def __call__(self, unit: Unit, tools: Tools, progress: Progress) -> Views | str:
        """The views, or why there are none."""
        try:
            return Views.of(Clip.open(self.root / unit.place.clip))
        except InputError as error:
            return str(error)


@dataclass(frozen=True)
class Correct:
    """Moves a clip's sound to where its verdict wants it."""

    root: Path

    def __call__(self, unit: Record, tools: Tools, progress: Progress) -> None:
        """As `resync`, for a record that has its verdict."""
        note = {"sync_offset": unit.figures["offset"], "sync_confidence": unit.figures["confidence"]}
        resync(self.root, unit.key, unit.figures["applied"], note)
