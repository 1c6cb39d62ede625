"""Jobs built from a config."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from face_detection.interface import DetectorError
from face_detection.landmarks.fan68 import FAN68
from preprocess.build import build_job
from tests.helpers.trainers import compose_config


@pytest.fixture(scope="module")
def fan_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("fan") / "2DFAN4.pth"
    torch.save(FAN68(num_stacks=1).state_dict(), path)
    return path


def job_with(*overrides):
    cfg = compose_config("preprocess", "videos=a", "out=b", "detector=haar", *overrides)
    cfg.compat = "none"  # elsewhere Hydra fills in the name of the group
    return build_job(OmegaConf.to_container(cfg, resolve=True))


def test_landmark_weights_add_landmarks_and_void_other_records(fan_file, portrait):
    plain, landmarks = job_with(), job_with(f"landmark_weights={fan_file}")
    assert plain.settings.faces.detector == "haar"
    assert landmarks.settings.faces.detector.startswith("haar with landmarks ")
    assert landmarks.settings.faces.detector_name == "haar"
    ((face,),) = landmarks.detector.build(0).detect([portrait])
    assert np.shape(face.landmarks) == (5, 2)
    ((face,),) = plain.detector.build(0).detect([portrait])
    assert face.landmarks is None


def test_wrong_landmark_weights_fail_before_any_work(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(DetectorError, match=r"other\.pth: not the weights of 2DFAN4"):
        job_with(f"landmark_weights={tmp_path / 'other.pth'}")
