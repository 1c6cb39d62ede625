"""The optimized generator equals the plain one, on any device, in any batch."""

import numpy as np
import pytest
import torch
from torch import nn

from models import Wav2Lip
from tests.helpers.generator import build_generator, generate_reference, random_inputs
from tests.helpers.media import tone, write_video, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.devices import choose_devices, inference_dtype
from wav2lip.errors import InputError
from wav2lip.faces.tensors import generator_input, generator_input_bytes, to_network
from wav2lip.infer import infer
from wav2lip.lipsync import LipSyncOptions
from wav2lip.lipsync.backends.pytorch import TorchGenerator
from wav2lip.lipsync.generator_runtime import DeviceRunner, GeneratorRuntime
from wav2lip.lipsync.optimize.fuse_batchnorm import fuse_batchnorm
from wav2lip.lipsync.optimize.onednn_prepack import PrepackedBlock, can_prepack, prepack_weights
from wav2lip.lipsync.optimize.partial_decoder import first_rows
from wav2lip.media import probe, read_frames

CPU = torch.device("cpu")


@torch.no_grad()
@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_fuse_batchnorm_is_equal_at_every_resolution(resolution):
    generator = build_generator(0.0625, resolution)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    inputs = torch.rand(2, 1, 80, 16), torch.rand(2, 6, resolution, resolution)
    expected = generator(*inputs)
    assert expected.std() > 0.02  # not a uniform image
    network = fuse_batchnorm(generator)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert (network(*inputs) - expected).abs().max() < 1e-5
    network.to(torch.bfloat16)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(weight.requires_grad for weight in generator.parameters())


@torch.no_grad()
@pytest.mark.skipif(not can_prepack(), reason="torch without these operators of oneDNN, or no AVX-512")
@pytest.mark.parametrize("batch", [1, 3])
def test_prepacked_weights_are_equal(batch):
    network = fuse_batchnorm(build_generator()).to(memory_format=torch.channels_last)
    inputs = torch.rand(batch, 1, 80, 16), torch.rand(batch, 6, 96, 96).to(memory_format=torch.channels_last)
    expected = network(*inputs)
    prepack_weights(network)
    assert (network(*inputs) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_runtime_is_within_a_level_of_plain_loop(precision, trained):
    generator, inputs = build_generator(1.0, 96, trained), random_inputs(2)
    difference = np.abs(GeneratorRuntime(generator, CPU, precision)(inputs[0], inputs[1], inputs[2])
                        - generate_reference(generator, *inputs))  # fmt: skip
    assert difference.mean() < 1  # truncation to integers contributes 0.5
    assert difference.max() < (1.01 if precision == "fp32" else 12)


@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
@pytest.mark.parametrize("share", [0.01, 1 / 3, 0.5])
def test_decode_lower_rows_equals_full_decode(resolution, share):
    generator, (crops, mels, references) = build_generator(0.0625, resolution), random_inputs(2, resolution)
    runtime, top = GeneratorRuntime(generator, CPU, "fp32"), int(share * resolution)
    full, lower = runtime(crops, mels, references), runtime(crops, mels, references, top)
    assert np.abs(lower[:, top:].astype(int) - full[:, top:]).max() <= 1  # another order of summation
    assert np.array_equal(lower[:, :top], crops[:, :top])
    assert full[:, top:].std() > 5


def test_first_rows_equal_manual_calculation():
    rows = first_rows(96, 32)
    assert rows == [0, 0, 0, 0, 2, 6, 14, 31]  # of maps 1, 1, 3, 6, 12, 24, 48 and 96 pixels high, computed by hand


def test_generator_input_bytes_equal_training_input():
    crops, _, references = random_inputs(3)
    actual = torch.from_numpy(generator_input_bytes(crops, references)).permute(0, 3, 1, 2).float() / 255
    expected = generator_input(to_network(torch.from_numpy(crops)), to_network(torch.from_numpy(references)))
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_several_devices_equal_one(count):
    generator, (crops, mels, _) = build_generator(), random_inputs(count)
    single, triple = GeneratorRuntime(generator, CPU, "fp32"), GeneratorRuntime(generator, [CPU] * 3, "fp32")
    assert triple.call_size(4) == 3 * single.call_size(4) == 12
    separate = np.concatenate([single(crops[n : n + 1], mels[n : n + 1]) for n in range(count)])
    # Another order of summation may cross an integer.
    assert np.abs(triple(crops, mels).astype(int) - separate).max() <= 1


class SmallMemory:
    """A generator that returns its input, and runs out of memory with more than three faces."""

    def __init__(self, error):
        self.error, self.batch_sizes = error, []

    def __call__(self, mels, inputs, top=0):
        self.batch_sizes.append(len(mels))
        if len(mels) > 3:
            raise self.error
        return inputs[..., :3]


@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("MPS backend out of memory (MPS allocated: 7.64 GiB, max allowed: 9.07 GiB)."),
])  # fmt: skip
def test_out_of_memory_halves_batch_permanently(error, caplog):
    generator, (crops, mels, references) = SmallMemory(error), random_inputs(9)
    inputs = generator_input_bytes(crops, references)
    worker = DeviceRunner(generator, torch.device("cuda:1"))
    np.testing.assert_array_equal(worker(mels, inputs), inputs[..., :3])
    assert generator.batch_sizes == [9, 4, 2, 2, 2, 2, 1]
    assert [line.args[-2] for line in caplog.records] == [4, 2]  # new batch sizes
    assert all("cuda:1 ran out of memory" in line.getMessage() for line in caplog.records)
    generator.batch_sizes.clear()
    worker(mels[:4], inputs[:4])
    assert generator.batch_sizes == [2, 2]


def test_other_errors_do_not_halve_batch():
    crops, mels, references = random_inputs(4)
    inputs = generator_input_bytes(crops, references)
    for error in (RuntimeError("shapes differ"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        generator = SmallMemory(error)
        with pytest.raises(RuntimeError, match=str(error)):
            DeviceRunner(generator, CPU)(mels, inputs)
        assert generator.batch_sizes == [4]


def test_precision_is_loaded_once_and_public_is_fp32():
    runtime = GeneratorRuntime(build_generator(), CPU)
    assert runtime.with_precision("fp32") is runtime.with_precision("fp32")
    assert runtime.with_precision("auto") is runtime
    assert TorchGenerator(build_generator(), CPU, "auto").dtype == inference_dtype(CPU)
    assert LipSyncOptions(compat="public").generator_precision == "fp32"
    assert LipSyncOptions(compat="public", precision="bf16").generator_precision == "bf16"
    assert LipSyncOptions().generator_precision == "auto"
    with pytest.raises(InputError, match="--precision=half: must be one of"):
        LipSyncOptions(precision="half")


def test_choose_devices_splits_names_and_rejects_duplicates():
    assert choose_devices("cpu") == [CPU]
    with pytest.raises(InputError, match="--device cpu,cpu"):
        choose_devices("cpu,cpu")
    with pytest.raises(InputError, match="device cuda:77"):
        choose_devices("cpu, cuda:77")


@pytest.mark.parametrize("resolution", [192, 384])
def test_command_runs_other_resolutions(resolution, tmp_path):
    save_checkpoint(tmp_path / "g.pth", Checkpoint(build_generator(0.0625, resolution).state_dict()))
    frames = list(np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8))
    write_video(tmp_path / "face.mp4", frames)
    write_wav(tmp_path / "audio.wav", tone(0.2))
    infer(["--checkpoint_path", str(tmp_path / "g.pth"), "--face", str(tmp_path / "face.mp4"), "--audio",
           str(tmp_path / "audio.wav"), "--outfile", str(tmp_path / "out.mp4"), "--box", "8", "56", "8", "56",
           "--precision", "bf16", "--device", "cpu"])  # fmt: skip
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 5
    assert probe(tmp_path / "out.mp4").seconds == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2"])
def test_cpu_without_avx512_is_not_prepacked(monkeypatch, capability):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    network = fuse_batchnorm(Wav2Lip(width=0.0625).eval())
    prepack_weights(network)
    assert not any(isinstance(part, PrepackedBlock) for part in network.modules())


def test_prepack_falls_back_on_unsupported_cpu(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    network = fuse_batchnorm(Wav2Lip(width=0.0625).eval())

    def fail(*_):
        raise RuntimeError("bf16 path needs the cpu support avx512bw\nsecond line")

    monkeypatch.setattr("wav2lip.lipsync.optimize.onednn_prepack.PrepackedBlock.forward", fail)
    prepack_weights(network)
    assert not any(isinstance(part, PrepackedBlock) for part in network.modules())
    assert "bf16 path needs the cpu support avx512bw" in caplog.text
