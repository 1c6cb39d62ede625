"""Exported generator under ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wav2lip.errors import InputError

METADATA = "wav2lip"  # key of an exported file for JSON with the extras of a checkpoint that inference uses
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}


def has_onnx_runtime() -> bool:
    """Return True if ONNX Runtime is installed."""
    return find_spec("onnxruntime") is not None


def load_onnx(path: Path, device: torch.device) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Load a generator.

    Returns: a function from mels (N, 1, 80, 16) and faces (N, 6, R, R) to faces (N, 3, R, R), all float32.
    Raises: InputError if the installed build does not support the device.
    """
    session = _open_session(path, device)

    def infer(mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        return session.run(None, {"mel": mels, "faces": faces})[0]

    return infer


def onnx_input_shapes(path: Path) -> dict[str, list[Any]]:
    """Return the shape of each input by name."""
    return {node.name: list(node.shape) for node in _open_session(path, torch.device("cpu")).get_inputs()}


def onnx_metadata(path: Path) -> str | None:
    """Return the METADATA of a file."""
    metadata: dict[str, str] = _open_session(path, torch.device("cpu")).get_modelmeta().custom_metadata_map
    return metadata.get(METADATA)


def read_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that the installed runtimes raise for an unreadable file; OpenVINO's is RuntimeError."""
    if not has_onnx_runtime():
        return (RuntimeError,)
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (RuntimeError, state.InvalidProtobuf, state.Fail, state.InvalidGraph, state.InvalidArgument, state.NoModel)


def _open_session(path: Path, device: torch.device) -> Any:
    import onnxruntime

    provider = PROVIDERS.get(device.type)
    if provider not in onnxruntime.get_available_providers():
        raise InputError(f"{path}: the installed ONNX Runtime does not support {device}; use --device cpu")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    options = [{"device_id": str(device.index or 0)}] if device.type == "cuda" else [{}]
    return onnxruntime.InferenceSession(str(path), settings, providers=[provider], provider_options=options)
