"""Exported generators give the output of their checkpoints under every runtime."""

import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch

from models import Wav2Lip
from tests.helpers.generator import build_generator, random_inputs
from tests.helpers.media import tone, write_video, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.dataset.clip import Clip, ClipWriter
from wav2lip.errors import InputError
from wav2lip.export import export
from wav2lip.faces.tensors import generator_input, to_network
from wav2lip.infer import infer
from wav2lip.lipsync.backends.exported import ExportedBackend, load_backend
from wav2lip.lipsync.backends.onnx import load_onnx
from wav2lip.lipsync.generator_runtime import GeneratorRuntime
from wav2lip.lipsync.optimize.quantization import read_faces
from wav2lip.media import read_frames

CPU = torch.device("cpu")
ONNX = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not ONNX, reason="pip install onnx onnxscript onnxruntime, the extra 'onnx'")
needs_openvino = pytest.mark.skipif(
    not (ONNX and find_spec("openvino")), reason="pip install openvino, the extra 'openvino'"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A narrow checkpoint and its export."""
    folder = tmp_path_factory.mktemp("exported")
    save_checkpoint(folder / "g.pth", Checkpoint(build_generator(0.0625).state_dict()))
    export(folder / "g.pth", folder / "folder" / "g.onnx")
    return folder / "g.pth", folder / "folder" / "g.onnx"


@needs_onnx
@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2, 5])
def test_onnx_runtime_equals_pytorch_at_any_batch_size(exported, count):
    crops, mels, references = random_inputs(count)
    faces = generator_input(to_network(torch.from_numpy(crops)), to_network(torch.from_numpy(references)))
    expected = build_generator(0.0625)(torch.from_numpy(mels), faces).numpy()
    np.testing.assert_allclose(load_onnx(exported[1], CPU)(mels, faces.numpy()), expected, atol=2e-5)


@needs_onnx
@pytest.mark.parametrize("with_openvino", [False, pytest.param(True, marks=needs_openvino)])
def test_exported_generator_equals_its_checkpoint(exported, with_openvino):
    checkpoint, onnx = (load_backend(path) for path in exported)
    assert isinstance(onnx, ExportedBackend)
    onnx.has_openvino = with_openvino
    crops, mels, references = random_inputs(3)
    expected = GeneratorRuntime(checkpoint, CPU, "fp32")(crops, mels, references).astype(int)
    assert np.abs(GeneratorRuntime(onnx, CPU, "fp32")(crops, mels, references) - expected).max() <= 1
    assert np.abs(GeneratorRuntime(onnx, CPU, "auto")(crops, mels, references) - expected).mean() < 1


@pytest.mark.slow
@needs_openvino
def test_openvino_export_writes_xml_and_bin(exported, tmp_path):
    export(exported[0], tmp_path / "g.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.bin", "g.xml"]
    crops, mels, _ = random_inputs(2)
    expected = GeneratorRuntime(load_backend(exported[0]), CPU, "fp32")(crops, mels).astype(int)
    assert np.abs(GeneratorRuntime(load_backend(tmp_path / "g.xml"), CPU, "fp32")(crops, mels) - expected).max() <= 1


@pytest.mark.slow
@needs_onnx
def test_infer_runs_an_exported_generator_of_192_pixels(tmp_path):
    save_checkpoint(tmp_path / "g.pth", Checkpoint(build_generator(0.0625, 192).state_dict()))
    export(tmp_path / "g.pth", tmp_path / "g.onnx", opset=20)
    frames = list(np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8))
    write_video(tmp_path / "face.mp4", frames)
    write_wav(tmp_path / "audio.wav", tone(0.2))
    results = []
    for name in ("g.pth", "g.onnx"):
        infer(["--checkpoint_path", str(tmp_path / name), "--face", str(tmp_path / "face.mp4"), "--audio",
               str(tmp_path / "audio.wav"), "--outfile", str(tmp_path / "out.mkv"), "--box", "8", "56", "8", "56",
               "--precision", "fp32", "--device", "cpu"])  # fmt: skip
        results.append(np.stack(list(read_frames(tmp_path / "out.mkv"))).astype(int))
    assert np.abs(results[0] - results[1]).mean() < 1


@needs_onnx
def test_files_that_are_not_a_generator_are_rejected(tmp_path, exported):
    from onnx import TensorProto, helper, save

    (tmp_path / "text.onnx").write_text("Dear diary,\n" * 30)
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "cut.onnx").write_bytes(exported[1].read_bytes()[:5000])
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", [value],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "other.onnx")
    for name in ("text.onnx", "empty.onnx", "cut.onnx"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read \(.+\); export it again"):
            load_backend(tmp_path / name)
    with pytest.raises(InputError, match=r"other\.onnx: is not a generator of wav2lip\.export"):
        load_backend(tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"none\.onnx: no such file"):
        load_backend(tmp_path / "none.onnx")


@needs_onnx
def test_unsupported_precision_is_rejected(exported):
    onnx = load_backend(exported[1])
    onnx.has_openvino = False
    with pytest.raises(InputError, match="--precision=bf16: must be auto"):
        GeneratorRuntime(onnx, CPU, "bf16")(*random_inputs(1)[:2])


def test_missing_packages_and_suffixes_are_named(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "g.pth", Checkpoint(Wav2Lip(0.0625).state_dict()))
    (tmp_path / "g.onnx").write_bytes(b"")
    (tmp_path / "g.xml").write_bytes(b"")
    missing = ("onnx", "onnxscript", "onnxruntime", "openvino")
    for module in ("wav2lip.export", "wav2lip.lipsync.backends.onnx", "wav2lip.lipsync.backends.openvino"):
        monkeypatch.setattr(sys.modules[module], "find_spec", lambda name: None if name in missing else find_spec(name))
    with pytest.raises(InputError, match=r"onnx and onnxscript; pip install"):
        export(tmp_path / "g.pth", tmp_path / "new.onnx")
    with pytest.raises(InputError, match=r"requires ONNX Runtime; pip install 'wav2lip-toolkit\[onnx\]'"):
        load_backend(tmp_path / "g.onnx")
    with pytest.raises(InputError, match=r"requires OpenVINO; pip install 'wav2lip-toolkit\[openvino\]'"):
        load_backend(tmp_path / "g.xml")
    with pytest.raises(InputError, match=r"new\.engine.*\.onnx or \.xml"):
        export(tmp_path / "g.pth", tmp_path / "new.engine")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Folder of two clips of smooth random faces."""
    root, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for name in ("anna/00000", "bob/00000"):
        with ClipWriter(root, name) as clip:
            for number in range(50):
                clip.write_frame(number, cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (96, 96)))
            clip.write_audio([tone(2.0)])
    return root


@needs_onnx
@pytest.mark.parametrize(("form", "num_float"), [pytest.param("int8", 0, marks=pytest.mark.slow), ("mixed", 8)])
def test_quantized_generator_is_close_to_its_checkpoint(exported, clips, tmp_path, form, num_float, caplog):
    import onnx

    caplog.set_level("INFO")
    export(exported[0], tmp_path / "g.onnx", quantization=form, calibration_data=clips)
    assert "16 faces differ from float32 by" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]
    graph = onnx.load(tmp_path / "g.onnx").graph
    produced = {output: node.op_type for node in graph.node for output in node.output}
    inputs = [produced.get(node.input[0]) for node in graph.node if node.op_type == "Conv"]
    assert len(inputs) == 45 and inputs.count("DequantizeLinear") == 45 - num_float
    checkpoint, quantized = load_backend(exported[0]), load_backend(tmp_path / "g.onnx")
    quantized.has_openvino = False
    faces = read_faces(clips, 96, 6)
    crops = np.stack([np.uint8(face["faces"][0, 5:2:-1] * 255 + 0.5).transpose(1, 2, 0) for face in faces])
    mels = np.concatenate([face["mel"] for face in faces])
    expected = GeneratorRuntime(checkpoint, CPU, "fp32")(crops, mels).astype(int)
    difference = np.abs(GeneratorRuntime(quantized, CPU)(crops, mels) - expected)
    assert expected[:, 48:].std() > 20  # not a uniform image
    assert 0 < difference.mean() < 5


@pytest.mark.slow
@needs_openvino
def test_infer_runs_a_quantized_generator_under_openvino(exported, clips, tmp_path):
    export(exported[0], tmp_path / "g.xml", quantization="mixed", calibration_data=clips)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.bin", "g.xml"]
    frames = [cv2.resize(np.random.default_rng(n).integers(0, 255, (5, 5, 3), np.uint8), (64, 64)) for n in range(5)]
    write_video(tmp_path / "face.mp4", frames)
    write_wav(tmp_path / "audio.wav", tone(0.2))
    results = []
    for path in (exported[0], tmp_path / "g.xml"):
        infer(["--checkpoint_path", str(path), "--face", str(tmp_path / "face.mp4"), "--audio",
               str(tmp_path / "audio.wav"), "--outfile", str(tmp_path / "out.mkv"), "--box", "8", "56", "8", "56",
               "--device", "cpu"])  # fmt: skip
        results.append(np.stack(list(read_frames(tmp_path / "out.mkv"))).astype(int))
    assert len(results[0]) == len(results[1]) == 5
    assert 0 < np.abs(results[0] - results[1])[:, 32:56, 8:56].mean() < 6


def test_calibration_set_spreads_over_clips_and_frames(clips):
    faces = read_faces(clips, 96, 4)
    first, second = (Clip.open(clips / name) for name in ("anna/00000", "bob/00000"))
    for face, clip, number in zip(faces, (first, first, second, second), (6, 18, 31, 43), strict=True):
        crop = clip.read(number, 96)[..., ::-1].transpose(2, 0, 1) / 255
        np.testing.assert_allclose(face["faces"][0, 3:], crop, atol=1e-6)
        assert not face["faces"][0, :3, 48:].any() and (face["faces"][0, :3, :48] == face["faces"][0, 3:, :48]).all()
        np.testing.assert_array_equal(face["mel"][0, 0], clip.mel()[:, int(80 * (number - 1) / 25) :][:, :16])


def test_quantization_without_clips_is_one_sentence(tmp_path):
    save_checkpoint(tmp_path / "g.pth", Checkpoint(Wav2Lip(0.0625).state_dict()))
    with pytest.raises(InputError, match="--quantize mixed, --calibration_data None: must be given together"):
        export(tmp_path / "g.pth", tmp_path / "g.onnx", quantization="mixed")
    if ONNX:
        with pytest.raises(InputError, match=f"--calibration_data {tmp_path}: has no clips; give the output folder"):
            export(tmp_path / "g.pth", tmp_path / "g.onnx", quantization="int8", calibration_data=tmp_path)
