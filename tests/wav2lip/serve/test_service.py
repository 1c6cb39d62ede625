"""Access of a server to its data folder: exclusive, and only to its own files."""

from __future__ import annotations

import pytest

from wav2lip.errors import InputError
from wav2lip.serve.__main__ import _use_temp_folder
from wav2lip.serve.service import exclusive_access
from wav2lip.serve.settings import Settings


def test_two_servers_cannot_share_a_data_folder(tmp_path):
    settings = Settings(data=tmp_path / "data")
    with exclusive_access(settings), pytest.raises(InputError, match="another server"), exclusive_access(settings):
        pass
    with exclusive_access(settings):
        pass


def test_data_folder_that_is_a_file_is_rejected(tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(InputError, match="--data="), exclusive_access(Settings(data=tmp_path / "data")):
        pass


@pytest.mark.parametrize("name", ["results/result_voice.mp4", "incoming/letter.pdf", "samples/holiday.jpg"])
def test_folder_with_files_of_others_is_refused_and_left_alone(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir()
    file.write_text("x")
    settings = Settings(data=tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match=f"has a folder {file.parent.name}"), exclusive_access(settings):
            pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_folder_of_a_server_and_of_an_earlier_version_is_accepted(tmp_path):
    with exclusive_access(Settings(data=tmp_path / "new")):
        pass
    for name in ("new", "old"):
        (tmp_path / name / "results").mkdir(parents=True)
        (tmp_path / name / "results" / "a.mp4").write_text("x")
    (tmp_path / "old" / "jobs.sqlite3").write_text("x")
    for name in ("new", "old"):
        with exclusive_access(Settings(data=tmp_path / name)):
            pass


def test_temporary_files_of_a_killed_server_are_deleted_and_others_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("tmpab_12cd9/a", "other/a"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    for name in ("tmpab_12cde", "notes.txt"):
        (tmp_path / name).write_text("x")
    _use_temp_folder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"other", "notes.txt"}
