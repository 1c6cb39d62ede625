"""NumPy files: content, refusals, and one header at a time."""

import ast
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wav2lip.arrays import read_array, read_arrays

FILES = [(read_array, "a.npy"), (read_arrays, "a.npz")]


def test_array_is_mapped_and_ends_before_what_follows_it(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, values)
        file.write(b"key")
    array = read_array(tmp_path / "a.npy")
    assert isinstance(array, np.memmap) and not array.flags.writeable
    np.testing.assert_array_equal(array, values)


def test_arrays_are_read_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([1, 2]), y=np.array("text"))
    arrays = read_arrays(tmp_path / "a.npz")
    assert list(arrays) == ["x", "y"] and arrays["x"].tolist() == [1, 2] and str(arrays["y"]) == "text"


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(1))
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"a\.npz: is no \.npy file"):
        read_array(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="Python objects"):
        read_array(tmp_path / "objects.npy")
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(tmp_path / "objects.npy")
    with pytest.raises(zipfile.BadZipFile):
        read_arrays(tmp_path / "cut.npz")


def test_threads_parse_one_header_at_a_time(tmp_path, monkeypatch):
    """Two threads that parse headers at once fail before Python 3.11.8 and 3.12.2, rarely and at random."""
    np.save(tmp_path / "a.npy", np.zeros(2))
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    active, most, count = 0, 0, threading.Lock()
    parse = ast.literal_eval

    def parse_slowly(text):
        nonlocal active, most
        with count:
            active += 1
            most = max(most, active)
        time.sleep(0.01)
        with count:
            active -= 1
        return parse(text)

    monkeypatch.setattr(ast, "literal_eval", parse_slowly)
    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read, tmp_path / name) for read, name in FILES * 8]
        for reader in readers:
            reader.result()
    assert most == 1
