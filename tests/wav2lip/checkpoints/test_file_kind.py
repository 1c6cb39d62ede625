"""Files given as checkpoints are recognized by their content, whatever their name."""

import io
import zipfile

import pytest
import torch
from safetensors.torch import save

from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError


def archive_of(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


def saved():
    file = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.arange(500.0)}}, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is not a checkpoint, or corrupt"),
        (bytes(5000), "begins with zeros"),
        (b"\n<!DOCTYPE html>\n<html><body>Sign in", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 4\n", "is a Git LFS pointer.*git lfs pull"),
        (b"404: Not Found", 'text file that begins with "404: Not Found"'),
        (b"\x1f\x8b\x08\x00", "is a gzip archive; unpack"),
        (b"\x00\x00\x00\x18ftypmp42", "is a video file"),
        (b"RIFF\x24\x00\x00\x00WAVE", "is an audio or video file"),
        (bytes(range(200, 256)) * 9, "is not a checkpoint, or corrupt"),
        (archive_of("weights/wav2lip.pth"), "contains weights/wav2lip.pth; unpack it"),
        (archive_of("readme.txt"), "is a ZIP archive without the data of a checkpoint; give"),
        (saved()[:900], "is cut off"),
        (save({"weight": torch.arange(500.0)})[:-9], "is not a complete safetensors file"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_other_file_is_named_with_its_remedy(tmp_path, content, message):
    path = tmp_path / "wav2lip.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"wav2lip\.pth: .*{message}"):
        load_checkpoint(path)


def test_safetensors_are_read_under_any_name(tmp_path):
    (tmp_path / "wav2lip.pth").write_bytes(save({"module.weight": torch.arange(4.0)}))
    assert load_checkpoint(tmp_path / "wav2lip.pth").state_dict["weight"].tolist() == [0, 1, 2, 3]


def test_folder_is_not_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        load_checkpoint(tmp_path)
