"""The fast generator paints what the plain one does, on any device, in any batch."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from models import Wav2Lip
from tests.conftest import tone, write_video, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.crops import generator_input, hidden_and_shown, to_network
from wav2lip.devices import choose_devices, inference_dtype
from wav2lip.errors import InputError
from wav2lip.infer import infer
from wav2lip.lipsync import Options
from wav2lip.lipsync.folding import folded
from wav2lip.lipsync.lower import first_rows
from wav2lip.lipsync.packing import PackedBlock, can_pack, pack
from wav2lip.lipsync.repaint import Repainter, TorchPainter, Worker
from wav2lip.media import probe, read_frames

CPU = torch.device("cpu")


def as_if_trained(generator):
    """Statistics and scales that differ from channel to channel, and pictures of every grey level."""
    rng = torch.Generator().manual_seed(1)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3, generator=rng)
            layer.running_var.uniform_(0.5, 2, generator=rng)
            nn.init.uniform_(layer.weight, 0.7, 1.6, generator=rng)
            nn.init.normal_(layer.bias, 0, 0.3, generator=rng)
    with torch.no_grad():
        generator.output_block[1].weight *= 8
    return generator


def made(width=0.125, resolution=96, trained=True):
    torch.manual_seed(0)
    generator = Wav2Lip(width, resolution).eval()
    return as_if_trained(generator) if trained else generator


def work(count, size=96, seed=0):
    """Face crops, mel windows and reference crops."""
    rng = np.random.default_rng(seed)
    mels = rng.uniform(-4, 4, (count, 1, 80, 16)).astype(np.float32)
    return (rng.integers(0, 256, (count, size, size, 3), np.uint8), mels,
            rng.integers(0, 256, (count, size, size, 3), np.uint8))  # fmt: skip


@torch.no_grad()
def plain(generator, crops, mels, references):
    """One face at a time in float32, BGR, as the release does; not cut down to whole levels."""
    painted = []
    for crop, mel, reference in zip(crops, mels, references, strict=True):
        hidden = crop[..., ::-1].copy()
        hidden[len(crop) // 2 :] = 0
        both = np.concatenate([hidden, reference[..., ::-1]], axis=2).transpose(2, 0, 1)[None] / 255.0
        out = generator(torch.from_numpy(mel[None]), torch.from_numpy(both.astype(np.float32)))
        painted.append(out[0].numpy().transpose(1, 2, 0)[..., ::-1] * 255.0)
    return np.stack(painted)


@torch.no_grad()
@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_batch_norm_folds_into_the_convolutions_of_every_resolution(resolution):
    generator = made(0.0625, resolution)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    inputs = torch.rand(2, 1, 80, 16), torch.rand(2, 6, resolution, resolution)
    expected = generator(*inputs)
    assert expected.std() > 0.02  # not one grey
    network = folded(generator)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert (network(*inputs) - expected).abs().max() < 1e-5
    network.to(torch.bfloat16)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(weight.requires_grad for weight in generator.parameters())


@torch.no_grad()
@pytest.mark.skipif(not can_pack(), reason="torch without these operators of oneDNN")
@pytest.mark.parametrize("batch", [1, 3])
def test_packed_weights_give_what_the_others_give(batch):
    network = folded(made()).to(memory_format=torch.channels_last)
    inputs = torch.rand(batch, 1, 80, 16), torch.rand(batch, 6, 96, 96).to(memory_format=torch.channels_last)
    expected = network(*inputs)
    pack(network)
    assert (network(*inputs) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_a_generator_of_full_width_is_within_a_grey_level_of_the_plain_loop(precision, trained):
    generator, inputs = made(1.0, 96, trained), work(2)
    difference = np.abs(Repainter(generator, CPU, precision)(inputs[0], inputs[1], inputs[2])
                        - plain(generator, *inputs))  # fmt: skip
    assert difference.mean() < 1  # of which half is the cut to whole levels
    assert difference.max() < (1.01 if precision == "fp32" else 12)


@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
@pytest.mark.parametrize("share", [0.01, 1 / 3, 0.5])
def test_rows_that_are_left_out_leave_those_below_as_they_are(resolution, share):
    generator, (crops, mels, references) = made(0.0625, resolution), work(2, resolution)
    repaint, top = Repainter(generator, CPU, "fp32"), int(share * resolution)
    whole, lower = repaint(crops, mels, references), repaint(crops, mels, references, top)
    assert np.abs(lower[:, top:].astype(int) - whole[:, top:]).max() <= 1  # sums in another order
    assert np.array_equal(lower[:, :top], crops[:, :top])
    assert whole[:, top:].std() > 5


def test_of_a_soft_seam_the_decoder_computes_no_row_above_a_third_but_for_its_reach():
    rows = first_rows(96, 32)
    assert rows == [0, 0, 0, 0, 2, 6, 14, 31]  # of maps 1, 1, 3, 6, 12, 24, 48 and 96 pixels high, worked by hand


def test_what_the_network_is_shown_is_the_same_as_in_training():
    crops, _, references = work(3)
    ours = torch.from_numpy(hidden_and_shown(crops, references)).permute(0, 3, 1, 2).float() / 255
    trained_on = generator_input(to_network(torch.from_numpy(crops)), to_network(torch.from_numpy(references)))
    assert torch.equal(ours, trained_on)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_several_devices_paint_the_same_faces_in_the_same_order_as_one(count):
    generator, (crops, mels, _) = made(), work(count)
    one, three = Repainter(generator, CPU, "fp32"), Repainter(generator, [CPU] * 3, "fp32")
    assert three.at_once(4) == 3 * one.at_once(4) == 12
    apart = np.concatenate([one(crops[n : n + 1], mels[n : n + 1]) for n in range(count)])
    assert np.abs(three(crops, mels).astype(int) - apart).max() <= 1  # sums in another order may cross a whole level


class SmallMemory:
    """Paints the first channel's first number, of three faces at most."""

    def __init__(self, error):
        self.error, self.asked = error, []

    def __call__(self, mels, pictures, top=0):
        self.asked.append(len(mels))
        if len(mels) > 3:
            raise self.error
        return pictures[..., :3]


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("MPS backend out of memory (MPS allocated: 7.64 GiB, max allowed: 9.07 GiB)."),
])  # fmt: skip
def test_out_of_memory_halves_the_batch_for_good_and_says_so(error, caplog):
    paint, (crops, mels, references) = SmallMemory(error), work(9)
    pictures = hidden_and_shown(crops, references)
    worker = Worker(paint, torch.device("cuda:1"))
    np.testing.assert_array_equal(worker(mels, pictures), pictures[..., :3])
    assert paint.asked == [9, 4, 2, 2, 2, 2, 1]
    assert [line.getMessage() for line in caplog.records] == [
        "cuda:1 ran out of memory; going on with 4 faces at a time",
        "cuda:1 ran out of memory; going on with 2 faces at a time",
    ]
    paint.asked.clear()
    worker(mels[:4], pictures[:4])
    assert paint.asked == [2, 2]


def test_other_errors_and_a_full_cpu_are_not_taken_for_a_full_device():
    crops, mels, references = work(4)
    pictures = hidden_and_shown(crops, references)
    for error in (RuntimeError("shapes differ"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        paint = SmallMemory(error)
        with pytest.raises(RuntimeError, match=str(error)):
            Worker(paint, CPU)(mels, pictures)
        assert paint.asked == [4]


def test_a_precision_is_made_ready_once_and_public_computes_in_32_bits():
    repaint = Repainter(made(), CPU)
    assert repaint.in_precision("fp32") is repaint.in_precision("fp32")
    assert repaint.in_precision("auto") is repaint
    assert TorchPainter(made(), CPU, "auto").dtype == inference_dtype(CPU)
    assert Options(compat="public").generator_precision == "fp32"
    assert Options(compat="public", precision="bf16").generator_precision == "bf16"
    assert Options().generator_precision == "auto"
    with pytest.raises(InputError, match="--precision is half; choose one of auto, fp32, bf16, fp16"):
        Options(precision="half")


def test_devices_are_named_with_commas_and_each_once():
    assert choose_devices("cpu") == [CPU]
    with pytest.raises(InputError, match="--device cpu,cpu: names cpu twice"):
        choose_devices("cpu,cpu")
    with pytest.raises(InputError, match="device cuda:77: this machine does not have it"):
        choose_devices("cpu, cuda:77")


@pytest.mark.parametrize("resolution", [192, 384])
def test_the_command_runs_generators_of_other_resolutions(resolution, tmp_path):
    save_checkpoint(tmp_path / "g.pth", Checkpoint(made(0.0625, resolution).state_dict()))
    frames = list(np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8))
    write_video(tmp_path / "face.mp4", frames)
    write_wav(tmp_path / "sound.wav", tone(0.2))
    infer(["--checkpoint_path", str(tmp_path / "g.pth"), "--face", str(tmp_path / "face.mp4"), "--audio",
           str(tmp_path / "sound.wav"), "--outfile", str(tmp_path / "out.mp4"), "--box", "8", "56", "8", "56",
           "--precision", "bf16", "--device", "cpu"])  # fmt: skip
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 5
    assert probe(tmp_path / "out.mp4").seconds == pytest.approx(0.2, abs=0.05)


SPY = """
import os, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK"))
            raise SystemExit
sys.meta_path.insert(0, Spy())
import wav2lip.infer
"""


@pytest.mark.parametrize(("set_by_the_user", "seen"), [(None, "1"), ("0", "0")])
def test_torch_finds_the_way_out_for_apples_gpus_when_it_is_imported(set_by_the_user, seen):
    environment = {key: value for key, value in os.environ.items() if key != "PYTORCH_ENABLE_MPS_FALLBACK"}
    if set_by_the_user is not None:
        environment["PYTORCH_ENABLE_MPS_FALLBACK"] = set_by_the_user
    done = subprocess.run([sys.executable, "-c", SPY], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [seen]


def test_where_the_operators_refuse_the_processor_the_network_is_left_as_it_is(monkeypatch, caplog):
    caplog.set_level("INFO")
    network = folded(Wav2Lip(width=0.0625).eval())

    def refuse(*_):
        raise RuntimeError("bf16 path needs the cpu support avx512bw\nsecond line")

    monkeypatch.setattr("wav2lip.lipsync.packing.PackedBlock.forward", refuse)
    pack(network)
    assert not any(isinstance(part, PackedBlock) for part in network.modules())
    assert "slower: bf16 path needs the cpu support avx512bw" in caplog.text
