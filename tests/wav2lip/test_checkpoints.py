"""Public checkpoints load strictly, what is saved has their format, and a bad file gets a sentence."""

import pickle

import pytest
import torch

from models import SyncNet, Wav2Lip
from tests.reference import weights
from wav2lip.checkpoints import Checkpoint, load_checkpoint, load_network, load_weights, save_checkpoint
from wav2lip.errors import InputError


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_public_file_loads_strictly_with_or_without_prefix_in_both_formats(tmp_path, prefix, zipped):
    expected = weights("syncnet")
    public = {"state_dict": {prefix + key: value for key, value in expected.items()}, "optimizer": None,
              "global_step": 7, "global_epoch": 2}  # fmt: skip
    torch.save(public, tmp_path / "lipsync_expert.pth", _use_new_zipfile_serialization=zipped)
    network = load_network(tmp_path / "lipsync_expert.pth", SyncNet)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in expected.items())
    assert load_checkpoint(tmp_path / "lipsync_expert.pth").global_step == 7


def test_what_is_saved_has_the_keys_of_the_public_container_and_ours_under_one_more(tmp_path):
    network = SyncNet(width=0.125)
    optimizer = torch.optim.Adam(network.parameters())
    path = tmp_path / "new folder" / "checkpoint_step000000003.pth"
    save_checkpoint(path, Checkpoint(network.state_dict(), optimizer.state_dict(), 3, 1, {"sync_weight": 0.01}))
    content = torch.load(path, weights_only=True)
    assert set(content) == {"state_dict", "optimizer", "global_step", "global_epoch", "wav2lip"}
    assert list(content["state_dict"]) == list(network.state_dict())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_optimizer_state_of_the_first_torch_releases_is_accepted(tmp_path):
    network = SyncNet(width=0.0625)
    ids = [140_000_000_000_000 + 8 * n for n, _ in enumerate(network.parameters())]  # keyed by memory address then
    old = {
        "state": {i: {"step": 5, "exp_avg": torch.ones_like(p), "exp_avg_sq": torch.ones_like(p)}
                  for i, p in zip(ids, network.parameters(), strict=True)},
        "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False,
                          "params": ids}],
    }  # fmt: skip
    torch.save({"state_dict": network.state_dict(), "optimizer": old, "global_step": 5, "global_epoch": 0},
               tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters())
    optimizer.load_state_dict(load_checkpoint(tmp_path / "old.pth").optimizer)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert optimizer.state[next(network.parameters())]["step"] == 6


def test_a_file_of_another_network_is_named_for_what_it_is(tmp_path):
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    with pytest.raises(InputError, match=r"expert\.pth: does not fit Wav2Lip; it holds a SyncNet expert"):
        load_network(tmp_path / "expert.pth", Wav2Lip)


@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_a_network_is_built_at_the_width_and_resolution_of_its_file(tmp_path, resolution):
    given = SyncNet(width=0.0625, resolution=resolution)
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(given.state_dict()))
    network = load_network(tmp_path / "expert.pth", SyncNet)
    assert network.resolution == resolution
    assert all(torch.equal(network.state_dict()[key], value) for key, value in given.state_dict().items())


def test_weights_of_another_resolution_are_refused_with_both(tmp_path):
    sentence = "is of width 0.0625 for faces of 96 pixels, and a Wav2Lip of width 0.125 for 192 was asked for; give"
    with pytest.raises(InputError, match=rf"a\.pth: {sentence}"):
        load_weights(Wav2Lip(0.125, 192), Wav2Lip(0.0625).state_dict(), tmp_path / "a.pth")


@pytest.mark.parametrize("change", ["more stages", "wider kernel", "other layer"])
def test_a_generator_of_another_architecture_is_refused_in_one_sentence(tmp_path, change):
    kept = dict(Wav2Lip(width=0.0625, resolution=192).state_dict())
    key = "face_encoder_blocks.{}.0.conv_block.0.weight"
    if change == "more stages":
        kept[key.format(8)] = kept[key.format(9)] = torch.zeros(1, 1, 3, 3)
    elif change == "wider kernel":
        kept[key.format(1)] = torch.zeros(1, 1, 7, 7)
    else:
        kept[key.format(3)] = torch.zeros(1, 1, 7, 7)
    save_checkpoint(tmp_path / "fork.pth", Checkpoint(kept))
    with pytest.raises(InputError, match=r"fork\.pth: is a Wav2Lip with other layers than are known here \(.+\); give"):
        load_network(tmp_path / "fork.pth", Wav2Lip)


class Surprise:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", ["empty", "text", "truncated", "code"])
def test_a_bad_file_is_refused_by_name_and_nothing_in_it_is_run(tmp_path, content, capsys):
    path = tmp_path / "bad.pth"
    save_checkpoint(path, Checkpoint(SyncNet(width=0.0625).state_dict()))
    good = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not a checkpoint\n" * 20, "truncated": good[: len(good) // 2],
                      "code": pickle.dumps({"state_dict": Surprise()})}[content])  # fmt: skip
    with pytest.raises(InputError, match=r"bad\.pth"):
        load_checkpoint(path)
    assert "run" not in capsys.readouterr().out


def test_one_bit_that_a_disk_turned_is_noticed(tmp_path):
    path = tmp_path / "expert.pth"
    network = SyncNet(width=0.0625)
    save_checkpoint(path, Checkpoint(network.state_dict()))
    content = bytearray(path.read_bytes())
    content[content.index(network.audio_encoder[0].conv_block[0].weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"expert\.pth: is not a whole checkpoint \(Bad CRC-32"):
        load_checkpoint(path)


def test_a_file_that_was_written_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"state_dict": {"weight": torch.arange(4.0)}}, tmp_path / "quick.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_checkpoint(tmp_path / "quick.pth").state_dict["weight"].tolist() == [0, 1, 2, 3]


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.pth: no such checkpoint"):
        load_checkpoint(tmp_path / "nothing.pth")
