"""The track cache: exact round trip, corrupt files, eviction, concurrent writes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.engine.track_cache import CachedTracks, TrackCache, cache_folder, user_cache


def random_faces(seed, frames=20):
    rng = np.random.default_rng(seed)
    return [
        [TrackedFace(person, rng.random(4, np.float32) * 500, float(rng.random()), bool(n % 2),
                     rng.random((5, 2), np.float32) if person else None) for person in range(n % 3)]
        for n in range(frames)
    ]  # fmt: skip


def assert_same(a, b):
    assert [len(faces) for faces in a] == [len(faces) for faces in b]
    for actual, expected in ((x, y) for f, g in zip(a, b, strict=True) for x, y in zip(f, g, strict=True)):
        assert (actual.person, actual.score, actual.filled) == (expected.person, expected.score, expected.filled)
        np.testing.assert_array_equal(actual.box, expected.box)
        assert actual.box.dtype == expected.box.dtype == np.float32
        assert (actual.landmarks is None) == (expected.landmarks is None)
        if actual.landmarks is not None:
            np.testing.assert_array_equal(actual.landmarks, expected.landmarks)


def test_track_cache_round_trip(tmp_path):
    cache, faces = TrackCache(tmp_path / "new folder"), random_faces(1)
    assert cache.load("a") is None
    cache.save("a", CachedTracks(faces, is_complete=True))
    cached = TrackCache(tmp_path / "new folder").load("a")
    assert cached.is_complete
    assert_same(cached.faces, faces)
    assert cache.load("b") is None


def test_track_cache_stores_video_without_faces(tmp_path):
    cache = TrackCache(tmp_path)
    cache.save("a", CachedTracks([[], [], []], is_complete=False))
    assert cache.load("a") == CachedTracks([[], [], []], is_complete=False)


@pytest.mark.parametrize("corrupt", [
    lambda content: content[: len(content) // 2], lambda content: b"", lambda content: content[:40],
    lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
], ids=["truncated", "empty", "head only", "one bit"])  # fmt: skip
def test_track_cache_replaces_corrupt_file(tmp_path, corrupt):
    cache, faces = TrackCache(tmp_path), random_faces(1)
    cache.save("a", CachedTracks(faces, is_complete=True))
    (path,) = tmp_path.iterdir()
    path.write_bytes(corrupt(path.read_bytes()))
    assert cache.load("a") is None
    cache.save("a", CachedTracks(faces, is_complete=True))
    assert_same(cache.load("a").faces, faces)


def test_track_cache_evicts_least_recently_used(tmp_path):
    cache = TrackCache(tmp_path)
    for second, key in enumerate("abc"):
        before = set(tmp_path.iterdir())
        cache.save(key, CachedTracks(random_faces(second), is_complete=True))
        (path,) = set(tmp_path.iterdir()) - before
        os.utime(path, (second, second))
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    assert cache.load("a") is not None  # used again, so the most recent
    TrackCache(tmp_path, max_bytes=3 * size + 100).save("d", CachedTracks(random_faces(4), is_complete=True))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * size + 100
    assert [key for key in "abcd" if cache.load(key) is not None] == ["a", "c", "d"]


def _save_repeatedly(folder: Path) -> None:
    for _ in range(30):
        TrackCache(folder, max_bytes=20_000).save("a", CachedTracks(random_faces(1), is_complete=True))
        TrackCache(folder, max_bytes=20_000).save(str(os.getpid()), CachedTracks(random_faces(2), is_complete=True))


def test_track_cache_concurrent_writes_are_atomic(tmp_path):
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    workers = [context.Process(target=_save_repeatedly, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        cached = TrackCache(tmp_path).load("a")
        if cached is not None:
            assert_same(cached.faces, random_faces(1))
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert all(path.suffix == ".tracks" for path in tmp_path.iterdir())
    assert TrackCache(tmp_path).load("a") is not None


def test_track_cache_without_writable_folder(tmp_path):
    (tmp_path / "a file").write_text("")
    cache = TrackCache(tmp_path / "a file" / "tracks")
    cache.save("a", CachedTracks([], is_complete=True))
    assert cache.load("a") is None


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="the folder differs on this platform")
def test_cache_folder_follows_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "wav2lip" / "tracks"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/wav2lip/tracks")


@pytest.mark.skipif(os.name == "nt", reason="the folder differs on this platform")
def test_user_cache_without_home_is_none(monkeypatch, caplog):
    import pwd

    def fail(_):
        raise KeyError("no such user")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", fail)
    with caplog.at_level("INFO"):
        assert user_cache() is None
    assert ["tracked faces are not cached" in record.message for record in caplog.records] == [True]
