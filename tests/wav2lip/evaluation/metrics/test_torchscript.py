"""TorchScript networks of the metrics."""

import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.torchscript import load_torchscript


def test_file_that_is_not_torchscript_is_rejected(tmp_path):
    (tmp_path / "a.pt").write_text("x")
    with pytest.raises(InputError, match="not a TorchScript network"):
        load_torchscript(tmp_path / "a.pt", "--identity_network")


class ImagesToVectors(nn.Module):
    """What networks of metrics consist of: layers, control flow, checks of shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features = F.interpolate(self.layers(images), size=(8, 8), mode="bilinear")
        assert features.dim() == 4, "wrong shape"
        for number in range(2):
            features = features + float(number)
        return F.normalize(features.flatten(1))


class ReadsFile(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + torch.from_file("any", True, 4).sum()


def save_script(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), path)
    return path


def replace_in_archive(path: Path, old: bytes, new: bytes) -> Path:
    """Change the text of an archive's programs."""
    changed = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            copy.writestr(name, content.replace(old, new) if name.endswith(".py") else content)
    return changed


def test_arithmetic_network_is_loaded(tmp_path):
    network = ImagesToVectors().eval()
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    loaded = load_torchscript(save_script(network, tmp_path / "a.pt"), "--identity_network")
    torch.testing.assert_close(loaded(images), network(images))


@pytest.mark.parametrize("call", [
    "torch.save(images, '/tmp/x')", "(images).save('/tmp/x')", "getattr(images, 'save')('/tmp/x')",
    "ops.aten.save(images, '/tmp/x')", "ops.quantized.add(images, images, 1., 0)", "ops.prim.PythonOp(images)",
])  # fmt: skip
def test_network_that_could_write_files_is_refused_before_it_is_loaded(tmp_path, monkeypatch, call):
    path = save_script(nn.ReLU(), tmp_path / "a.pt")
    path = replace_in_archive(path, b"    return ", f"    _9 = {call.replace('images', 'input')}\n    return ".encode())
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(InputError, match=r"uses .*, which is not arithmetic"):
        load_torchscript(path, "--identity_network")


def test_scripted_network_that_opens_a_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"torch\.from_file"):
        load_torchscript(save_script(ReadsFile(), tmp_path / "a.pt"), "--identity_network")


def test_archive_with_two_records_of_one_name_is_refused(tmp_path):
    path = save_script(nn.ReLU(), tmp_path / "a.pt")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"another")
    with pytest.raises(InputError, match="not a TorchScript network"):
        load_torchscript(path, "--identity_network")
