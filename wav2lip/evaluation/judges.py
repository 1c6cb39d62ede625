"""The networks that videos are judged with, built once in each process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from face_detection import Detector, build_detector
from models import SyncNet, SyncNetV2
from wav2lip.checkpoints import load_network
from wav2lip.devices import choose_device
from wav2lip.evaluation.metrics import identity, landmarks
from wav2lip.evaluation.metrics.frechet import Features, inception_features, scripted_features
from wav2lip.evaluation.metrics.perceptual import LPIPS
from wav2lip.evaluation.metrics.scripted import load_scripted
from wav2lip.evaluation.settings import Settings
from wav2lip.lipsync import LipSync
from wav2lip.lse import load_syncnet_v2

PICTURES = 8  # that the detector is given at a time


@dataclass(frozen=True)
class Judges:
    """None for a judge whose weights are not given."""

    settings: Settings
    device: torch.device
    expert: SyncNet | None
    syncnet_v2: SyncNetV2 | None
    lpips: LPIPS | None
    features: Features | None
    landmarks: nn.Module | None
    identity: nn.Module | None

    @classmethod
    def of(cls, settings: Settings) -> Judges:
        """Raises: InputError for a file that is not what its flag says."""
        device = choose_device(settings.device)
        lpips = None
        if settings.lpips_backbone is not None and settings.lpips_weights is not None:
            lpips = LPIPS.from_files(settings.lpips_backbone, settings.lpips_weights).to(device)
        of_points = settings.landmark_network or landmarks.cached_network()
        of_faces = settings.identity_network
        return cls(
            settings,
            device,
            None if settings.expert is None else load_network(settings.expert, SyncNet).eval().to(device),
            None if settings.syncnet_v2 is None else load_syncnet_v2(settings.syncnet_v2, device),
            lpips,
            _features(settings, device),
            None if of_points is None else load_scripted(of_points, landmarks.FLAG, device),
            None if of_faces is None else load_scripted(of_faces, identity.FLAG, device),
        )


def _features(settings: Settings, device: torch.device) -> Features | None:
    if settings.fid_network is not None:
        return scripted_features(settings.fid_network, device)
    return None if settings.fid_weights is None else inception_features(settings.fid_weights, device)


@lru_cache(maxsize=1)
def detector_of(settings: Settings) -> Detector:
    """The detector of faces; its weights are never downloaded here."""
    return build_detector(
        settings.detector, weights=settings.s3fd_weights, device=choose_device(settings.device), batch_size=PICTURES,
        download=False,
    )  # fmt: skip


@lru_cache(maxsize=1)
def generator_of(checkpoint: Path, settings: Settings) -> LipSync:
    """A generator kept ready, that of the checkpoint last asked for."""
    return LipSync.from_checkpoint(checkpoint, settings.device, settings.detector, settings.s3fd_weights)
