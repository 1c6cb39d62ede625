"""Talking heads made on the spot: readable files, a face in them, and lips that follow the sound."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from wav2lip.audio import melspectrogram
from wav2lip.errors import InputError
from wav2lip.sample import Speaker, render, speak, write_clip, write_sample, write_speech

FRAME_SAMPLES = 640  # 16 kHz at 25 frames a second


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample"), clips=1, seconds=6.0, seed=1)[0]


@pytest.fixture(scope="module")
def frames(clip) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB, as PyAV decodes them."""
    with av.open(str(clip)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def wav(clip) -> np.ndarray:
    """(N,) float32, as PyAV decodes it; what the encoder put before the start is not in it."""
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(str(clip)) as container:
        decoded = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in decoded])


@pytest.fixture(scope="module")
def boxes(frames) -> list[np.ndarray]:
    """What OpenCV's own face detector finds in each frame: (faces, 4) left, top, width, height."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return [np.reshape(cascade.detectMultiScale(picture, 1.1, 3, minSize=(60, 60)), (-1, 4)) for picture in grey]


def loudness(wav: np.ndarray, frames: int) -> np.ndarray:
    """Decibels of the 40 ms around the start of each frame, not below -60."""
    padded = np.pad(wav, FRAME_SAMPLES)
    parts = [padded[FRAME_SAMPLES // 2 + n * FRAME_SAMPLES :][:FRAME_SAMPLES] for n in range(frames)]
    return 20 * np.log10(np.maximum([np.sqrt(np.mean(part**2)) for part in parts], 1e-3))


def darkness(frames: np.ndarray, boxes: list[np.ndarray]) -> np.ndarray:
    """Share of near-black pixels around the mouth: lower middle of the median face box."""
    left, top, width, height = np.median(np.concatenate(boxes), axis=0).astype(int)
    mouths = frames[:, top + 7 * height // 10 : top + height, left + width // 4 : left + 3 * width // 4]
    return (mouths.max(axis=-1) < 85).mean(axis=(1, 2))


def test_every_speaker_has_two_takes_two_folders_deep(tmp_path):
    told = []
    written = write_sample(tmp_path, clips=5, seconds=0.4, progress=lambda *counts: told.append(counts))
    names = [str(path.relative_to(tmp_path)) for path in written]
    assert names == [f"speaker_0{who}/0{take}.mp4" for who, take in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]]
    assert sorted(tmp_path.rglob("*.*")) == written
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_clip_is_25_frames_a_second_with_sound_as_long_as_the_picture(clip, frames, wav):
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.average_rate == 25
        assert audio.rate >= 16_000
        assert float(video.start_time or 0) == 0
        assert abs(float(video.duration * video.time_base) - float(audio.duration * audio.time_base)) <= 0.04
    assert len(frames) == 150
    assert abs(len(wav) - 150 * FRAME_SAMPLES) <= FRAME_SAMPLES


def test_opencv_finds_one_face_in_nearly_every_frame(boxes):
    assert np.mean([len(found) == 1 for found in boxes]) >= 0.95


def test_lips_are_shut_while_there_is_no_sound(frames, wav, boxes):
    quiet = loudness(wav, len(frames)) < -50
    dark = darkness(frames, boxes)
    assert 5 <= quiet.sum() <= 75
    assert np.median(dark[quiet]) < 0.02 < np.percentile(dark[~quiet], 75)


def test_lips_in_the_file_open_with_the_sound_within_a_frame(frames, wav, boxes):
    loud, dark = loudness(wav, len(frames)), darkness(frames, boxes)
    middle = slice(10, -10)
    shifts = range(-5, 6)
    agreement = [np.corrcoef(np.roll(loud, shift)[middle], dark[middle])[0, 1] for shift in shifts]
    assert max(agreement) > 0.3
    assert abs(shifts[int(np.argmax(agreement))]) <= 1


def test_the_mouth_can_be_told_from_the_sound_of_a_voice_never_heard():
    def hear(seed: int) -> tuple[np.ndarray, np.ndarray]:
        speech = speak(12.0, Speaker.from_seed(seed), seed)
        mel = np.pad(melspectrogram(speech.wav), ((0, 0), (4, 4)), mode="edge")
        columns = [int(3.2 * n) for n in range(len(speech.articulation))]
        heard = np.stack([mel[:, column : column + 9].ravel() for column in columns])
        return np.concatenate([heard, np.ones((len(heard), 1))], axis=1), speech.articulation[:, :2]

    known = [hear(seed) for seed in range(6)]
    heard, mouths = (np.concatenate(parts) for parts in zip(*known, strict=True))
    weights = np.linalg.solve(heard.T @ heard + 300 * np.eye(heard.shape[1]), heard.T @ mouths)
    heard, mouths = hear(100)
    explained = 1 - np.var(heard @ weights - mouths, axis=0) / np.var(mouths, axis=0)
    assert (explained > 0.6).all(), explained


def test_speech_is_never_clipped_and_begins_with_a_pause():
    speech = speak(5.0, Speaker.from_seed(3), seed=0)
    assert speech.wav.dtype == np.float32
    assert speech.wav.shape == (5 * 16_000,)
    assert 0.4 < np.abs(speech.wav).max() < 0.95
    assert np.abs(speech.wav[: 4 * FRAME_SAMPLES]).max() < 0.01
    assert speech.articulation.min() >= 0
    assert speech.articulation.max() <= 1


def test_a_seed_gives_the_same_bytes_each_time_and_another_seed_other_ones(tmp_path):
    def make(name: str, seed: int) -> bytes:
        return write_sample(tmp_path / name, clips=1, seconds=1.0, seed=seed)[0].read_bytes()

    speaker = Speaker.from_seed(5)
    speech, again = (speak(1.0, speaker, seed=2) for _ in range(2))
    assert np.array_equal(speech.wav, again.wav)
    assert np.array_equal(list(render(speech, speaker, seed=2)), list(render(again, speaker, seed=2)))
    assert not np.array_equal(speech.wav, speak(1.0, speaker, seed=3).wav)
    assert make("a", 0) == make("b", 0) != make("c", 1)


def test_two_speakers_look_and_sound_different():
    one, other = Speaker.from_seed(0), Speaker.from_seed(1)
    assert not np.array_equal(speak(1.0, one, seed=0).wav, speak(1.0, other, seed=0).wav)
    speech = speak(0.2, one, seed=0)
    mine, theirs = (np.stack(list(render(speech, speaker, seed=0))) for speaker in (one, other))
    assert mine.shape == theirs.shape == (5, 288, 256, 3)
    assert mine.dtype == np.uint8
    assert np.abs(mine.astype(int) - theirs).mean() > 10


def test_speech_for_inference_is_a_16_bit_wav_at_16_khz(tmp_path):
    path = tmp_path / "new" / "speech.wav"
    write_speech(path, 2.0, Speaker.from_seed(0), seed=9)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 32_000)
        assert (file.getsampwidth(), file.getnchannels()) == (2, 1)


def test_a_sample_of_no_clips_or_of_no_frames_is_refused(tmp_path):
    with pytest.raises(InputError, match="0 clips"):
        write_sample(tmp_path, clips=0)
    with pytest.raises(InputError, match=r"0\.01 s is shorter"):
        write_sample(tmp_path, clips=1, seconds=0.01)


def test_a_clip_that_fails_half_way_leaves_nothing_behind(tmp_path):
    def break_off():
        yield np.zeros((288, 256, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path / "clip.mp4", break_off(), np.zeros(16_000, np.float32))
    assert list(tmp_path.iterdir()) == []
