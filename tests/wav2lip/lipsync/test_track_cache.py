"""Faces that are remembered from run to run: the same bit for bit, never wrong, never too large."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from face_detection.stream import TrackedFace
from wav2lip.lipsync.track_cache import Remembered, TrackCache, cache_folder, user_cache


def some_faces(seed, frames=20):
    rng = np.random.default_rng(seed)
    return [
        [TrackedFace(person, rng.random(4, np.float32) * 500, float(rng.random()), bool(n % 2),
                     rng.random((5, 2), np.float32) if person else None) for person in range(n % 3)]
        for n in range(frames)
    ]  # fmt: skip


def assert_same(a, b):
    assert [len(faces) for faces in a] == [len(faces) for faces in b]
    for one, other in ((x, y) for f, g in zip(a, b, strict=True) for x, y in zip(f, g, strict=True)):
        assert (one.person, one.score, one.filled) == (other.person, other.score, other.filled)
        np.testing.assert_array_equal(one.box, other.box)
        assert one.box.dtype == other.box.dtype == np.float32
        assert (one.landmarks is None) == (other.landmarks is None)
        if one.landmarks is not None:
            np.testing.assert_array_equal(one.landmarks, other.landmarks)


def test_what_is_saved_comes_back_bit_for_bit_and_under_no_other_key(tmp_path):
    cache, faces = TrackCache(tmp_path / "new folder"), some_faces(1)
    assert cache.load("a") is None
    cache.save("a", Remembered(faces, whole=True))
    known = TrackCache(tmp_path / "new folder").load("a")
    assert known.whole
    assert_same(known.faces, faces)
    assert cache.load("b") is None


def test_a_video_without_any_face_is_remembered_too(tmp_path):
    cache = TrackCache(tmp_path)
    cache.save("a", Remembered([[], [], []], whole=False))
    assert cache.load("a") == Remembered([[], [], []], whole=False)


@pytest.mark.parametrize("damage", [
    lambda content: content[: len(content) // 2], lambda content: b"", lambda content: content[:40],
    lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
], ids=["cut off", "empty", "head only", "one bit"])  # fmt: skip
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path, damage):
    cache, faces = TrackCache(tmp_path), some_faces(1)
    cache.save("a", Remembered(faces, whole=True))
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load("a") is None
    cache.save("a", Remembered(faces, whole=True))
    assert_same(cache.load("a").faces, faces)


def test_when_there_is_too_much_what_was_used_longest_ago_goes(tmp_path):
    cache = TrackCache(tmp_path)
    for second, key in enumerate("abc"):
        before = set(tmp_path.iterdir())
        cache.save(key, Remembered(some_faces(second), whole=True))
        (path,) = set(tmp_path.iterdir()) - before
        os.utime(path, (second, second))
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    assert cache.load("a") is not None  # used again, and so the youngest
    TrackCache(tmp_path, limit=3 * size + 100).save("d", Remembered(some_faces(4), whole=True))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * size + 100
    assert [key for key in "abcd" if cache.load(key) is not None] == ["a", "c", "d"]


def _save_again_and_again(folder: Path) -> None:
    for _ in range(30):
        TrackCache(folder, limit=20_000).save("a", Remembered(some_faces(1), whole=True))
        TrackCache(folder, limit=20_000).save(str(os.getpid()), Remembered(some_faces(2), whole=True))


def test_processes_that_write_at_the_same_time_leave_whole_files(tmp_path):
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    workers = [context.Process(target=_save_again_and_again, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        known = TrackCache(tmp_path).load("a")
        if known is not None:
            assert_same(known.faces, some_faces(1))
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert all(path.suffix == ".tracks" for path in tmp_path.iterdir())
    assert TrackCache(tmp_path).load("a") is not None


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "a file").write_text("")
    cache = TrackCache(tmp_path / "a file" / "tracks")
    cache.save("a", Remembered([], whole=True))
    assert cache.load("a") is None


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="other rules there")
def test_the_folder_is_where_the_system_keeps_such_files(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "wav2lip" / "tracks"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/wav2lip/tracks")


@pytest.mark.skipif(os.name == "nt", reason="other rules there")
def test_a_user_without_a_home_goes_without_a_cache_and_is_told(monkeypatch, caplog):
    import pwd

    def nobody(_):
        raise KeyError("no such user")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with caplog.at_level("INFO"):
        assert user_cache() is None
    assert ["faces are not kept" in record.message for record in caplog.records] == [True]
