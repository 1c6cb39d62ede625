"""Exported generator under OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

METADATA = ["framework", "wav2lip"]  # path of the JSON in rt_info; OpenVINO puts that of an .onnx file there too
PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def has_openvino() -> bool:
    """Return True if OpenVINO is installed."""
    return find_spec("openvino") is not None


def compile_openvino(path: Path, precision: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Compile a generator for the CPU. Thread-safe; precision "auto" is bf16 on CPUs that compute in it.

    Returns: a function from mels (N, 1, 80, 16) and faces (N, 6, R, R) to faces (N, 3, R, R), all float32.
    """
    import openvino

    hint = {} if precision == "auto" else {"INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision]}
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", {**hint, **threads})

    def infer(mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        request = compiled.create_infer_request()  # one per call, because a request serves one thread at a time
        return request.infer({"mel": mels, "faces": faces})[0]

    return infer


def openvino_input_shapes(path: Path) -> dict[str, list[Any]]:
    """Return the shape of each input by name; 0 for a dynamic dimension."""
    import openvino

    def size(dimension: Any) -> int:
        return dimension.get_length() if dimension.is_static else 0

    inputs = openvino.Core().read_model(path).inputs
    return {node.any_name: [size(dimension) for dimension in node.partial_shape] for node in inputs}


def openvino_metadata(path: Path) -> str | None:
    """Return the METADATA of a file."""
    import openvino

    model = openvino.Core().read_model(path)
    return str(model.get_rt_info(METADATA).value) if model.has_rt_info(METADATA) else None
