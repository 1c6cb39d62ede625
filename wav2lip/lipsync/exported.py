"""Generators that `wav2lip.export` made of checkpoints, run by OpenVINO or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import Wav2Lip
from models.resolutions import FACTORS
from wav2lip.checkpoints import load_network
from wav2lip.crops import bytes_of
from wav2lip.errors import InputError
from wav2lip.lipsync.repaint import LipGenerator, TorchGenerator

INPUTS = ("mel", "faces")  # names of an exported generator's inputs, those of `Wav2Lip.forward`
SUFFIXES = (".onnx", ".xml")  # of ONNX, and of OpenVINO's own form

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (N, 1, 80, 16), (N, 6, R, R) -> (N, 3, R, R), all float32


def load_generator(path: str | PathLike[str]) -> LipGenerator:
    """A checkpoint's generator, or an exported one: told by the end of the file's name.

    Raises: InputError if it cannot be used.
    """
    if Path(path).suffix.lower() in SUFFIXES:
        return ExportedGenerator(path)
    return TorchGenerator(load_network(path, Wav2Lip))


class ExportedGenerator:
    """A file with an exported generator."""

    def __init__(self, path: str | PathLike[str]):
        """Raises: InputError if the file is no generator or nothing that runs it is installed."""
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path}: no such file; check the path")
        self.with_openvino = find_spec("openvino") is not None
        if not self.with_openvino and self.path.suffix.lower() == ".xml":
            raise InputError(f"{path}: needs OpenVINO; pip install 'wav2lip-toolkit[openvino]'")
        if not self.with_openvino and find_spec("onnxruntime") is None:
            raise InputError(f"{path}: needs ONNX Runtime; pip install 'wav2lip-toolkit[onnx]', or [openvino]")
        self.resolution = self._resolution()

    def on(self, device: torch.device, precision: str) -> ExportedPainter:
        """Made ready; OpenVINO runs it on the CPU, ONNX Runtime elsewhere, in fp32, and where there is no OpenVINO."""
        if device.type == "cpu" and self.with_openvino:
            return ExportedPainter(openvino_run(self.path, precision))
        if self.path.suffix.lower() == ".xml":
            raise InputError(f"{self.path}: OpenVINO runs on the CPU here; give --device cpu, or an .onnx file")
        if find_spec("onnxruntime") is None:
            raise InputError(f"{self.path}: needs ONNX Runtime on {device}; pip install 'wav2lip-toolkit[onnx]'")
        if precision not in ("auto", "fp32"):
            raise InputError(f"--precision {precision}: ONNX Runtime computes {self.path} as it was exported; use auto")
        return ExportedPainter(onnx_runtime_run(self.path, device))

    def _resolution(self) -> int:
        """Raises: InputError if the file cannot be read or its inputs are not a generator's."""
        try:
            shapes = _openvino_shapes(self.path) if self.with_openvino else _onnx_shapes(self.path)
        except _unreadable() as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"{self.path}: cannot be read ({reason}); export it again") from error
        faces = shapes.get("faces", [])
        if set(shapes) != set(INPUTS) or len(faces) != 4 or faces[-1] not in FACTORS:
            raise InputError(f"{self.path}: is no generator of wav2lip.export; export the checkpoint again")
        return int(faces[-1])


class ExportedPainter:
    """An exported generator ready on a device."""

    def __init__(self, run: Run):
        self.run = run

    def __call__(self, mels: np.ndarray, pictures: np.ndarray, top: int = 0) -> np.ndarray:
        faces = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32)
        faces /= 255
        return bytes_of(self.run(mels, faces))


OPENVINO_NAMES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def openvino_run(path: Path, precision: str) -> Run:
    """A generator under OpenVINO, which by itself takes bf16 where the CPU computes in it; threads may share it."""
    import openvino

    hint = {} if precision == "auto" else {"INFERENCE_PRECISION_HINT": OPENVINO_NAMES[precision]}
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", {**hint, **threads})

    def run(mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        request = compiled.create_infer_request()  # of its own: one request works for one thread at a time
        return request.infer({"mel": mels, "faces": faces})[0]

    return run


def onnx_runtime_run(path: Path, device: torch.device) -> Run:
    """A generator under ONNX Runtime.

    Raises: InputError if the installed build does not know the device.
    """
    session = _session(path, device)

    def run(mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        return session.run(None, {"mel": mels, "faces": faces})[0]

    return run


def _session(path: Path, device: torch.device) -> Any:
    import onnxruntime

    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
    wanted = provider.get(device.type)
    if wanted not in onnxruntime.get_available_providers():
        raise InputError(f"{path}: the installed ONNX Runtime does not compute on {device}; use --device cpu")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    options = [{"device_id": str(device.index or 0)}] if device.type == "cuda" else [{}]
    return onnxruntime.InferenceSession(str(path), settings, providers=[wanted], provider_options=options)


def _onnx_shapes(path: Path) -> dict[str, list[Any]]:
    return {one.name: list(one.shape) for one in _session(path, torch.device("cpu")).get_inputs()}


def _openvino_shapes(path: Path) -> dict[str, list[Any]]:
    import openvino

    def size(dimension: Any) -> int:
        return dimension.get_length() if dimension.is_static else 0

    inputs = openvino.Core().read_model(path).inputs
    return {one.any_name: [size(dimension) for dimension in one.partial_shape] for one in inputs}


def _unreadable() -> tuple[type[Exception], ...]:
    """What the libraries at hand raise for a file that they cannot read."""
    if find_spec("onnxruntime") is None:
        return (RuntimeError,)  # all that OpenVINO raises
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (RuntimeError, state.InvalidProtobuf, state.Fail, state.InvalidGraph, state.InvalidArgument, state.NoModel)
