"""Files of the published checkpoints, with networks of a few weights in place of the real ones."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from wav2lip.errors import InputError
from wav2lip.sadtalker import checkpoints
from wav2lip.sadtalker.checkpoints import CheckpointFolder, find_network

RENDERER = ("kp_extractor", "generator", "audio2exp", "audio2pose", "face_3drecon")
WIDTHS = {
    name: n for n, name in enumerate((*RENDERER, "mapping", "mapping_full", "landmark_fan98", "retinaface_resnet50"), 2)
}


def weights(name):
    return {"weight": torch.full((1, WIDTHS[name]), float(WIDTHS[name])), "bias": torch.zeros(1)}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(checkpoints, "build", lambda name: nn.Linear(WIDTHS[name], 1))


@pytest.fixture
def folder(tmp_path):
    tensors = {f"{name}.{key}": value for name in RENDERER for key, value in weights(name).items()}
    save_file(tensors, tmp_path / "SadTalker_V0.0.2_256.safetensors")
    torch.save({"mapping": weights("mapping")}, tmp_path / "mapping_00229-model.pth.tar")
    torch.save({"mapping": weights("mapping_full"), "epoch": 3}, tmp_path / "mapping_00109-model.pth.tar")
    return tmp_path


def loaded_width(network):
    assert not network.training
    return int(network.weight[0, 0])


def test_every_network_is_found(folder):
    files = CheckpointFolder(folder, 256)
    for name in (*RENDERER, "mapping", "mapping_full"):
        assert loaded_width(files.load(name)) == WIDTHS[name]
    assert len(files.hash) == 16
    assert find_network(folder, "landmark_fan98") is None


def test_old_version_is_used_without_newer_files(tmp_path):
    torch.save({"model": weights("audio2exp")}, tmp_path / "auido2exp_00300-model.pth")
    torch.save({"model": weights("audio2pose")}, tmp_path / "auido2pose_00140-model.pth")
    torch.save({"net_recon": weights("face_3drecon")}, tmp_path / "epoch_20.pth")
    torch.save(
        {"generator": weights("generator"), "kp_detector": weights("kp_extractor"), "optimizer": {"lr": 1.0}},
        tmp_path / "facevid2vid_00189-model.pth.tar",
    )
    files = CheckpointFolder(tmp_path, 256)
    assert [loaded_width(files.load(name)) for name in RENDERER] == [WIDTHS[name] for name in RENDERER]


def test_fan98_is_found_where_sadtalker_stores_it(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "gfpgan/weights").mkdir(parents=True)
    file = tmp_path / "gfpgan/weights/alignment_WFLW_4HG.pth"
    torch.save({"state_dict": weights("landmark_fan98")}, file)
    assert loaded_width(find_network(tmp_path / "checkpoints", "landmark_fan98")) == WIDTHS["landmark_fan98"]


def test_retinaface_is_found_as_a_bare_state_dict(tmp_path):
    state = {f"module.{key}": value for key, value in weights("retinaface_resnet50").items()}
    torch.save(state, tmp_path / "detection_Resnet50_Final.pth")
    assert loaded_width(find_network(tmp_path, "retinaface_resnet50")) == WIDTHS["retinaface_resnet50"]
    torch.save([state], tmp_path / "detection_Resnet50_Final.pth")
    with pytest.raises(InputError, match="has no weights; download"):
        find_network(tmp_path, "retinaface_resnet50")


def test_missing_files_are_reported(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder; download the checkpoints"):
        CheckpointFolder(tmp_path / "none", 256)
    with pytest.raises(InputError, match=r"has no SadTalker_V0\.0\.2_512\.safetensors"):
        CheckpointFolder(folder, 512)
    with pytest.raises(InputError, match=r"has no facevid2vid_00189-model\.pth\.tar"):
        CheckpointFolder(folder, 256, old_version=True)
    (folder / "mapping_00229-model.pth.tar").unlink()
    with pytest.raises(InputError, match=r"mapping_00229-model\.pth\.tar: no such file"):
        CheckpointFolder(folder, 256).load("mapping")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x10" * 200])
def test_other_files_are_reported(folder, content):
    for name, network in (
        ("SadTalker_V0.0.2_256.safetensors", "generator"),
        ("mapping_00229-model.pth.tar", "mapping"),
    ):
        (folder / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            CheckpointFolder(folder, 256).load(network)


def test_swapped_and_incomplete_files_are_reported(folder):
    files = CheckpointFolder(folder, 256)
    (folder / "mapping_00109-model.pth.tar").replace(folder / "mapping_00229-model.pth.tar")
    with pytest.raises(InputError, match="contains another network than mapping"):
        files.load("mapping")
    save_file({"generator.bias": torch.zeros(1)}, folder / "SadTalker_V0.0.2_256.safetensors")
    with pytest.raises(InputError, match="contains no network audio2exp"):
        files.load("audio2exp")
    with pytest.raises(InputError, match="contains another network than generator"):
        files.load("generator")
