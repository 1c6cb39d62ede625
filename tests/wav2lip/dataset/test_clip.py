"""Clip folders are written atomically, and their mel is cached."""

import io
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.clips import write_clip
from tests.helpers.goldens import golden
from wav2lip.audio import melspectrogram
from wav2lip.dataset.clip import Clip, ClipWriter, compute_mel, read_info
from wav2lip.dataset.mel_cache import MEL
from wav2lip.errors import InputError


def test_clip_round_trip(tmp_path):
    path = write_clip(tmp_path, frames=[0, 1, 2, 11, 10])
    clip = Clip.open(path)
    assert clip.frames.tolist() == [0, 1, 2, 10, 11]
    assert np.abs(clip.read(2, 96).astype(int) - (20, 100, 200)).max() <= 3  # JPEG
    assert cv2.imread(str(path / "2.jpg")).shape == (40, 30, 3)
    np.testing.assert_allclose(clip.mel(), golden("mel")["mel_voiced"], atol=1e-4)
    assert clip.mel_columns() == golden("mel")["mel_voiced"].shape[1]
    assert read_info(path) == {"source": "a ü.mp4"}


def test_failed_write_keeps_previous_clip(tmp_path):
    write_clip(tmp_path, frames=[5])
    with pytest.raises(RuntimeError, match="camera"), ClipWriter(tmp_path, "speaker/00000") as clip:
        clip.write_frame(1, np.zeros((8, 8, 3), np.uint8))
        raise RuntimeError("camera broke")
    assert Clip.open(tmp_path / "speaker/00000").frames.tolist() == [5]
    assert list((tmp_path / ".partial").iterdir()) == []


LONG_NAME = "声" * 80  # 240 bytes, of the 255 that a name may have


def test_clip_with_longest_names_is_written(tmp_path):
    path = write_clip(tmp_path, f"{LONG_NAME}/{LONG_NAME}", frames=[0, 1])
    assert Clip.open(path).frames.tolist() == [0, 1]
    write_clip(tmp_path, f"{LONG_NAME}/{LONG_NAME}", frames=[5])  # in place of the first
    assert Clip.open(path).frames.tolist() == [5]
    assert list((tmp_path / ".partial").iterdir()) == []


def test_too_long_name_is_rejected_before_writing(tmp_path):
    name = f"{LONG_NAME}000000000000000000/0"
    assert read_info(tmp_path / name) is None
    with pytest.raises(InputError, match="name too long"):
        write_clip(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_similar_clip_ids_have_separate_partial_folders(tmp_path):
    assert ClipWriter(tmp_path, "a/b__c").folder != ClipWriter(tmp_path, "a__b/c").folder


def test_clip_json_has_a_line_per_key(tmp_path):
    boxes = [[100.5, 200.5, 300.5, 400.5]] * 250
    with ClipWriter(tmp_path, "speaker/0") as clip:
        clip.write_info({"source": "a ü.mp4", "start": 5.6, "settings": {"a": [1]}, "filled": [], "boxes": boxes})
    text = (tmp_path / "speaker/0/clip.json").read_text(encoding="utf-8")
    assert text.splitlines()[:5] == ["{", ' "source": "a ü.mp4",', ' "start": 5.6,', ' "settings": {"a":[1]},',
                                     ' "filled": [],']  # fmt: skip
    assert len(text.splitlines()) == 7
    assert len(text) < 250 * len("[100.5,200.5,300.5,400.5],") + 120
    assert read_info(tmp_path / "speaker/0") == json.loads(text)
    assert json.loads(text)["boxes"] == boxes


@pytest.mark.parametrize("content", [b"", b'{"source": "a.m', b"[1]", b"null", b"\xff\xfe{"])
def test_corrupt_clip_json_is_reported(tmp_path, content):
    path = write_clip(tmp_path)
    (path / "clip.json").write_bytes(content)
    with pytest.raises(InputError, match=r"clip\.json: is corrupt"):
        read_info(path)
    (path / "clip.json").unlink()
    assert read_info(path) is None


@pytest.fixture
def computed(monkeypatch):
    """Paths of the audio whose mel was computed, not read from a cache."""
    paths = []
    monkeypatch.setattr(
        "wav2lip.dataset.clip._mel_in_memory", lambda audio, _: paths.append(audio) or compute_mel(audio)
    )
    return paths


def test_cached_mel_is_used_until_the_content_of_the_audio_changes(tmp_path, computed):
    clip = Clip.open(write_clip(tmp_path))
    mel, audio = clip.mel(), clip.path / "audio.wav"
    os.utime(audio)  # as by a copy
    assert np.array_equal(clip.mel(), mel) and computed == [audio]
    stat = audio.stat()
    other_wav = 0.1 * np.sin(np.arange(48_000) * 0.3).astype(np.float32)  # as many samples as before
    shutil.copyfile(write_clip(tmp_path, "speaker/other", wav=other_wav) / "audio.wav", audio)
    os.utime(audio, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    np.testing.assert_allclose(clip.mel(), melspectrogram(other_wav), atol=0.1)  # 16-bit samples


def cut_key(content):
    return content[:-1]


def flip_key(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def half_precision(content):
    key, file = content[-16:], io.BytesIO()
    np.save(file, np.load(io.BytesIO(content)).astype(np.float16))
    return file.getvalue() + key


@pytest.mark.parametrize("change", [cut_key, flip_key, half_precision, lambda content: b""])
def test_cache_of_another_kind_is_computed_again(tmp_path, computed, change):
    clip = Clip.open(write_clip(tmp_path))
    expected, cache = np.array(clip.mel()), clip.path / MEL
    cache.write_bytes(change(cache.read_bytes()))
    np.testing.assert_array_equal(clip.mel(), expected)
    assert len(computed) == 2


def test_mel_of_another_trainer_is_neither_read_nor_written(tmp_path):
    clip = Clip.open(write_clip(tmp_path))
    foreign = clip.path / "mel.npy"
    np.save(foreign, np.zeros((241, 80), np.float32))  # (T, 80)
    stamp = (clip.path / "audio.wav").stat().st_mtime_ns
    os.utime(foreign, ns=(stamp, stamp))
    before = foreign.read_bytes()
    np.testing.assert_allclose(clip.mel(), golden("mel")["mel_voiced"], atol=1e-4)
    assert foreign.read_bytes() == before


def test_measuring_writes_nothing(tmp_path):
    clip = Clip.open(write_clip(tmp_path))
    before = sorted(clip.path.iterdir())
    clip.mel(write_cache=False)
    assert sorted(clip.path.iterdir()) == before


@pytest.mark.parametrize("pattern", ["{:05d}.jpg", "{}.JPG", "{}.jpeg", "{:03d}.png"])
def test_frames_of_other_tools_are_read(tmp_path, pattern):
    path = write_clip(tmp_path, frames=[0, 2, 10])
    for number in (0, 2, 10):
        image = cv2.imread(str(path / f"{number}.jpg"))
        (path / f"{number}.jpg").unlink()
        name = pattern.format(number)
        (path / name).write_bytes(cv2.imencode(Path(name).suffix.lower(), image)[1].tobytes())
    clip = Clip.open(path)
    assert clip.frames.tolist() == [0, 2, 10]
    assert clip.frame_path(2) == path / pattern.format(2)
    assert np.abs(clip.read(2, 96).astype(int) - (20, 100, 200)).max() <= 6  # JPEG, twice


@pytest.mark.parametrize(("names", "message"), [
    (["0.jpg", "00000.jpg"], "0.jpg and 00000.jpg are one frame"),
    (["frame_0.jpg", "frame_1.jpg"], r"2 images such as frame_0.jpg have no frame number; rename them to 0.jpg"),
])  # fmt: skip
def test_unclear_frame_names_are_explained(tmp_path, names, message):
    path = write_clip(tmp_path, frames=[])
    for name in names:
        (path / name).write_bytes(b"")
    with pytest.raises(InputError, match=message):
        Clip.open(path)


def test_length_of_piped_audio_is_that_of_the_file(tmp_path):
    path = write_clip(tmp_path)
    audio = bytearray((path / "audio.wav").read_bytes())
    columns = Clip.open(path).mel_columns()
    audio[4:8] = audio[40:44] = b"\xff" * 4  # as FFmpeg writes to a pipe
    (path / "audio.wav").write_bytes(audio)
    assert Clip.open(path).mel_columns() == columns == golden("mel")["mel_voiced"].shape[1]


def test_advice_names_the_video_where_it_is_known(tmp_path):
    path = write_clip(tmp_path)
    (path / "audio.wav").unlink()
    with pytest.raises(InputError, match="has no audio.wav; preprocess its video a ü.mp4 again"):
        Clip.open(path)
    (path / "clip.json").unlink()
    with pytest.raises(InputError, match="has no audio.wav; add the audio of its frames, or remove the clip"):
        Clip.open(path)


def test_read_only_data_set_is_readable(tmp_path, monkeypatch):
    clip = Clip.open(write_clip(tmp_path))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    np.testing.assert_allclose(clip.mel(), golden("mel")["mel_voiced"], atol=1e-4)
    assert {path.suffix for path in clip.path.iterdir()} == {".jpg", ".wav", ".json"}


@pytest.mark.parametrize(("pattern", "message"), [("audio.wav", "has no audio.wav"), ("*.jpg", "has no face crops")])
def test_clip_without_audio_or_images_is_rejected(tmp_path, pattern, message):
    path = write_clip(tmp_path)
    for file in path.glob(pattern):
        file.unlink()
    with pytest.raises(InputError, match=message):
        Clip.open(path)


def test_corrupt_image_is_reported(tmp_path):
    path = write_clip(tmp_path)
    (path / "3.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"3\.jpg"):
        Clip.open(path).read(3, 96)


def test_too_short_audio_is_reported(tmp_path):
    path = write_clip(tmp_path, wav=np.zeros(300, np.float32))
    with pytest.raises(InputError, match=r"audio\.wav: 0\.019 s"):
        compute_mel(path / "audio.wav")
