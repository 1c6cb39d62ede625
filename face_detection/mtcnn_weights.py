"""MTCNN's weights as the wheel `mtcnn` carries them, read without that package, which would ask for TensorFlow.

A file is an LZ4 frame around a pickle by joblib: a list of arrays, the bytes of each standing behind its description. A
pickle can run any code. Here every name in it stands for a class of this file that can do nothing but hold float32.
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

from face_detection.interface import DetectorError
from face_detection.mtcnn_network import Judge

FILES = ("pnet.lz4", "rnet.lz4", "onet.lz4")  # propose, refine, decide
FOLDER = Path("assets", "weights")  # within the package
REMEDY = 'run pip install "mtcnn>=1.0" "lz4>=4.3"'

# What unpickling damaged bytes raises; the standard library names no common class for them.
UNREADABLE = (pickle.UnpicklingError, EOFError, ValueError, LookupError, AttributeError, TypeError, OverflowError)


def installed_weights() -> Path:
    """The folder with the files of weights, in the installed package. Imports nothing of it.

    Raises: DetectorError if the package is not installed, or without the files.
    """
    spec = importlib.util.find_spec("mtcnn")
    for package in (spec and spec.submodule_search_locations) or ():
        folder = Path(package) / FOLDER
        if all((folder / name).is_file() for name in FILES):
            return folder
    raise DetectorError(f"the package mtcnn, whose weights MTCNN takes, is not installed; {REMEDY}")


def load_weights(network: Judge, path: Path) -> Judge:
    """Fill a network from a file and return it.

    Raises: DetectorError if the file is missing, damaged, or holds anything but this network's float32 arrays.
    """
    arrays = read_arrays(path)
    state = network.state_dict()
    if [array.size for array in arrays] != [weights.numel() for weights in state.values()]:
        raise DetectorError(f"{path} holds the weights of another network; {REMEDY}")
    pairs = zip(state.items(), arrays, strict=True)
    network.load_state_dict({key: _in_torch_order(array, weights.shape) for (key, weights), array in pairs})
    return network


def read_arrays(path: Path) -> list[np.ndarray]:
    """The arrays of a file of weights, float32, in their order.

    Raises: DetectorError if the file cannot be opened, is damaged, or holds anything else.
    """
    try:
        import lz4.frame
    except ImportError as error:
        raise DetectorError(f"the package lz4, which reads {path.name}, is not installed; {REMEDY}") from error
    try:
        content = lz4.frame.decompress(path.read_bytes())
        described = _Reader(io.BytesIO(content)).load()
        return [entry.array for entry in described]
    except OSError as error:
        raise DetectorError(f"{path} cannot be opened ({error}); {REMEDY}") from error
    except (RuntimeError, *UNREADABLE) as error:  # RuntimeError is what lz4 raises
        raise DetectorError(f"{path} cannot be read as weights of MTCNN ({error}); {REMEDY}") from error


class _Name:
    """Stands for a name whose value does not matter."""


class _DType:
    """Stands for numpy.dtype: nothing but float32, lowest byte first, passes."""

    def __init__(self, code: str, align: bool, copy: bool):
        if code != "f4":
            raise pickle.UnpicklingError(f"an array of type {code}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<":
            raise pickle.UnpicklingError(f"an array of byte order {state[1]}")


class _Array:
    """Stands for joblib's description of an array: takes the array's bytes from the file as soon as it is described."""

    file: io.BytesIO  # set in a subclass for each file
    array: np.ndarray

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state["dtype"], _DType) or state["order"] != "C":
            raise pickle.UnpicklingError("an array that is not float32 in rows")
        if state.get("numpy_array_alignment_bytes") is not None:
            (padding,) = self.file.read(1)
            self.file.seek(padding, io.SEEK_CUR)
        content = self.file.read(4 * math.prod(state["shape"]))
        self.array = np.frombuffer(content, "<f4").reshape(state["shape"])


class _Reader(pickle.Unpickler):
    """Refuses every name but the three that a list of arrays needs, and gives none of those its true meaning."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.names: dict[tuple[str, str], type] = {
            ("joblib.numpy_pickle", "NumpyArrayWrapper"): type("Array", (_Array,), {"file": file}),
            ("numpy", "ndarray"): _Name,
            ("numpy", "dtype"): _DType,
        }

    def find_class(self, module: str, name: str) -> type:
        """The class that stands for a name."""
        try:
            return self.names[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _in_torch_order(array: np.ndarray, shape: torch.Size) -> Tensor:
    """A kernel (height, width, in, out), or a layer (width * height * in, out), as (out, in, height, width)."""
    weights = torch.from_numpy(array.copy())
    if weights.dim() == 4:
        return weights.permute(3, 2, 0, 1)
    if weights.dim() == 2:
        return weights.reshape(shape[3], shape[2], shape[1], shape[0]).permute(3, 2, 1, 0)
    return weights.reshape(shape)
