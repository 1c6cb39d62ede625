"""Correction of a clip's offset on disk: once, and atomically."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from preprocess.sync.apply_offset import apply_offset, read_state, recover
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.dataset.clip import Clip, ClipWriter, read_info

FRAMES = 50


@pytest.fixture
def root(tmp_path):
    """One clip with distinct frames and samples."""
    with ClipWriter(tmp_path, "a/0") as clip:
        for frame in range(FRAMES):
            clip.write_frame(frame, np.full((8, 8, 3), frame, np.uint8))
        clip.write_audio([np.arange(FRAMES * 640, dtype=np.float32) / 32768])
        clip.write_info({"source": "a.mp4", "frames": FRAMES, "frames_with_face": FRAMES})
    return tmp_path


def read_samples(root):
    return np.rint(load_wav(root / "a/0/audio.wav") * 32768).astype(int)


def frame_numbers(root):
    return Clip.open(root / "a/0").frames.tolist()


def read_files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_late_audio_loses_beginning_and_last_frames(root):
    apply_offset(root, "a/0", 3, {"sync_offset": 3})
    assert read_samples(root).tolist() == list(range(3 * 640, FRAMES * 640))
    assert frame_numbers(root) == list(range(FRAMES - 3))


def test_early_audio_follows_silence_and_first_frames_go(root):
    apply_offset(root, "a/0", -4, {})
    assert read_samples(root).tolist() == [0] * (4 * 640) + list(range((FRAMES - 4) * 640))
    assert frame_numbers(root) == list(range(4, FRAMES))


def test_mel_and_clip_json_follow_audio(root):
    Clip.open(root / "a/0").mel()
    apply_offset(root, "a/0", 3, {"sync_offset": 3, "sync_confidence": 9.5})
    mel = np.load(root / "a/0/wav2lip_mel.npy")
    assert mel == pytest.approx(melspectrogram(load_wav(root / "a/0/audio.wav")), abs=1e-4)
    stamp = (root / "a/0/wav2lip_mel.npy").stat().st_mtime_ns
    Clip.open(root / "a/0").mel()
    assert (root / "a/0/wav2lip_mel.npy").stat().st_mtime_ns == stamp  # read, not written again
    info = read_info(root / "a/0")
    assert {"source": "a.mp4", "frames_with_face": 47, "sync_offset": 3, "sync_applied": 3}.items() <= info.items()


def test_apply_offset_is_idempotent(root):
    apply_offset(root, "a/0", 3, {"sync_offset": 3})
    before = read_files(root)
    apply_offset(root, "a/0", 3, {"sync_offset": 3})
    assert read_files(root) == before


def test_clip_without_clip_json_is_corrected_once(root):
    (root / "a/0/clip.json").unlink()
    for _ in range(2):
        apply_offset(root, "a/0", 2, {"sync_offset": 2})
    assert frame_numbers(root) == list(range(FRAMES - 2))
    assert read_info(root / "a/0")["sync_applied"] == 2


def test_zero_offset_updates_existing_clip_json_only(root):
    before = read_files(root)
    apply_offset(root, "a/0", 0, {"sync_offset": 0})
    assert {name for name, data in read_files(root).items() if before[name] != data} == {"a/0/clip.json"}
    (root / "a/0/clip.json").unlink()
    apply_offset(root, "a/0", 0, {"sync_offset": 0})
    assert not (root / "a/0/clip.json").exists()


def test_clip_state_survives_correction_but_not_recropping(root):
    before = read_state(root, "a/0")
    apply_offset(root, "a/0", 3, {})
    assert read_state(root, "a/0") == replace(before, applied=3)
    with ClipWriter(root, "a/0") as clip:
        for frame in range(FRAMES):
            clip.write_frame(frame, np.full((9, 9, 3), frame, np.uint8))
        clip.write_audio([np.zeros(FRAMES * 640, np.float32)])
    assert read_state(root, "a/0").applied == 0
    assert read_state(root, "a/0").origin != before.origin


class Killed(BaseException):
    """Simulated kill; not an Exception, so that no handler catches it."""


KILLS = [  # the call that does not return, and how many calls of its kind return before
    (os, "link", 0), (os, "link", 20), (os, "fsync", 0), (os, "fsync", 1), (os, "replace", 0), (os, "replace", 1),
    (shutil, "rmtree", 0), (shutil, "rmtree", 1), (shutil, "rmtree", 2),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name", "count"), KILLS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_apply_offset_recovers_from_kill(root, tmp_path, monkeypatch, module, name, count):
    uninterrupted = tmp_path.with_name(tmp_path.name + "_other")
    shutil.copytree(root, uninterrupted)
    apply_offset(uninterrupted, "a/0", 3, {"sync_offset": 3})
    calls, original = [0], getattr(module, name)

    def kill_after_count(*args, **options):
        calls[0] += 1
        if calls[0] > count:
            raise Killed
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, kill_after_count)
        with pytest.raises(Killed):
            apply_offset(root, "a/0", 3, {"sync_offset": 3})
    recover(root)
    apply_offset(root, "a/0", 3, {"sync_offset": 3})
    shutil.rmtree(root / ".partial")
    shutil.rmtree(uninterrupted / ".partial")
    assert read_files(root) == read_files(uninterrupted)
