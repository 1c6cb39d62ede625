"""Reading of NumPy files (.npy, .npz), safe in threads and without pickles."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

import numpy as np

# NumPy parses the headers with `ast`, which before Python 3.11.8 and 3.12.2 may raise SystemError in several threads at
# once (CPython issue 106905).
_LOCK = threading.Lock()


def read_array(path: Path) -> np.ndarray:
    """Map the array of an .npy file, read-only. Raises: OSError, or ValueError for another file."""
    with _LOCK:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: is no .npy file")
    return array


def read_arrays(file: Path | str | IO[bytes]) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file, by name. Raises: OSError, ValueError or zipfile.BadZipFile for another file."""
    with _LOCK, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
