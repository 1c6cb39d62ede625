"""Weights of TorchScript archives against torch.jit.load, and archives that attack the reader."""

import pickle
import zipfile

import pytest
import torch
from torch import nn

from models import SyncNet
from wav2lip.checkpoints import load_checkpoint, load_network
from wav2lip.checkpoints.torchscript import is_torchscript
from wav2lip.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # torch.jit is deprecated, its files remain


class Network(nn.Module):
    """Layers of several kinds and dtypes, and attributes that are no weights."""

    names: list[str]

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.halves = nn.Parameter(torch.rand(2, 3).half())
        self.register_buffer("transposed", torch.arange(6.0).view(2, 3).t())
        self.register_buffer("flags", torch.tensor([True, False]))
        self.names, self.sizes, self.scale = ["a", "b"], [1, 2], 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) * self.scale


class WritesFile(nn.Module):
    """A module whose TorchScript code writes a file when torch.jit.load restores it."""

    def __init__(self, path: str):
        super().__init__()
        self.path, self.weight, self.training = path, nn.Parameter(torch.ones(1)), False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.weight

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor]) -> None:
        self.path, self.weight, self.training = state[0], state[1], False
        torch.save(state[1], state[0])


def test_weights_equal_those_of_torch_jit(tmp_path):
    path = tmp_path / "network.pt"
    torch.jit.script(Network()).save(path)
    expected = torch.jit.load(path).state_dict()
    actual = load_checkpoint(path).state_dict
    assert len(expected) == 10
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        assert torch.equal(actual[name], value), name


def test_traced_network_loads_like_a_checkpoint(tmp_path):
    network = SyncNet(width=0.125).eval()
    path = tmp_path / "expert.pt"
    torch.jit.trace(network.face_encoder, torch.zeros(1, 15, 48, 96)).save(tmp_path / "part.pt")
    inputs = torch.zeros(1, 1, 80, 16), torch.zeros(1, 15, 48, 96)
    torch.jit.trace(network, inputs).save(path)
    loaded = load_network(path, SyncNet).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in network.state_dict().items())
    with pytest.raises(InputError, match="must contain a SyncNet"):
        load_network(tmp_path / "part.pt", SyncNet)


def test_code_of_the_archive_does_not_run(tmp_path):
    path, written = tmp_path / "network.pt", tmp_path / "written"
    torch.jit.script(WritesFile(str(written))).save(path)
    with pytest.raises(InputError, match="without weights"):
        load_checkpoint(path)
    assert not written.exists()
    torch.jit.load(path)
    assert written.exists()  # the attack is real


@pytest.mark.parametrize("attack", ["system", "storage", "cut"])
def test_hostile_archive_is_one_sentence(tmp_path, attack):
    path, hostile = tmp_path / "network.pt", tmp_path / "hostile.pt"
    torch.jit.script(nn.Linear(2, 2)).save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(hostile, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl") and attack == "system":
                content = b"cos\nsystem\n(S'echo'\ntR."
            elif "/data/" in name and attack == "storage":
                content = content[:4]  # tensors of more elements than the record has
            elif name.endswith("data.pkl") and attack == "cut":
                content = content[:40]
            target.writestr(name, content)
    assert is_torchscript(hostile)
    with pytest.raises(InputError, match="without readable weights"):
        load_checkpoint(hostile)


def test_other_files_are_not_torchscript(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({}))
    assert not is_torchscript(tmp_path / "weights.pth")
    assert not is_torchscript(tmp_path / "pickle.pth")
