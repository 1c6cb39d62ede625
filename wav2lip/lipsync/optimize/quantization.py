"""INT8 quantization of an exported generator (Jacob et al. 2018), for ONNX Runtime and OpenVINO.

Weights get a scale per channel, activations one per tensor, from the range of their values on a calibration set. The
file is an ONNX model with pairs of QuantizeLinear and DequantizeLinear, which both runtimes turn into integer kernels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wav2lip.audio.windows import cut_window, first_column
from wav2lip.dataset.clip import AUDIO, Clip
from wav2lip.dataset.filelist import read_filelist
from wav2lip.errors import InputError
from wav2lip.faces.tensors import generator_input_bytes
from wav2lip.types import PathType

FORMS = ("int8", "mixed")  # mixed: the layers of `_float_nodes`, which lose most, stay in float32
CALIBRATION_FACES, CHECK_FACES = 64, 16
FLOAT_STAGES = 2  # of the decoder, the last ones; with the output block they lose nearly all (docs/speed.md)
OPERATORS = ["Conv"]  # other operators in 8 bits are not faster in either runtime, and lose more

Inputs = dict[str, np.ndarray]  # "mel" (1, 1, 80, 16) and "faces" (1, 6, R, R), float32


def read_faces(data_root: PathType, resolution: int, count: int) -> list[Inputs]:
    """Read faces with their audio from a data set: one of each clip, or several if there are fewer clips than faces.

    data_root: folder of clips, as preprocess writes it; its training clips are used if it has file lists.
    Returns: inputs of the generator as at inference, where each face is its own reference.
    Raises: InputError if the folder has no clips.
    """
    paths = _find_clips(Path(data_root))
    chosen = [paths[number * len(paths) // count] for number in range(count)]
    inputs = []
    for number, path in enumerate(chosen):
        clip = Clip.open(path)
        frame = int(clip.frames[(2 * number + 1) * len(clip.frames) // (2 * count)])
        face = clip.read(frame, resolution)[None]
        stacked = generator_input_bytes(face, face).transpose(0, 3, 1, 2)
        mel = cut_window(clip.mel(write_cache=False), first_column(frame - 1))
        inputs.append({"mel": mel[None, None], "faces": np.ascontiguousarray(stacked, np.float32) / 255})
    return inputs


def _find_clips(root: Path) -> list[Path]:
    """Return the clip folders. Raises: InputError if there is none."""
    filelist = root / "filelists" / "train.txt"
    if filelist.is_file():
        return [root / name for name in read_filelist(filelist, root)]
    paths = sorted(path.parent for path in root.rglob(AUDIO))
    if not paths:
        raise InputError(f"--calibration_data {root}: has no clips; give the output folder of preprocess")
    return paths


def quantize(source: Path, outfile: Path, form: str, faces: Sequence[Inputs]) -> None:
    """Quantize an ONNX file of `wav2lip.export`.

    form: of FORMS. faces: the calibration set.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Calibration set in the form that ONNX Runtime reads."""

        def __init__(self) -> None:
            self._faces: Iterator[Inputs] = iter(faces)

        def get_next(self) -> Inputs | None:
            return next(self._faces, None)

    prepared = source.with_name(f"prepared_{source.name}")
    with _quiet_root_logger():
        quant_pre_process(str(source), str(prepared))
        model = onnx.load(prepared)
        quantize_static(
            str(prepared), str(outfile), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=OPERATORS, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_exclude=_float_nodes(model.graph) if form == "mixed" else [],
        )  # fmt: skip
    quantized = onnx.load(outfile)
    onnx.helper.set_model_props(quantized, {entry.key: entry.value for entry in onnx.load(source).metadata_props})
    onnx.save(quantized, outfile)
    prepared.unlink()


def _float_nodes(graph: Any) -> list[str]:
    """Return the first convolution of each encoder, and all nodes of the last decoder stages and the output block."""
    inputs = {node.name for node in graph.input}
    first = [node.name for node in graph.node if node.op_type == "Conv" and node.input[0] in inputs]
    # Nodes are in the order of computation, and each of these stages begins with a transposed convolution.
    stages = [number for number, node in enumerate(graph.node) if node.op_type == "ConvTranspose"]
    return first + [node.name for node in graph.node[stages[-FLOAT_STAGES] :]]


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Hide the advice that ONNX Runtime writes to the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
