"""Files of prepared faces."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from wav2lip.engine.prepared.file import PreparedFile, is_prepared, read_prepared, write_prepared
from wav2lip.errors import InputError

FACE = PreparedFile("sadtalker", {"image": np.arange(48, dtype=np.uint8).reshape(4, 4, 3)}, {"mode": "crop"}, "CC0")


@pytest.fixture
def path(tmp_path):
    write_prepared(tmp_path / "face.w2l", FACE)
    return tmp_path / "face.w2l"


def test_content_is_read_back(path):
    face = read_prepared(path, "sadtalker")
    np.testing.assert_array_equal(face.arrays["image"], FACE.arrays["image"])
    assert (face.engine, face.settings, face.note) == ("sadtalker", {"mode": "crop"}, "CC0")
    assert is_prepared(path)


def damage(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "damaged"),
        (lambda data: data[:20], "damaged"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "does not match its checksum"),
        (lambda data: b"\xff" * 8 + data[8:], "damaged"),
        (lambda data: b"", "damaged"),
        (lambda data: data.replace(b'"version":"1"', b'"version":"9"'), "has version 9 instead of 1"),
        (lambda data: data.replace(b'"sadtalker"', b'"lipsyncer"'), "for the engine lipsyncer"),
        (lambda data: data.replace(b"prepared face", b"prepared fact"), "is not a prepared face"),
    ],
)
def test_unusable_files_are_reported(path, change, reason):
    with pytest.raises(InputError, match=reason):
        read_prepared(damage(path, change(path.read_bytes())), "sadtalker")


def test_weights_are_no_prepared_face(tmp_path):
    save_file(FACE.arrays, tmp_path / "weights.safetensors")
    assert not is_prepared(tmp_path / "weights.safetensors")
    assert not is_prepared(tmp_path / "none.w2l")
    with pytest.raises(InputError, match="is not a prepared face"):
        read_prepared(tmp_path / "weights.safetensors", "sadtalker")


def test_names_and_folders_are_checked(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.w2l"):
        write_prepared(tmp_path / "face.png", FACE)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Not a directory|exists"):
        write_prepared(tmp_path / "file" / "face.w2l", FACE)
    assert not list(tmp_path.glob(".*partial"))
