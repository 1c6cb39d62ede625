"""Archive of a data set on Google Drive."""

import os

import pytest

from wav2lip.colab.archive import create_archive, extract_archive


def test_archive_restores_files_and_times_without_packed(tmp_path):
    data = tmp_path / "data"
    for name in ("a/b/0.jpg", "a/b/audio.wav", "packed/96/index", "dataset.json"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
        os.utime(data / name, ns=(1, 1_700_000_000_123_456_789))
    archive = tmp_path / "drive" / "data.tar"
    create_archive(data, archive)
    assert not extract_archive(archive, data)  # the folder exists
    restored = tmp_path / "restored"
    assert extract_archive(archive, restored)
    files = sorted(path for path in restored.rglob("*") if path.is_file())
    assert [path.relative_to(restored).as_posix() for path in files] == ["a/b/0.jpg", "a/b/audio.wav", "dataset.json"]
    for path in files:
        assert path.read_text() == path.relative_to(restored).as_posix()
        assert path.stat().st_mtime == pytest.approx(1_700_000_000.123457, abs=1e-6)
