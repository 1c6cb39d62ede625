"""Generator files: checkpoints, and networks exported by `wav2lip.export`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import Wav2Lip
from models.resolutions import FACTORS
from wav2lip.checkpoints import build_network, load_checkpoint
from wav2lip.errors import InputError
from wav2lip.faces.framing import FaceFraming, read_framing
from wav2lip.faces.tensors import from_network_array
from wav2lip.lipsync.backends.interface import Backend
from wav2lip.lipsync.backends.onnx import has_onnx_runtime, load_onnx, onnx_input_shapes, onnx_metadata, read_errors
from wav2lip.lipsync.backends.openvino import (
    compile_openvino,
    has_openvino,
    openvino_input_shapes,
    openvino_metadata,
)
from wav2lip.lipsync.backends.pytorch import TorchBackend
from wav2lip.types import PathType

INPUTS = ("mel", "faces")  # input names of an exported generator, those of `Wav2Lip.forward`
SUFFIXES = (".onnx", ".xml")  # ONNX and OpenVINO


def load_backend(path: PathType) -> Backend:
    """Open a generator file: an exported one by its suffix, otherwise a checkpoint. Raises: InputError."""
    if Path(path).suffix.lower() in SUFFIXES:
        return ExportedBackend(path)
    checkpoint = load_checkpoint(path)
    return TorchBackend(build_network(checkpoint, path, Wav2Lip), checkpoint_framing(path, checkpoint.extras))


def checkpoint_framing(path: PathType, extras: Mapping[str, Any]) -> FaceFraming | None:
    """Read the framing of a generator file. Raises: InputError if it is corrupt."""
    try:
        return read_framing(extras)
    except ValueError as error:
        raise InputError(f"{path}: its {error}; train or export it again") from error


class ExportedBackend:
    """An exported generator: OpenVINO runs it on the CPU if installed, ONNX Runtime otherwise and on other devices."""

    def __init__(self, path: PathType):
        """Raises: InputError if the file is not a generator, or no runtime for it is installed."""
        self.path = Path(path)
        self.is_openvino_file = self.path.suffix.lower() == ".xml"
        if not self.path.is_file():
            raise InputError(f"{path}: no such file; check the path")
        self.has_openvino = has_openvino()
        if not self.has_openvino and self.is_openvino_file:
            raise InputError(f"{path}: requires OpenVINO; pip install 'wav2lip-toolkit[openvino]'")
        if not self.has_openvino and not has_onnx_runtime():
            raise InputError(f"{path}: requires ONNX Runtime; pip install 'wav2lip-toolkit[onnx]', or [openvino]")
        self.resolution = self._read_resolution()
        self.framing = self._read_framing()

    def load(self, device: torch.device, precision: str) -> ExportedGenerator:
        """Load the generator; ONNX Runtime supports fp32 only."""
        if device.type == "cpu" and self.has_openvino:
            return ExportedGenerator(compile_openvino(self.path, precision))
        if self.is_openvino_file:
            raise InputError(f"{self.path}: OpenVINO runs on the CPU only; use --device cpu, or an .onnx file")
        if not has_onnx_runtime():
            raise InputError(f"{self.path}: requires ONNX Runtime on {device}; pip install 'wav2lip-toolkit[onnx]'")
        if precision not in ("auto", "fp32"):
            raise InputError(f"--precision={precision}: must be auto for {self.path} under ONNX Runtime")
        return ExportedGenerator(load_onnx(self.path, device))

    def _read_resolution(self) -> int:
        """Read the width of a face crop. Raises: InputError if the file is not a generator."""
        try:
            shapes = (openvino_input_shapes if self.has_openvino else onnx_input_shapes)(self.path)
        except read_errors() as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"{self.path}: cannot be read ({reason}); export it again") from error
        faces = shapes.get("faces", [])
        if set(shapes) != set(INPUTS) or len(faces) != 4 or faces[-1] not in FACTORS:
            raise InputError(f"{self.path}: is not a generator of wav2lip.export; export the checkpoint again")
        return int(faces[-1])

    def _read_framing(self) -> FaceFraming | None:
        """Read the framing; None in files of earlier versions. Raises: InputError if it is corrupt."""
        text = (openvino_metadata if self.has_openvino else onnx_metadata)(self.path)
        try:
            return checkpoint_framing(self.path, json.loads(text or "{}"))
        except ValueError as error:
            raise InputError(f"{self.path}: has corrupt metadata; export it again") from error


class ExportedGenerator:
    """An exported generator on a device."""

    def __init__(self, infer: Callable[[np.ndarray, np.ndarray], np.ndarray]):
        """infer: see `load_onnx`."""
        self.infer = infer

    def __call__(self, mels: np.ndarray, faces: np.ndarray, first_row: int = 0) -> np.ndarray:
        stacked = np.ascontiguousarray(faces.transpose(0, 3, 1, 2), np.float32)
        stacked /= 255
        return from_network_array(self.infer(mels, stacked))
