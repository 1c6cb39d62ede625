"""Networks that score videos, built once in each process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from face_detection import Detector, build_detector
from face_detection.landmarks.fan68 import find_cached_weights
from models import SyncNet
from wav2lip.checkpoints import load_network
from wav2lip.devices import choose_device
from wav2lip.evaluation.metrics import identity, landmarks
from wav2lip.evaluation.metrics.frechet import FeatureExtractor, inception_features, torchscript_features
from wav2lip.evaluation.metrics.perceptual import LPIPS
from wav2lip.evaluation.metrics.torchscript import load_torchscript
from wav2lip.evaluation.settings import EvalSettings
from wav2lip.faces.landmarks import load_fan
from wav2lip.lipsync import LipSync
from wav2lip.sync.lse import SyncNetV2Expert, load_syncnet_v2
from wav2lip.sync.syncnet_experts import SyncNetExpert

DETECTOR_BATCH = 8  # frames


@dataclass(frozen=True)
class Scorers:
    """Scorers of a run; None without weights."""

    settings: EvalSettings
    device: torch.device
    expert: SyncNetExpert | None
    second_expert: SyncNetExpert | None
    syncnet_v2: SyncNetV2Expert | None
    lpips: LPIPS | None
    fid: FeatureExtractor | None
    landmarks: nn.Module | None
    identity: nn.Module | None

    @classmethod
    def from_settings(cls, settings: EvalSettings) -> Scorers:
        """Load the networks; InputError for a file that does not fit its flag."""
        device = choose_device(settings.device)
        lpips = None
        if settings.lpips_backbone is not None and settings.lpips_weights is not None:
            lpips = LPIPS.from_files(settings.lpips_backbone, settings.lpips_weights).to(device)
        identity_file = settings.identity_network
        return cls(
            settings,
            device,
            _load_expert(settings.expert, device),
            _load_expert(settings.second_expert, device),
            None if settings.syncnet_v2 is None else SyncNetV2Expert(load_syncnet_v2(settings.syncnet_v2, device)),
            lpips,
            _load_fid(settings, device),
            _load_landmark_network(settings, device),
            None if identity_file is None else load_torchscript(identity_file, identity.FLAG, device),
        )


def _load_expert(path: Path | None, device: torch.device) -> SyncNetExpert | None:
    return None if path is None else SyncNetExpert(load_network(path, SyncNet), device)


def _load_fid(settings: EvalSettings, device: torch.device) -> FeatureExtractor | None:
    if settings.fid_network is not None:
        return torchscript_features(settings.fid_network, device)
    return None if settings.fid_weights is None else inception_features(settings.fid_weights, device)


def _load_landmark_network(settings: EvalSettings, device: torch.device) -> nn.Module | None:
    if settings.landmark_network is not None:
        return load_torchscript(settings.landmark_network, landmarks.FLAG, device)
    cached = find_cached_weights()
    return None if cached is None else load_fan(cached).to(device)


@lru_cache(maxsize=1)
def load_detector(settings: EvalSettings) -> Detector:
    """Build the face detector; its weights are never downloaded here."""
    return build_detector(
        settings.detector, weights=settings.s3fd_weights, device=choose_device(settings.device),
        batch_size=DETECTOR_BATCH, download=False,
    )  # fmt: skip


@lru_cache(maxsize=1)
def load_generator(checkpoint: Path, settings: EvalSettings) -> LipSync:
    """Load a generator, and keep the last one in memory."""
    return LipSync.from_checkpoint(checkpoint, settings.device, settings.generator_detector, settings.s3fd_weights)
