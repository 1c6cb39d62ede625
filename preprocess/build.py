"""Build a job from the values of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from face_detection import Detector, build_detector
from face_detection.hashing import hash_file
from preprocess.config import FaceSettings, SegmentSettings, ShotSettings, VideoSettings
from preprocess.curation.curate import CurationSettings
from preprocess.curation.quality import Limits
from preprocess.curation.splits import SplitSettings
from preprocess.pipeline import STAGES, Job
from preprocess.stages.pack import PackSettings
from preprocess.sync.decide import SyncSettings
from wav2lip.devices import choose_device
from wav2lip.errors import InputError
from wav2lip.execution.build import ExecutorSettings
from wav2lip.execution.interface import choose_worker_device
from wav2lip.faces.boxes import Pads
from wav2lip.faces.landmarks import add_landmarks, build_landmarker, load_fan

HASH_DIGITS = 16
SMOOTH_WINDOW_FRAMES = {"haar": 13}  # overrides the automatic 5, because haar's boxes jitter more (docs/detection.md)


@dataclass(frozen=True)
class DetectorFactory:
    """Build a face detector in each worker."""

    name: str
    weights: str | None = None
    device: str = "auto"
    batch_size: int = 32
    compat: str = "none"
    landmark_weights: str | None = None  # landmark network for a detector without landmarks

    def resolve(self) -> DetectorFactory:
        """Replace "auto" by the detector that is available, downloading missing weights once."""
        detector = build_detector(self.name, weights=self.weights, compat=self.compat)
        if self.landmark_weights is not None:
            load_fan(self.landmark_weights)  # an unusable file fails here once
        choose_device(self.device)  # An invalid device fails here once instead of in every worker.
        return replace(self, name=detector.name)

    def build(self, worker: int) -> Detector:
        """Build the detector, with the workers spread over the GPUs."""
        device = choose_worker_device(self.device, worker)
        detector = build_detector(
            self.name,
            weights=self.weights,
            device=device,
            batch_size=self.batch_size,
            compat=self.compat,
            download=False,
        )
        if self.landmark_weights is None or self.compat == "public":
            return detector
        return add_landmarks(detector, build_landmarker(self.landmark_weights, device))


def build_job(cfg: Mapping[str, Any], is_detector_needed: bool = True) -> Job:
    """Build the job that configs/preprocess.yaml describes.

    is_detector_needed: False for a job without the faces stage, whose cfg["detector"] is a resolved name.
    Raises: InputError for an impossible value, DetectorError for an unavailable detector.
    """
    if cfg["batch_size"] < 1:
        raise InputError(f"batch_size={cfg['batch_size']}: must be 1 or more")
    is_public = cfg["compat"] == "public"
    has_sync = cfg["sync"]["enabled"] and not is_public
    policy = _face_policy(cfg, has_sync)
    weights = None if cfg["s3fd_weights"] is None else str(cfg["s3fd_weights"])
    curation = CurationSettings(
        sync=_sync_settings(cfg) if has_sync else None,
        only_speakers=policy == "speaking",
        limits=Limits(**dict.fromkeys(cfg["quality"]) if is_public else cfg["quality"]),
        splits=SplitSettings(cfg["val"], cfg["test"], cfg["seed"], cfg["split_by"], cfg["gap_seconds"]),
    )
    shots = ShotSettings(None if is_public else cfg["shots"]["threshold"])
    segments = SegmentSettings(policy, cfg["min_clip_seconds"], None if is_public else cfg["max_clip_seconds"])
    landmark_weights = None if cfg["landmark_weights"] is None else str(cfg["landmark_weights"])
    detector = DetectorFactory(
        cfg["detector"], weights, cfg["device"], cfg["batch_size"], cfg["compat"], landmark_weights
    )
    if is_detector_needed:
        detector = detector.resolve()
    window = cfg["smooth_window_frames"]
    if window == "auto":
        window = SMOOTH_WINDOW_FRAMES.get(detector.name, 5)
    faces = FaceSettings(_describe_detector(detector), cfg["compat"], cfg["max_gap_frames"], window)
    return Job(
        root=Path(str(cfg["out"])),
        settings=VideoSettings(
            faces, shots, segments, cfg["chunk_minutes"], _parse_pads(cfg["pads"]), cfg["audio_track"]
        ),
        detector=detector,
        curation=curation,
        pack=PackSettings(tuple(cfg["pack"]["sizes"]), cfg["pack"]["encoding"]) if cfg["pack"]["sizes"] else None,
        filelists=None if cfg["filelists"] is None else Path(str(cfg["filelists"])),
        batch_size=cfg["batch_size"],
        executor=build_executor_settings(cfg),
        stages=STAGES if cfg["stages"] == "all" else _parse_stages(cfg["stages"]),
        overwrite=cfg["overwrite"],
        retry=cfg["retry"],
    )


def _describe_detector(detector: DetectorFactory) -> str:
    """Return the name that records depend on: without landmark weights it is the detector's."""
    if detector.landmark_weights is None:
        return detector.name
    return f"{detector.name} with landmarks {hash_file(Path(detector.landmark_weights))[:HASH_DIGITS]}"


def build_executor_settings(cfg: Mapping[str, Any]) -> ExecutorSettings:
    """Return where the stages of a config run."""
    return ExecutorSettings(
        cfg["executor"], cfg["workers"], cfg["ray_address"], cfg["worker_cpus"], cfg["worker_gpus"]
    )  # fmt: skip


def _face_policy(cfg: Mapping[str, Any], has_sync: bool) -> str:
    """Fall back to `largest`: selecting the speaker needs sync scores and several clips per video."""
    if cfg["face_policy"] == "speaking" and (not has_sync or cfg["max_clip_seconds"] is None):
        return "largest"
    return str(cfg["face_policy"])


def _sync_settings(cfg: Mapping[str, Any]) -> SyncSettings:
    sync = cfg["sync"]
    return SyncSettings(
        expert=None if sync["expert"] is None else str(sync["expert"]),
        min_confidence=sync["min_confidence"],
        bootstrap_minutes=sync["bootstrap_minutes"],
        device=cfg["device"],
    )


def _parse_pads(values: Sequence[int]) -> Pads:
    if len(values) != len(fields(Pads)):
        raise InputError(f"pads={list(values)}: must be four numbers of pixels: [top,bottom,left,right]")
    return Pads(*values)


def _parse_stages(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    return tuple(str(name).strip() for name in names)
