"""Requests of jobs from the values of the components of a tab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wav2lip.engines import SADTALKER, EngineOptions
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSyncOptions
from wav2lip.serve.job_requests import MAX_VOICES
from wav2lip.serve.jobs.options import parse_job_options

DEFAULT_FACES = LipSyncOptions().faces


@dataclass(frozen=True)
class JobForm:
    """Files of the page and options of a job."""

    face: str
    audio: str | None
    options: EngineOptions
    model: str = ""
    reference: str | None = None
    other_audio: tuple[str, ...] = ()  # of the second selected face, and so on


BuildForm = Callable[..., JobForm]  # takes the values of the components


def build_lipsync_form(
    face: str | None, audio: str | None, model: str, faces: str, fit: str, short: str, blend: str, silence: str,
    pad_top: float | None = None, pad_bottom: float | None = None, pad_left: float | None = None,
    pad_right: float | None = None, enhancer: str | None = None, other_audio: Sequence[str] | None = None,
) -> JobForm:  # fmt: skip
    """Build a lip-sync job. Raises: InputError for a missing file or an option out of range.

    pads: all empty for those of the checkpoint; otherwise an empty one is 0.
    other_audio: of further faces; with the default of `faces` they are the next ones to the right.
    """
    if not face:
        raise InputError("no face: choose a video or a photo")
    if not audio:
        raise InputError("no audio: choose a file with audio, or record some")
    others = tuple(other_audio or ())
    if len(others) >= MAX_VOICES:
        raise InputError(f"{len(others)} files with audio of other faces: at most {MAX_VOICES - 1} are possible")
    if others and faces == DEFAULT_FACES:
        faces = ",".join(map(str, range(len(others) + 1)))
    pads = (pad_top, pad_bottom, pad_left, pad_right)
    has_pads = any(pad is not None for pad in pads)
    options = parse_job_options(
        {
            "faces": str(faces), "fit": fit, "short": short, "blend": blend, "silence": silence,
            "pads": tuple(round(pad or 0) for pad in pads) if has_pads else None, "enhancer": enhancer,
        }
    )  # fmt: skip
    return JobForm(face, audio, options, model, other_audio=others)


def build_animation_form(
    source_image: str | None, driven_audio: str | None, preprocess: str, still: bool, enhancer: str | None,
    pose_style: float, size: int, expression_scale: float, blink: str, idle: float | None,
    reference: str | None, ref_info: str, mouth: str | None = None,
) -> JobForm:  # fmt: skip
    """Build a job that animates a photo. Raises: InputError for a missing file or an option out of range.

    ref_info: not used without a reference.
    """
    if not source_image:
        raise InputError("no photo: choose one")
    if not driven_audio and not idle and not (reference and ref_info == "all"):
        raise InputError("no audio: choose a file with speech, record some, or set the seconds of an idle video")
    values = {
        "preprocess": preprocess, "still": still, "enhancer": enhancer, "pose_style": round(pose_style), "size": size,
        "expression_scale": expression_scale, "blink": blink, "idle": idle or None, "mouth": mouth,
    }  # fmt: skip
    if reference:
        values["ref_info"] = ref_info
    options = parse_job_options(values, SADTALKER, Path(reference) if reference else None)
    return JobForm(source_image, driven_audio or None, options, reference=reference or None)
