"""From the values of a config to a job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocess.clip_stages import ClipSettings, Shares
from preprocess.detectors import DetectorChoice
from preprocess.pipeline import STAGES, Job, PackSettings
from preprocess.quality import Limits
from preprocess.settings import FaceSettings, SegmentSettings, Settings, ShotSettings
from preprocess.sync_verdicts import SyncSettings
from wav2lip.errors import InputError

SMOOTH_WINDOW = {"haar": 13}  # frames, for detectors whose boxes need more than 5: see docs/detection.md


def build_job(cfg: Mapping[str, Any]) -> Job:
    """The job that configs/preprocess.yaml describes.

    Raises: InputError for a value that cannot be, DetectorError for a detector that cannot be had.
    """
    if cfg["batch_size"] < 1:
        raise InputError(f"batch_size={cfg['batch_size']}: is below 1; give a number of frames")
    public = cfg["compat"] == "public"
    weights = None if cfg["s3fd_weights"] is None else str(cfg["s3fd_weights"])
    wanted = DetectorChoice(cfg["detector"], weights, cfg["device"], cfg["batch_size"], cfg["compat"])
    shots = ShotSettings(None if public else cfg["shots"]["threshold"])
    judged = cfg["sync"]["enabled"] and not public
    keep = _keep(cfg, judged)
    segments = SegmentSettings(keep, cfg["shortest"], None if public else cfg["longest"])
    clips = ClipSettings(
        sync=_sync(cfg) if judged else None,
        speaking=keep == "speaking",
        limits=Limits(**dict.fromkeys(cfg["quality"]) if public else cfg["quality"]),
        shares=Shares(cfg["val"], cfg["test"], cfg["seed"], cfg["split_by"], cfg["gap_seconds"]),
    )
    detector = wanted.resolve()
    window = SMOOTH_WINDOW.get(detector.name, 5) if cfg["smooth_window"] == "auto" else cfg["smooth_window"]
    faces = FaceSettings(detector.name, cfg["compat"], cfg["longest_gap"], window)
    return Job(
        root=Path(str(cfg["out"])),
        settings=Settings(faces, shots, segments, cfg["part_minutes"]),
        detector=detector,
        clips=clips,
        pack=PackSettings(tuple(cfg["pack"]["sizes"]), cfg["pack"]["encoding"]) if cfg["pack"]["sizes"] else None,
        filelists=None if cfg["filelists"] is None else Path(str(cfg["filelists"])),
        batch_size=cfg["batch_size"],
        workers=cfg["workers"],
        stages=STAGES if cfg["stages"] == "all" else _stages(cfg["stages"]),
        overwrite=cfg["overwrite"],
        retry=cfg["retry"],
    )


def _keep(cfg: Mapping[str, Any], judged: bool) -> str:
    """Who speaks is found out by sync; without it, and in one clip for a whole video, the largest face is kept."""
    if cfg["keep"] == "speaking" and (not judged or cfg["longest"] is None):
        return "largest"
    return str(cfg["keep"])


def _sync(cfg: Mapping[str, Any]) -> SyncSettings:
    sync = cfg["sync"]
    expert = None if sync["expert"] is None else str(sync["expert"])
    return SyncSettings(expert=expert, sure=sync["sure"], minutes=sync["minutes"], device=cfg["device"])


def _stages(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    return tuple(str(name).strip() for name in names)
