"""Landmarks given in a file."""

import json

import numpy as np
import pytest

from wav2lip.errors import InputError
from wav2lip.sadtalker.source.points_file import read_points

POINTS = [[10.5, 20], [30, 20], [20, 30], [12, 40], [28, 40]]


@pytest.mark.parametrize(
    "text",
    ["\n".join(f"{x} {y}" for x, y in POINTS), "# eyes first\n" + "\n".join(f"{x}, {y}" for x, y in POINTS) + "\n\n",
     json.dumps(POINTS), "﻿" + "\n".join(f"{x};{y}" for x, y in POINTS)],
)  # fmt: skip
def test_points_are_read(tmp_path, text):
    path = tmp_path / "points.txt"
    path.write_text(text, encoding="utf-8")
    np.testing.assert_allclose(read_points(path), POINTS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"1 2\n3 4\n", "has shape"), (b"a b\n", "is not a list"), (b"[[1, 2], [3]]", "is not a list"),
     (b"nan 1\n" * 5, "not finite"), (b"\xff\xfe\x00", "cannot be read"), (b"", "has shape"),
     (b"1 2\n" * 30000, "bytes"),
     (b"[" * 50000, "is not a list")],
)  # fmt: skip
def test_bad_files_are_reported(tmp_path, content, reason):
    path = tmp_path / "points.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_points(path)


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_points(tmp_path / "none.txt")
