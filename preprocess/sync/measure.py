"""Measurement of one clip's audio-video offset, as it runs in the workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.curation.clip_inputs import ClipInput
from preprocess.curation.clip_origin import ClipOrigin
from preprocess.sync.apply_offset import apply_offset
from wav2lip.arrays import read_arrays
from wav2lip.dataset.clip import Clip
from wav2lip.errors import InputError
from wav2lip.execution.interface import Progress, WorkerContext, choose_worker_device
from wav2lip.execution.manifest import OK, REJECTED, Record
from wav2lip.sync.cca_expert import CCAExpert, ClipFeatures
from wav2lip.sync.expert import Expert
from wav2lip.sync.offset import OffsetEstimate, estimate_offset
from wav2lip.sync.syncnet_experts import load_expert

STAGE = "sync"


@dataclass(frozen=True)
class CheckpointExpertFactory:
    """Load the expert of a checkpoint."""

    file: str
    device: str = "auto"

    def build(self, worker: int) -> Expert:
        """Load it, with the workers spread over the GPUs."""
        return load_expert(self.file, choose_worker_device(self.device, worker))


@dataclass(frozen=True)
class CCAExpertFactory:
    """Load a bootstrapped expert."""

    file: str

    def build(self, _worker: int) -> Expert:
        """Read a file written by `save_cca_expert`."""
        return CCAExpert(**read_arrays(self.file))


def save_cca_expert(expert: CCAExpert, path: Path) -> None:
    """Write an expert for `CCAExpertFactory`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **asdict(expert))


@dataclass(frozen=True)
class NegativesFactory:
    """Embed the audio of other clips, with which the lips of each clip are compared."""

    root: Path
    expert: CheckpointExpertFactory | CCAExpertFactory
    origins: tuple[ClipOrigin, ...]

    def build(self, worker: int) -> list[tuple[ClipOrigin, np.ndarray]]:
        """Return audio embeddings by clip; unreadable clips are skipped, as their own turn reports them."""
        expert = self.expert.build(worker)
        negatives = []
        for origin in self.origins:
            try:
                negatives.append((origin, expert.embed(Clip.open(self.root / origin.clip)).audio))
            except InputError:
                continue
        return negatives


@dataclass(frozen=True)
class MeasureOffset:
    """Estimate the offset of a clip."""

    root: Path
    experts: tuple[CheckpointExpertFactory | CCAExpertFactory, ...]  # one per fold
    negatives: tuple[ClipOrigin, ...]
    max_offset: int  # frames

    def __call__(self, clip_input: ClipInput, context: WorkerContext, progress: Progress) -> Record:
        """Return the record for the manifest; `decide` adds the decision."""
        factory = self.experts[clip_input.fold % len(self.experts)]
        negatives = context.get(NegativesFactory(self.root, factory, self.negatives))
        try:
            embedding = context.get(factory).embed(Clip.open(self.root / clip_input.clip))
        except InputError as error:
            return unreadable_record(clip_input, str(error))
        other_audio = [audio for origin, audio in negatives if not origin.shares_audio_with(clip_input.origin)]
        return offset_record(clip_input, estimate_offset(embedding, other_audio, self.max_offset))


def unreadable_record(clip_input: ClipInput, reason: str) -> Record:
    """Return the record of an unreadable clip."""
    return Record(STAGE, clip_input.clip, clip_input.fingerprint, REJECTED, "unreadable", reason)


def offset_record(clip_input: ClipInput, estimate: OffsetEstimate | None) -> Record:
    """Return the record of a measured clip, without a decision.

    `offset` and `peak` refer to the clip before any correction, `curve` to the clip as it is.
    """
    applied = clip_input.state.applied
    data: dict[str, Any] = {"applied": applied}
    if estimate is not None:
        data |= {
            "offset": applied + estimate.offset,
            "peak": round(applied + estimate.peak, 2),
            "confidence": round(estimate.confidence, 2),
            "at_edge": estimate.at_edge,
            "windows": estimate.windows,
            "curve": [round(float(value), 4) for value in estimate.curve],
        }
    return Record(STAGE, clip_input.clip, clip_input.fingerprint, OK, data=data)


@dataclass(frozen=True)
class ExtractFeatures:
    """Read the features to which a CCA expert is fitted."""

    root: Path

    def __call__(self, clip_input: ClipInput, context: WorkerContext, progress: Progress) -> ClipFeatures | str:
        """Return the features, or an error message for an unreadable clip."""
        try:
            return ClipFeatures.from_clip(Clip.open(self.root / clip_input.clip))
        except InputError as error:
            return str(error)


@dataclass(frozen=True)
class CorrectOffset:
    """Shift the audio of a clip by its measured offset."""

    root: Path

    def __call__(self, record: Record, context: WorkerContext, progress: Progress) -> None:
        """Apply the decision of a record; see `apply_offset`."""
        info = {"sync_offset": record.data["offset"], "sync_confidence": record.data["confidence"]}
        apply_offset(self.root, record.key, record.data["applied"], info)
