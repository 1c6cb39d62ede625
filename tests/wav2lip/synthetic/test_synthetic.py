"""Synthetic talking heads: readable files, one detectable face, and lips that follow the audio."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from wav2lip.audio import melspectrogram
from wav2lip.errors import InputError
from wav2lip.synthetic import Speaker, encode_video, render, speak, write_speech, write_videos
from wav2lip.synthetic.__main__ import main, write_samples

SAMPLES_PER_FRAME = 640  # 16 kHz at 25 fps


@pytest.fixture(scope="module")
def video_file(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"), count=1, seconds=6.0, seed=1)[0]


@pytest.fixture(scope="module")
def frames(video_file) -> np.ndarray:
    """Frames decoded by PyAV, (N, H, W, 3) uint8 RGB."""
    with av.open(str(video_file)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def wav(video_file) -> np.ndarray:
    """Audio decoded by PyAV without the encoder delay, (N,) float32."""
    resampler = av.AudioResampler("flt", "mono", 16_000)
    with av.open(str(video_file)) as container:
        blocks = [block for frame in container.decode(audio=0) for block in resampler.resample(frame)]
    return np.concatenate([block.to_ndarray()[0] for block in blocks])


@pytest.fixture(scope="module")
def boxes(frames) -> list[np.ndarray]:
    """Detections of OpenCV's Haar cascade per frame: (faces, 4) left, top, width, height."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return [np.reshape(cascade.detectMultiScale(image, 1.1, 3, minSize=(60, 60)), (-1, 4)) for image in gray]


def loudness(wav: np.ndarray, frames: int) -> np.ndarray:
    """Return the level in dB of the 40 ms around the start of each frame, at least -60."""
    padded = np.pad(wav, SAMPLES_PER_FRAME)
    windows = [padded[SAMPLES_PER_FRAME // 2 + n * SAMPLES_PER_FRAME :][:SAMPLES_PER_FRAME] for n in range(frames)]
    return 20 * np.log10(np.maximum([np.sqrt(np.mean(window**2)) for window in windows], 1e-3))


def darkness(frames: np.ndarray, boxes: list[np.ndarray]) -> np.ndarray:
    """Return the share of near-black pixels around the mouth: the lower middle of the median face box."""
    left, top, width, height = np.median(np.concatenate(boxes), axis=0).astype(int)
    mouths = frames[:, top + 7 * height // 10 : top + height, left + width // 4 : left + 3 * width // 4]
    return (mouths.max(axis=-1) < 85).mean(axis=(1, 2))


def test_write_videos_gives_each_speaker_a_folder(tmp_path):
    calls = []
    paths = write_videos(tmp_path, count=5, seconds=0.4, progress=lambda *counts: calls.append(counts))
    names = [str(path.relative_to(tmp_path)) for path in paths]
    assert names == [f"speaker_0{s}/0{v}.mp4" for s, v in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]]
    assert sorted(tmp_path.rglob("*.*")) == paths
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    singles = write_videos(tmp_path / "singles", count=3, seconds=0.4, videos_per_speaker=1)
    assert [path.parent.name for path in singles] == ["speaker_00", "speaker_01", "speaker_02"]


def test_video_is_25_fps_with_audio_of_equal_length(video_file, frames, wav):
    with av.open(str(video_file)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.average_rate == 25
        assert audio.rate >= 16_000
        assert float(video.start_time or 0) == 0
        assert abs(float(video.duration * video.time_base) - float(audio.duration * audio.time_base)) <= 0.04
    assert len(frames) == 150
    assert abs(len(wav) - 150 * SAMPLES_PER_FRAME) <= SAMPLES_PER_FRAME


def test_haar_finds_one_face_in_nearly_every_frame(boxes):
    assert np.mean([len(faces) == 1 for faces in boxes]) >= 0.95


def test_lips_are_closed_during_silence(frames, wav, boxes):
    quiet = loudness(wav, len(frames)) < -50
    dark = darkness(frames, boxes)
    assert 5 <= quiet.sum() <= 75
    assert np.median(dark[quiet]) < 0.02 < np.percentile(dark[~quiet], 75)


def test_lips_follow_audio_within_one_frame(frames, wav, boxes):
    loud, dark = loudness(wav, len(frames)), darkness(frames, boxes)
    middle = slice(10, -10)
    shifts = range(-5, 6)
    correlation = [np.corrcoef(np.roll(loud, shift)[middle], dark[middle])[0, 1] for shift in shifts]
    assert max(correlation) > 0.3
    assert abs(shifts[int(np.argmax(correlation))]) <= 1


def test_mouth_is_predictable_from_audio_of_an_unseen_voice():
    def features(seed: int) -> tuple[np.ndarray, np.ndarray]:
        speech = speak(12.0, Speaker.from_seed(seed), seed)
        mel = np.pad(melspectrogram(speech.wav), ((0, 0), (4, 4)), mode="edge")
        columns = [int(3.2 * n) for n in range(len(speech.articulation))]
        windows = np.stack([mel[:, column : column + 9].ravel() for column in columns])
        return np.concatenate([windows, np.ones((len(windows), 1))], axis=1), speech.articulation[:, :2]

    mels, mouths = (np.concatenate(arrays) for arrays in zip(*map(features, range(6)), strict=True))
    weights = np.linalg.solve(mels.T @ mels + 300 * np.eye(mels.shape[1]), mels.T @ mouths)  # ridge regression
    mels, mouths = features(100)
    explained = 1 - np.var(mels @ weights - mouths, axis=0) / np.var(mouths, axis=0)
    assert (explained > 0.6).all(), explained


def test_speech_is_not_clipped_and_starts_with_silence():
    speech = speak(5.0, Speaker.from_seed(3), seed=0)
    assert speech.wav.dtype == np.float32
    assert speech.wav.shape == (5 * 16_000,)
    assert 0.4 < np.abs(speech.wav).max() < 0.95
    assert np.abs(speech.wav[: 4 * SAMPLES_PER_FRAME]).max() < 0.01
    assert speech.articulation.min() >= 0
    assert speech.articulation.max() <= 1


def test_seed_determines_every_byte(tmp_path):
    def write_bytes(name: str, seed: int) -> bytes:
        return write_videos(tmp_path / name, count=1, seconds=1.0, seed=seed)[0].read_bytes()

    speaker = Speaker.from_seed(5)
    speech, repeated = (speak(1.0, speaker, seed=2) for _ in range(2))
    assert np.array_equal(speech.wav, repeated.wav)
    assert np.array_equal(list(render(speech, speaker, seed=2)), list(render(repeated, speaker, seed=2)))
    assert not np.array_equal(speech.wav, speak(1.0, speaker, seed=3).wav)
    assert write_bytes("a", 0) == write_bytes("b", 0) != write_bytes("c", 1)


def test_speakers_differ_in_voice_and_appearance():
    speaker_a, speaker_b = Speaker.from_seed(0), Speaker.from_seed(1)
    assert not np.array_equal(speak(1.0, speaker_a, seed=0).wav, speak(1.0, speaker_b, seed=0).wav)
    speech = speak(0.2, speaker_a, seed=0)
    first, second = (np.stack(list(render(speech, speaker, seed=0))) for speaker in (speaker_a, speaker_b))
    assert first.shape == second.shape == (5, 288, 256, 3)
    assert first.dtype == np.uint8
    assert np.abs(first.astype(int) - second).mean() > 10


def test_write_speech_writes_16_bit_wav_at_16_khz(tmp_path):
    path = tmp_path / "new" / "speech.wav"
    write_speech(path, 2.0, Speaker.from_seed(0), seed=9)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 32_000)
        assert (file.getsampwidth(), file.getnchannels()) == (2, 1)


def test_write_videos_rejects_no_videos_and_no_frames(tmp_path):
    with pytest.raises(InputError, match="count=0"):
        write_videos(tmp_path, count=0)
    with pytest.raises(InputError, match=r"seconds=0\.01"):
        write_videos(tmp_path, count=1, seconds=0.01)


def test_failed_encode_video_leaves_no_file(tmp_path):
    def interrupted_frames():
        yield np.zeros((288, 256, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_video(tmp_path / "clip.mp4", interrupted_frames(), np.zeros(16_000, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_samples_have_the_layout_of_upstreams_data(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["command", "--out", str(tmp_path), "--videos", "3", "--seconds", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["main/00000/00000.mp4", "main/00000/00001.mp4", "main/00000/00002.mp4", "person.mp4", "photo.png",
                     "speech.wav"]  # fmt: skip
    with av.open(str(tmp_path / "person.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 25
    photo = np.asarray(Image.open(tmp_path / "photo.png"))
    assert np.abs(frames[0].astype(int) - photo).mean() < 4  # the first frame, before encoding
    with wave.open(str(tmp_path / "speech.wav")) as speech:
        assert speech.getnframes() == speech.getframerate() == 16_000


def test_samples_of_no_length_are_rejected(tmp_path):
    with pytest.raises(InputError, match="--seconds=0.2"):
        write_samples(tmp_path, 1, 0.2)
    assert not list(tmp_path.iterdir())
