"""Reader of MTCNN's weights in the wheel `mtcnn`, without importing that package, which requires TensorFlow.

A file is an LZ4 frame around a joblib pickle: a list of arrays, the bytes of each following its header. A pickle can
run any code; here every name in it maps to a class of this module that can only hold float32.
"""

from __future__ import annotations

import importlib.util
import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from face_detection.detectors.mtcnn_network import CascadeNet
from face_detection.interface import DetectorError

FILES = ("pnet.lz4", "rnet.lz4", "onet.lz4")  # P-Net, R-Net, O-Net
FOLDER = Path("assets", "weights")  # relative to the package
REMEDY = 'run pip install "mtcnn>=1.0" "lz4>=4.3"'

# Raised when corrupt bytes are unpickled; the standard library has no common base class for them.
UNREADABLE = (pickle.UnpicklingError, EOFError, ValueError, LookupError, AttributeError, TypeError, OverflowError)


def find_installed_weights() -> Path:
    """Return the folder of the weights in the installed package, without importing it.

    Raises: DetectorError if the package or its files are missing.
    """
    spec = importlib.util.find_spec("mtcnn")
    for package in (spec and spec.submodule_search_locations) or ():
        folder = Path(package) / FOLDER
        if all((folder / name).is_file() for name in FILES):
            return folder
    raise DetectorError(f"the package mtcnn, which contains MTCNN's weights, is not installed; {REMEDY}")


def load_weights(network: CascadeNet, path: Path) -> CascadeNet:
    """Load the weights of a network from a file and return the network.

    Raises: DetectorError if the file is missing, corrupt, or not float32 arrays of this network's sizes.
    """
    arrays = read_arrays(path)
    state = network.state_dict()
    if [array.size for array in arrays] != [weights.numel() for weights in state.values()]:
        raise DetectorError(f"{path}: weights of another network; {REMEDY}")
    pairs = zip(state.items(), arrays, strict=True)
    network.load_state_dict({key: _to_torch_layout(array, weights.shape) for (key, weights), array in pairs})
    return network


def read_arrays(path: Path) -> list[np.ndarray]:
    """Read the float32 arrays of a weights file in their order.

    Raises: DetectorError if the file cannot be opened, is corrupt, or contains anything else.
    """
    try:
        import lz4.frame
    except ImportError as error:
        raise DetectorError(f"the package lz4, required to read {path.name}, is not installed; {REMEDY}") from error
    try:
        content = lz4.frame.decompress(path.read_bytes())
        entries = _Unpickler(io.BytesIO(content)).load()
        return [entry.array for entry in entries]
    except OSError as error:
        raise DetectorError(f"{path}: cannot be opened ({error}); {REMEDY}") from error
    except (RuntimeError, *UNREADABLE) as error:  # lz4 raises RuntimeError
        raise DetectorError(f"{path}: not a weights file of MTCNN ({error}); {REMEDY}") from error


class _Ignored:
    """Replacement for a name whose value is not needed."""


class _DType:
    """Replacement for numpy.dtype that accepts only little-endian float32."""

    def __init__(self, code: str, align: bool, copy: bool):
        if code != "f4":
            raise pickle.UnpicklingError(f"an array of type {code}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<":
            raise pickle.UnpicklingError(f"an array of byte order {state[1]}")


class _Array:
    """Replacement for joblib's array header; reads the array's bytes, which follow it in the file."""

    file: io.BytesIO  # set in a subclass for each file
    array: np.ndarray

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state["dtype"], _DType) or state["order"] != "C":
            raise pickle.UnpicklingError("an array that is not float32 in C order")
        if state.get("numpy_array_alignment_bytes") is not None:
            (padding,) = self.file.read(1)
            self.file.seek(padding, io.SEEK_CUR)
        content = self.file.read(4 * math.prod(state["shape"]))
        self.array = np.frombuffer(content, "<f4").reshape(state["shape"])


class _Unpickler(pickle.Unpickler):
    """Unpickler that rejects every name but the three of a list of arrays, and maps those to harmless classes."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.names: dict[tuple[str, str], type] = {
            ("joblib.numpy_pickle", "NumpyArrayWrapper"): type("Array", (_Array,), {"file": file}),
            ("numpy", "ndarray"): _Ignored,
            ("numpy", "dtype"): _DType,
        }

    def find_class(self, module: str, name: str) -> type:
        """Return the replacement for a name."""
        try:
            return self.names[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}") from None


def _to_torch_layout(array: np.ndarray, shape: torch.Size) -> Tensor:
    """Convert a kernel (height, width, in, out) or a layer (width * height * in, out) to (out, in, height, width)."""
    weights = torch.from_numpy(array.copy())
    if weights.dim() == 4:
        return weights.permute(3, 2, 0, 1)
    if weights.dim() == 2:
        return weights.reshape(shape[3], shape[2], shape[1], shape[0]).permute(3, 2, 1, 0)
    return weights.reshape(shape)
