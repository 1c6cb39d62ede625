"""Files that outlive a crash."""

import errno
import os

import pytest

from wav2lip.dataset.clip import ClipWriter
from wav2lip.errors import InputError, file_error
from wav2lip.files import lock, publish, remove_partial_files, write_atomically


@pytest.fixture
def events(monkeypatch):
    """Log of flushes, by inode, and renames, by the name of their target."""
    log, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (log.append(os.fstat(handle).st_ino), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (log.append(os.path.basename(new)), replace(old, new)))
    return log


def inode(path):
    return path.stat().st_ino


def test_file_is_flushed_before_its_rename_and_the_folder_after(tmp_path, events):
    write_atomically(tmp_path / "new" / "list.txt", lambda partial: partial.write_text("a"))
    assert events == [inode(tmp_path / "new/list.txt"), "list.txt", inode(tmp_path / "new")]


def test_clip_is_flushed_before_it_appears(tmp_path, events):
    with ClipWriter(tmp_path, "a/b") as writer:
        writer.write_audio([])
        writer.write_info({})
    clip = tmp_path / "a" / "b"
    files = {inode(file) for file in clip.iterdir()}
    assert len(files) == 2
    assert set(events[: events.index("b")]) == files | {inode(clip)}
    assert events[events.index("b") + 1 :] == [inode(tmp_path / "a")]


def test_failed_write_leaves_old_file_alone(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(partial):
        partial.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_publish_moves_a_folder(tmp_path):
    (tmp_path / "partial" / "deep").mkdir(parents=True)
    (tmp_path / "partial" / "deep" / "file").write_text("a")
    publish(tmp_path / "partial", tmp_path / "target")
    assert (tmp_path / "target/deep/file").read_text() == "a" and not (tmp_path / "partial").exists()


def test_lock_is_exclusive(tmp_path):
    with (
        lock(tmp_path / "lock", "in use"),
        pytest.raises(InputError, match="in use"),
        lock(tmp_path / "lock", "in use"),
    ):
        pass
    with lock(tmp_path / "lock", "in use") as is_supported:
        assert is_supported


@pytest.mark.parametrize(("number", "remedy"), [
    (errno.ENOSPC, "free space"),
    (errno.ENOENT, "check the path"),
    (errno.EACCES, "check its permissions"),
    (errno.EROFS, "for reading only"),
])  # fmt: skip
def test_file_error_gives_the_remedy_of_its_cause(number, remedy):
    sentence = str(file_error(OSError(number, os.strerror(number), "/data/00000.jpg"), "out"))
    assert sentence.startswith(f"/data/00000.jpg: {os.strerror(number)}; ") and remedy in sentence
    assert ("space" in sentence) == (number == errno.ENOSPC)


def test_file_error_without_a_name_uses_the_path():
    assert str(file_error(OSError(errno.EIO, "Input/output error"), "out")) == "out: Input/output error; check the disk"


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    def write(partial):
        partial.write_text("half")
        (tmp_path / partial.name.replace(str(os.getpid()), "7209")).write_text("")  # of another, killed process

    write_atomically(tmp_path / "pack.json", write)
    (tmp_path / ".partial").mkdir()
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".partial", "pack.json"]
