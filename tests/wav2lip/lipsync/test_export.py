"""An exported generator paints what its checkpoint does, through whatever runs it."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from models import Wav2Lip
from tests.conftest import tone, write_video, write_wav
from tests.wav2lip.lipsync.test_repaint import made, work
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.crops import generator_input, to_network
from wav2lip.errors import InputError
from wav2lip.export import export
from wav2lip.infer import infer
from wav2lip.lipsync.exported import ExportedGenerator, load_generator, onnx_runtime_run
from wav2lip.lipsync.repaint import Repainter
from wav2lip.media import read_frames

CPU = torch.device("cpu")
ONNX = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not ONNX, reason="pip install onnx onnxscript onnxruntime, the extra 'onnx'")
needs_openvino = pytest.mark.skipif(
    not (ONNX and find_spec("openvino")), reason="pip install openvino, the extra 'openvino'"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A thin checkpoint and what was exported of it."""
    folder = tmp_path_factory.mktemp("exported")
    save_checkpoint(folder / "g.pth", Checkpoint(made(0.0625).state_dict()))
    export(folder / "g.pth", folder / "new folder" / "g.onnx")
    return folder / "g.pth", folder / "new folder" / "g.onnx"


@needs_onnx
@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2, 5])
def test_onnx_runtime_gives_the_networks_numbers_at_any_batch_size(exported, count):
    crops, mels, references = work(count)
    shown = generator_input(to_network(torch.from_numpy(crops)), to_network(torch.from_numpy(references)))
    expected = made(0.0625)(torch.from_numpy(mels), shown).numpy()
    np.testing.assert_allclose(onnx_runtime_run(exported[1], CPU)(mels, shown.numpy()), expected, atol=2e-5)


@needs_onnx
@pytest.mark.parametrize("with_openvino", [False, pytest.param(True, marks=needs_openvino)])
def test_an_exported_generator_paints_what_its_checkpoint_paints(exported, with_openvino):
    checkpoint, onnx = (load_generator(path) for path in exported)
    assert isinstance(onnx, ExportedGenerator)
    onnx.with_openvino = with_openvino
    crops, mels, references = work(3)
    ours = Repainter(checkpoint, CPU, "fp32")(crops, mels, references).astype(int)
    assert np.abs(Repainter(onnx, CPU, "fp32")(crops, mels, references) - ours).max() <= 1
    assert np.abs(Repainter(onnx, CPU, "auto")(crops, mels, references) - ours).mean() < 1


@pytest.mark.slow
@needs_openvino
def test_openvinos_own_form_is_written_with_its_weights_beside_it(exported, tmp_path):
    export(exported[0], tmp_path / "g.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.bin", "g.xml"]
    crops, mels, _ = work(2)
    ours = Repainter(load_generator(exported[0]), CPU, "fp32")(crops, mels).astype(int)
    assert np.abs(Repainter(load_generator(tmp_path / "g.xml"), CPU, "fp32")(crops, mels) - ours).max() <= 1


@pytest.mark.slow
@needs_onnx
def test_the_command_takes_an_exported_generator_of_another_resolution(tmp_path):
    save_checkpoint(tmp_path / "g.pth", Checkpoint(made(0.0625, 192).state_dict()))
    export(tmp_path / "g.pth", tmp_path / "g.onnx", opset=20)
    frames = list(np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8))
    write_video(tmp_path / "face.mp4", frames)
    write_wav(tmp_path / "sound.wav", tone(0.2))
    results = []
    for name in ("g.pth", "g.onnx"):
        infer(["--checkpoint_path", str(tmp_path / name), "--face", str(tmp_path / "face.mp4"), "--audio",
               str(tmp_path / "sound.wav"), "--outfile", str(tmp_path / "out.mkv"), "--box", "8", "56", "8", "56",
               "--precision", "fp32", "--device", "cpu"])  # fmt: skip
        results.append(np.stack(list(read_frames(tmp_path / "out.mkv"))).astype(int))
    assert np.abs(results[0] - results[1]).mean() < 1


@needs_onnx
def test_files_that_are_no_exported_generator_are_refused_by_name(tmp_path, exported):
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
            load_generator(tmp_path / name)
    with pytest.raises(InputError, match=r"other\.onnx: is no generator of wav2lip\.export"):
        load_generator(tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"none\.onnx: no such file"):
        load_generator(tmp_path / "none.onnx")


@needs_onnx
def test_a_precision_that_the_file_does_not_have_is_refused(exported):
    onnx = load_generator(exported[1])
    onnx.with_openvino = False
    with pytest.raises(InputError, match="--precision bf16: ONNX Runtime computes .* as it was exported; use auto"):
        Repainter(onnx, CPU, "bf16")(*work(1)[:2])


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "g.pth", Checkpoint(Wav2Lip(0.0625).state_dict()))
    (tmp_path / "g.onnx").write_bytes(b"")
    (tmp_path / "g.xml").write_bytes(b"")
    absent = ("onnx", "onnxscript", "onnxruntime", "openvino")
    for module in ("wav2lip.export", "wav2lip.lipsync.exported"):
        monkeypatch.setattr(sys.modules[module], "find_spec", lambda name: None if name in absent else find_spec(name))
    with pytest.raises(InputError, match=r"needs onnx and onnxscript; pip install 'wav2lip-toolkit\[onnx\]'"):
        export(tmp_path / "g.pth", tmp_path / "new.onnx")
    with pytest.raises(InputError, match=r"needs ONNX Runtime; pip install 'wav2lip-toolkit\[onnx\]'"):
        load_generator(tmp_path / "g.onnx")
    with pytest.raises(InputError, match=r"needs OpenVINO; pip install 'wav2lip-toolkit\[openvino\]'"):
        load_generator(tmp_path / "g.xml")
    with pytest.raises(InputError, match=r"ends in none of \.onnx, \.xml"):
        export(tmp_path / "g.pth", tmp_path / "new.engine")
