"""Networks of SadTalker (Zhang et al., CVPR 2023) with the state_dict keys of the published checkpoints."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from models.fan import FAN98
from models.retinaface import RetinaFace
from models.sadtalker.audio2exp import Audio2Exp
from models.sadtalker.audio2pose import Audio2Pose
from models.sadtalker.face_3drecon import Face3DRecon
from models.sadtalker.generator import Generator
from models.sadtalker.keypoints import KeypointDetector
from models.sadtalker.mapping import MappingNet
from models.sadtalker.unused import HeadPoseEstimator

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "face_3drecon": Face3DRecon,
    "audio2exp": Audio2Exp,
    "audio2pose": Audio2Pose,
    "mapping": lambda: MappingNet(70),
    "mapping_full": lambda: MappingNet(73),
    "kp_extractor": KeypointDetector,
    "generator": Generator,
    "he_estimator": HeadPoseEstimator,
    "landmark_fan98": FAN98,
    "retinaface_resnet50": RetinaFace,
}


def build(name: str) -> nn.Module:
    """Build a network in eval mode by its name in `NETWORKS`.

    Weights are random until a state_dict is loaded. Raises: KeyError for another name.
    """
    return NETWORKS[name]().eval()


__all__ = ["NETWORKS", "build"]
