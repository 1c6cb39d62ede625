"""Folders of a notebook project, and files that go in and out of them."""

import os

import pytest

from wav2lip.colab.workspace import copy_files, open_workspace, resolve_path, upload_files
from wav2lip.errors import InputError


def test_copy_files_skips_equal_sizes_and_truncates_times(tmp_path):
    drive, disk = tmp_path / "drive", tmp_path / "disk"
    (drive / "day").mkdir(parents=True)
    video = drive / "day" / "a.mp4"
    video.write_bytes(b"first")
    os.utime(video, ns=(5, 1_700_000_000_987_654_321))
    copy_files([video], drive, disk)
    copy = disk / "day" / "a.mp4"
    assert copy.stat().st_mtime_ns == 1_700_000_000_000_000_000
    os.utime(video, ns=(5, 1_700_000_000_987_000_000))  # Drive stores milliseconds
    copy.write_bytes(b"FIRST")
    copy_files([video], drive, disk)
    assert copy.read_bytes() == b"FIRST"  # the size is equal, so it was not copied again
    assert copy.stat().st_mtime_ns == 1_700_000_000_000_000_000


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_open_workspace_rejects_names_that_are_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="PROJECT="):
        open_workspace(name)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_reported_with_its_field_or_folder(tmp_path):
    with pytest.raises(InputError, match=r"FACE=nowhere\.mp4"):
        resolve_path("nowhere.mp4", "FACE")
    with pytest.raises(InputError, match=r"face: has no video"):
        upload_files(tmp_path / "face", "video")
