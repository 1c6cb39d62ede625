"""Restoration networks by name."""

import pytest

from wav2lip.errors import InputError
from wav2lip.restoration.files import find_restorer


def test_names_are_found_in_the_checkpoint_folder(tmp_path):
    (tmp_path / "gfpgan/weights").mkdir(parents=True)
    file = tmp_path / "gfpgan/weights/GFPGANv1.4.pth"
    file.touch()
    assert find_restorer("gfpgan", tmp_path) == find_restorer("GFPGAN", tmp_path) == str(file)


def test_files_and_none_are_returned_as_they_are():
    assert find_restorer("some.pth") == "some.pth"
    assert find_restorer(None) is None


def test_missing_file_of_a_name_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"is not in .*; run python -m wav2lip.weights fetch .* RestoreFormer\.pth,"):
        find_restorer("RestoreFormer", tmp_path)
