"""A clip folder is whole or absent, and its mel is computed once and is right."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from tests.reference import golden
from wav2lip.audio import melspectrogram
from wav2lip.clips import Clip, ClipWriter, mel_of, read_filelist, read_info
from wav2lip.errors import InputError


def write_clip(root, clip_id="speaker/00000", frames=range(10), wav=None):
    wav = golden("mel")["wav_voiced"].astype(np.float32) / 32768 if wav is None else wav
    with ClipWriter(root, clip_id) as clip:
        for n in frames:
            clip.write_frame(n, np.full((40, 30, 3), (10 * n, 100, 200), np.uint8))
        clip.write_audio([wav[:777], wav[777:]])
        clip.write_info({"source": "a ü.mp4"})
    return root / clip_id


def test_a_clip_reads_back_as_it_was_written(tmp_path):
    path = write_clip(tmp_path, frames=[0, 1, 2, 11, 10])
    clip = Clip.open(path)
    assert clip.frames.tolist() == [0, 1, 2, 10, 11]
    assert np.abs(clip.read(2, 96).astype(int) - (20, 100, 200)).max() <= 3  # JPEG
    assert cv2.imread(str(path / "2.jpg")).shape == (40, 30, 3)
    np.testing.assert_allclose(clip.mel(), golden("mel")["mel_voiced"], atol=1e-4)
    assert clip.mel_columns() == golden("mel")["mel_voiced"].shape[1]
    assert read_info(path) == {"source": "a ü.mp4"}


def test_a_clip_that_fails_half_way_leaves_nothing_and_keeps_the_old_one(tmp_path):
    write_clip(tmp_path, frames=[5])
    with pytest.raises(RuntimeError, match="camera"), ClipWriter(tmp_path, "speaker/00000") as clip:
        clip.write_frame(1, np.zeros((8, 8, 3), np.uint8))
        raise RuntimeError("camera broke")
    assert Clip.open(tmp_path / "speaker/00000").frames.tolist() == [5]
    assert list((tmp_path / ".partial").iterdir()) == []


LONG = "声" * 80  # 240 bytes, of the 255 that a name may have


def test_a_clip_of_the_longest_names_is_written(tmp_path):
    path = write_clip(tmp_path, f"{LONG}/{LONG}", frames=[0, 1])
    assert Clip.open(path).frames.tolist() == [0, 1]
    write_clip(tmp_path, f"{LONG}/{LONG}", frames=[5])  # in place of the first
    assert Clip.open(path).frames.tolist() == [5]
    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_name_that_the_file_system_has_no_room_for_is_refused_before_anything_is_written(tmp_path):
    name = f"{LONG}000000000000000000/0"
    assert read_info(tmp_path / name) is None
    with pytest.raises(InputError, match="is too long a name; shorten the names of its video and folder"):
        write_clip(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_clips_of_two_groups_are_made_in_two_folders(tmp_path):
    assert ClipWriter(tmp_path, "a/b__c").folder != ClipWriter(tmp_path, "a__b/c").folder


def test_clip_json_has_a_line_for_each_key_and_wastes_nothing_on_numbers(tmp_path):
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
def test_a_clip_json_that_is_no_json_object_is_named(tmp_path, content):
    path = write_clip(tmp_path)
    (path / "clip.json").write_bytes(content)
    with pytest.raises(InputError, match=r"clip\.json: is damaged; preprocess its video again, or delete the file"):
        read_info(path)
    (path / "clip.json").unlink()
    assert read_info(path) is None


def test_the_kept_mel_is_used_until_the_sound_changes(tmp_path):
    clip = Clip.open(write_clip(tmp_path))
    clip.mel()
    kept, stamp = clip.path / "mel.npy", (clip.path / "audio.wav").stat().st_mtime_ns
    np.save(kept, np.full((80, 241), 3.5, np.float32))  # so that we see where a mel comes from
    os.utime(kept, ns=(stamp, stamp))
    assert (np.array(clip.mel()) == 3.5).all()
    other = 0.1 * np.sin(np.arange(48_000) * 0.3).astype(np.float32)  # as many samples as before
    (clip.path / "audio.wav").unlink()
    shutil.copy2(write_clip(tmp_path, "speaker/other", wav=other) / "audio.wav", clip.path)
    np.testing.assert_allclose(clip.mel(), melspectrogram(other), atol=0.1)  # 16-bit samples


def test_a_data_set_that_may_not_be_written_is_served_all_the_same(tmp_path, monkeypatch):
    clip = Clip.open(write_clip(tmp_path))

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    np.testing.assert_allclose(clip.mel(), golden("mel")["mel_voiced"], atol=1e-4)
    assert {path.suffix for path in clip.path.iterdir()} == {".jpg", ".wav", ".json"}


@pytest.mark.parametrize(("missing", "sentence"), [("audio.wav", "has no audio.wav"), ("*.jpg", "has no face crops")])
def test_a_clip_without_sound_or_pictures_is_refused_by_name(tmp_path, missing, sentence):
    path = write_clip(tmp_path)
    for file in path.glob(missing):
        file.unlink()
    with pytest.raises(InputError, match=sentence):
        Clip.open(path)


def test_a_damaged_picture_is_named(tmp_path):
    path = write_clip(tmp_path)
    (path / "3.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"3\.jpg"):
        Clip.open(path).read(3, 96)


def test_sound_that_is_too_short_is_named(tmp_path):
    path = write_clip(tmp_path, wav=np.zeros(300, np.float32))
    with pytest.raises(InputError, match=r"audio\.wav: 0\.019 s"):
        mel_of(path / "audio.wav")


def test_lists_of_lrs2_with_a_second_word_and_folders_with_a_blank_are_both_read(tmp_path):
    (tmp_path / "my videos" / "a").mkdir(parents=True)
    (tmp_path / "list.txt").write_text("6330311066473698535/00011 NF\nmy videos/a\n\n")
    assert read_filelist(tmp_path / "list.txt", tmp_path) == ["6330311066473698535/00011", "my videos/a"]


@pytest.mark.parametrize("content", [None, "\n \n"])
def test_a_missing_or_empty_list_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "train.txt").write_text(content)
    with pytest.raises(InputError, match=r"train\.txt"):
        read_filelist(tmp_path / "train.txt", tmp_path)
