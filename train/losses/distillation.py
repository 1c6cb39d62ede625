"""Distillation: a trained generator whose frames and attention a thinner one imitates (Hinton et al. 2015)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import astuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models import Wav2Lip
from wav2lip.checkpoints import build_network, load_checkpoint
from wav2lip.errors import InputError
from wav2lip.faces.framing import FaceFraming
from wav2lip.lipsync.backends.exported import checkpoint_framing
from wav2lip.types import PathType

log = logging.getLogger(__name__)


def load_teacher(path: PathType, resolution: int, framing: FaceFraming) -> Wav2Lip:
    """Load a teacher for a student of `resolution` pixels that is trained on crops of `framing`.

    A teacher that was trained on crops of other boxes is used with a warning, because its frames are worse on these.
    Raises: InputError if the file is not a generator, or of another resolution.
    """
    checkpoint = load_checkpoint(path)
    teacher = build_network(checkpoint, path, Wav2Lip)
    if teacher.resolution != resolution:
        raise InputError(
            f"teacher_checkpoint_path={path}: generates faces of {teacher.resolution} pixels, the student of "
            f"{resolution}; add model=wav2lip_{teacher.resolution}, or give another teacher"
        )
    own = checkpoint_framing(path, checkpoint.extras)
    if own is not None and _boxes(own) != _boxes(framing):
        log.warning(
            "teacher_checkpoint_path=%s: was trained on crops with %s, but the data has %s; its frames are worse on "
            "these, so preprocess the data alike or give another teacher", path, _describe(own), _describe(framing),
        )  # fmt: skip
    return teacher


def attention_distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return the distance of attention maps (Zagoruyko and Komodakis 2017, arXiv 1612.03928), the mean over stages.

    A map is the mean square of the features over the channels, divided by its Euclidean norm, so that networks of
    different widths can be compared without a trained projection.

    student, teacher: features of each stage, (N, C, h, w) with an equal number of stages; C may differ.
    Returns: squared Euclidean distance, between 0 and 2.
    """
    distances = [
        (_attention_map(a) - _attention_map(b)).square().sum(dim=1).mean()
        for a, b in zip(student, teacher, strict=True)
    ]
    return torch.stack(distances).mean()


def _attention_map(features: Tensor) -> Tensor:
    """Return the map (N, h * w) of features (N, C, h, w), in float32 or wider."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    return F.normalize(wide.square().mean(dim=1).flatten(1), dim=1)


def _boxes(framing: FaceFraming) -> tuple[object, ...]:
    return framing.pads, framing.detector


def _describe(framing: FaceFraming) -> str:
    detector = "boxes of an unknown detector" if framing.detector is None else f"boxes of {framing.detector}"
    return f"{detector} and pads of {' '.join(map(str, astuple(framing.pads)))}"
