"""Mel windows of speech."""

import numpy as np
import pytest

from tests.helpers.media import tone, write_wav
from tests.helpers.sadtalker import golden
from wav2lip.errors import InputError
from wav2lip.sadtalker.speech import load_speech, silent_speech, speech_from_samples, window_starts


def test_window_starts_and_lengths_match_golden():
    cases = golden("geometry")
    np.testing.assert_array_equal(window_starts(np.arange(100)), cases["mel_start"])
    for samples, used, frames in cases["audio_lengths"].tolist():
        assert speech_from_samples(np.zeros(used)).frames == frames == samples // 640


def test_window_of_a_frame_is_around_it():
    # A frame is at 3.2 columns per frame; its window begins two frames earlier, cut towards zero.
    assert window_starts(np.array([0, 1, 2, 3, 10])).tolist() == [-6, -3, 0, 3, 25]


def test_windows_repeat_the_columns_at_the_ends(tmp_path):
    speech = load_speech(write_wav(tmp_path / "a.wav", tone(0.4)))
    first, last = speech.windows(0, 1)[0, 0], speech.windows(9, 10)[0, 0]
    np.testing.assert_array_equal(first[:, :6], np.repeat(speech.mel[:, :1], 6, axis=1))
    np.testing.assert_array_equal(last[:, -5:], np.repeat(speech.mel[:, -1:], 5, axis=1))
    assert speech.mel.shape == (80, 33)


@pytest.mark.parametrize(
    ("samples", "frames", "public"), [(640, 1, 1), (641, 2, 1), (1, 1, None), (100, 1, None), (16000, 25, 25)]
)
def test_frames_cover_the_audio(tmp_path, samples, frames, public):
    path = write_wav(tmp_path / "a.wav", tone(samples / 16000))
    assert load_speech(path).frames == frames
    if public is not None:
        assert load_speech(path, "public").frames == public
    else:
        with pytest.raises(InputError, match="shorter than a frame"):
            load_speech(path, "public")


def test_public_padding_differs_at_the_ends_only(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(1.0))
    difference = np.abs(load_speech(path).mel - load_speech(path, "public").mel).max(axis=0)
    assert difference[2:-2].max() < 1e-6 and difference[0] > 0.01


def test_silence_is_silent():
    assert (silent_speech(0.12).windows(0, 3) == -4).all()
    assert (silent_speech(0.12, "public").windows(0, 3) == 0).all()


def test_unusable_audio_is_reported(tmp_path):
    empty = write_wav(tmp_path / "empty.wav", np.zeros(0))
    with pytest.raises(InputError, match="track is empty"):
        load_speech(empty)
