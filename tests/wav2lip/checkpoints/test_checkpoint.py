"""Loading upstream's checkpoints, saving in their format, and errors for bad files."""

import pickle

import numpy as np
import pytest
import torch

from models import SyncNet, Wav2Lip
from tests.helpers.goldens import weights
from wav2lip.checkpoints import Checkpoint, load_checkpoint, load_network, load_weights, save_checkpoint
from wav2lip.errors import InputError


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_upstream_checkpoint_loads_in_all_formats(tmp_path, prefix, is_zip):
    expected = weights("syncnet")
    content = {"state_dict": {prefix + key: value for key, value in expected.items()}, "optimizer": None,
              "global_step": 7, "global_epoch": 2}  # fmt: skip
    torch.save(content, tmp_path / "lipsync_expert.pth", _use_new_zipfile_serialization=is_zip)
    network = load_network(tmp_path / "lipsync_expert.pth", SyncNet)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in expected.items())
    assert load_checkpoint(tmp_path / "lipsync_expert.pth").global_step == 7


def test_saved_file_has_upstream_keys_and_wav2lip(tmp_path):
    network = SyncNet(width=0.125)
    optimizer = torch.optim.Adam(network.parameters())
    path = tmp_path / "folder" / "checkpoint_step000000003.pth"
    save_checkpoint(path, Checkpoint(network.state_dict(), optimizer.state_dict(), 3, 1, {"sync_weight": 0.01}))
    content = torch.load(path, weights_only=True)
    assert set(content) == {"state_dict", "optimizer", "global_step", "global_epoch", "wav2lip"}
    assert list(content["state_dict"]) == list(network.state_dict())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_optimizer_state_of_early_torch_is_accepted(tmp_path):
    network = SyncNet(width=0.0625)
    ids = [140_000_000_000_000 + 8 * n for n, _ in enumerate(network.parameters())]  # keyed by memory address
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


def test_another_network_is_named_in_the_error(tmp_path):
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    with pytest.raises(InputError, match=r"expert\.pth.*Wav2Lip.*SyncNet expert"):
        load_network(tmp_path / "expert.pth", Wav2Lip)


@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_network_gets_width_and_resolution_of_the_file(tmp_path, resolution):
    saved = SyncNet(width=0.0625, resolution=resolution)
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(saved.state_dict()))
    network = load_network(tmp_path / "expert.pth", SyncNet)
    assert network.resolution == resolution
    assert all(torch.equal(network.state_dict()[key], value) for key, value in saved.state_dict().items())


def test_mismatch_error_names_both_shapes(tmp_path):
    with pytest.raises(InputError, match=r"a\.pth.*width 0\.0625.*96.*Wav2Lip.*width 0\.125.*192"):
        load_weights(Wav2Lip(0.125, 192), Wav2Lip(0.0625).state_dict(), tmp_path / "a.pth")


@pytest.mark.parametrize("change", ["more stages", "larger kernel", "other layer"])
def test_unknown_architecture_is_rejected(tmp_path, change):
    state = dict(Wav2Lip(width=0.0625, resolution=192).state_dict())
    key = "face_encoder_blocks.{}.0.conv_block.0.weight"
    if change == "more stages":
        state[key.format(8)] = state[key.format(9)] = torch.zeros(1, 1, 3, 3)
    elif change == "larger kernel":
        state[key.format(1)] = torch.zeros(1, 1, 7, 7)
    else:
        state[key.format(3)] = torch.zeros(1, 1, 7, 7)
    save_checkpoint(tmp_path / "fork.pth", Checkpoint(state))
    with pytest.raises(InputError, match=r"fork\.pth: .*unknown layers \(.+\)"):
        load_network(tmp_path / "fork.pth", Wav2Lip)


class Exploit:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("content", ["empty", "text", "truncated", "code"])
def test_bad_file_is_rejected_without_running_code(tmp_path, content, capsys):
    path = tmp_path / "bad.pth"
    save_checkpoint(path, Checkpoint(SyncNet(width=0.0625).state_dict()))
    valid = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not a checkpoint\n" * 20, "truncated": valid[: len(valid) // 2],
                      "code": pickle.dumps({"state_dict": Exploit()})}[content])  # fmt: skip
    with pytest.raises(InputError, match=r"bad\.pth"):
        load_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_flipped_bit_is_detected(tmp_path):
    path = tmp_path / "expert.pth"
    network = SyncNet(width=0.0625)
    save_checkpoint(path, Checkpoint(network.state_dict()))
    content = bytearray(path.read_bytes())
    content[content.index(network.audio_encoder[0].conv_block[0].weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"expert\.pth: is corrupt \(Bad CRC-32"):
        load_checkpoint(path)


def test_file_without_checksums_is_loaded(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"state_dict": {"weight": torch.arange(4.0)}}, tmp_path / "plain.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_checkpoint(tmp_path / "plain.pth").state_dict["weight"].tolist() == [0, 1, 2, 3]


def test_missing_file_error_names_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.pth: no such checkpoint"):
        load_checkpoint(tmp_path / "nothing.pth")


def wrap(weights, *prefixes):
    for prefix in prefixes:
        weights = {prefix + name: value for name, value in weights.items()}
    return weights


@pytest.mark.parametrize("layout", [
    "model", "generator", "nested", "compiled", "lightning", "unknown keys", "student", "several networks",
    "beside a discriminator", "beside a generator", "in the dict of a generator",
])  # fmt: skip
def test_weights_are_found_where_trainers_put_them(tmp_path, layout):
    weights = SyncNet(width=0.0625).state_dict()
    content = {
        "model": {"model": weights, "epoch": 3},
        "generator": {"generator": weights, "discriminator": {"a": torch.zeros(1)}},
        "nested": {"state_dict": {"model": wrap(weights, "model.")}, "optimizer": None},
        "compiled": {"state_dict": wrap(weights, "_orig_mod.", "module.")},
        "unknown keys": {"optimizer": {"state": {0: {"exp_avg": torch.zeros(1)}}}, "run": {"ema_2": weights}},
        "student": {"state_dict": wrap(weights, "student.", "module.")},
        "several networks": {"state_dict": wrap(weights, "generator.") | {"expert.a.weight": torch.zeros(1)}},
        "beside a discriminator": {"net_d": {"a.weight": torch.zeros(1)}, "gen_ema": weights},
        "beside a generator": {
            "state_dict": wrap({"a.weight": torch.zeros(1)}, "generator.") | wrap(weights, "syncnet.")
        },
        "in the dict of a generator": {"generator": {"a.weight": torch.zeros(1)}, "expert": wrap(weights, "module.")},
        "lightning": {"state_dict": wrap(weights, "net.", "model."), "loops": {}, "global_step": 5},
    }[layout]
    torch.save(content, tmp_path / "a.pth")
    loaded = load_network(tmp_path / "a.pth", SyncNet).state_dict()
    assert loaded.keys() == weights.keys() and all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_generator_is_the_network_of_a_file_with_several(tmp_path):
    content = {"net_d": {"a.weight": torch.zeros(1)}, "net_g": {"b.weight": torch.ones(1)}}
    torch.save(content, tmp_path / "a.pth")
    assert list(load_checkpoint(tmp_path / "a.pth").state_dict) == ["b.weight"]


def test_numpy_scalars_beside_weights_are_read(tmp_path):
    content = {"state_dict": {"weight": torch.ones(2)}, "loss": np.float64(0.5), "best": np.float32(1),
               "global_step": np.int64(7), "global_epoch": torch.tensor(2)}  # fmt: skip
    torch.save(content, tmp_path / "a.pth")
    checkpoint = load_checkpoint(tmp_path / "a.pth")
    assert (checkpoint.global_step, checkpoint.global_epoch) == (7, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"global_step": "abc"}, "global_step must be a number from 0 on, not 'abc'"),
        ({"global_step": float("nan")}, "global_step must be a number"),
        ({"global_step": -5}, "global_step must be a number"),
        ({"global_epoch": [1]}, "global_epoch must be a number"),
        ({"optimizer": [1]}, "optimizer must be a dict"),
        ({"wav2lip": 3}, "wav2lip must be a dict"),
        ({"state_dict": {0: torch.ones(1), 1: torch.ones(1)}}, "names its weights by numbers"),
        ({"state_dict": {}}, "has no state_dict of tensors"),
        ({"state_dict": {"weight": torch.ones(1).expand(1 << 40)}}, "weight has less data than its shape"),
    ],
)
def test_damaged_checkpoint_is_one_sentence(tmp_path, change, message):
    torch.save({"state_dict": {"weight": torch.ones(1)}} | change, tmp_path / "a.pth")
    with pytest.raises(InputError, match=rf"a\.pth: .*{message}") as caught:
        load_checkpoint(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [None, 1 << 20, 1 << 40])
def test_first_layer_of_impossible_size_is_one_sentence_and_takes_no_memory(tmp_path, channels):
    weights = Wav2Lip(width=0.125).state_dict()
    first = "face_encoder_blocks.0.0.conv_block.0.weight"
    if channels is None:
        weights = {name: torch.zeros(()) for name in weights}
    else:
        weights[first] = torch.zeros(channels, 0, 7, 7)
    torch.save({"state_dict": weights}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth: a Wav2Lip with unknown layers \(.+\)") as caught:
        load_network(tmp_path / "a.pth", Wav2Lip)
    assert "\n" not in str(caught.value)


def test_missing_first_layer_is_named(tmp_path):
    weights = Wav2Lip(width=0.125).state_dict()
    name = "face_encoder_blocks.0.0.conv_block.0.weight"
    del weights[name]
    torch.save({"state_dict": weights}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=rf"a\.pth: a Wav2Lip with unknown layers \(it lacks {name}\)"):
        load_network(tmp_path / "a.pth", Wav2Lip)
