"""Choice of the detector by the files in the checkpoint folder."""

import pytest
import torch

from wav2lip.errors import InputError
from wav2lip.sadtalker.source import detection
from wav2lip.sadtalker.source.detection import build_photo_detector

CPU = torch.device("cpu")


@pytest.fixture
def with_retinaface(monkeypatch):
    networks = {"retinaface_resnet50": torch.nn.Conv2d(3, 8, 1)}
    monkeypatch.setattr(detection, "find_network", lambda folder, name: networks.get(name))


def test_retinaface_is_used_where_its_file_is(tmp_path, with_retinaface):
    assert build_photo_detector(tmp_path, "auto", None, CPU, 8, "none").name == "retinaface"
    public = build_photo_detector(tmp_path, "retinaface", None, CPU, 8, "public")
    assert (public.compat, public.batcher.size) == ("public", 8)


def test_mtcnn_is_used_without_it(tmp_path):
    assert build_photo_detector(tmp_path, "auto", None, CPU, 8, "none").name == "mtcnn"


def test_a_named_detector_is_used(tmp_path, with_retinaface):
    assert build_photo_detector(tmp_path, "mtcnn", None, CPU, 8, "none").name == "mtcnn"
    assert build_photo_detector(tmp_path, "haar", None, CPU, 8, "none").name == "haar"


def test_missing_file_of_retinaface_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"weights fetch .* detection_Resnet50_Final\.pth"):
        build_photo_detector(tmp_path, "retinaface", None, CPU, 8, "none")
