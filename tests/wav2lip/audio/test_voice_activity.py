"""Voice activity, mouth openness and silences."""

from pathlib import Path

import numpy as np
import pytest

from wav2lip.audio.voice_activity import detect_silences, detect_voice, is_below_level
from wav2lip.media import read_audio
from wav2lip.synthetic import Speaker, speak

SPEECH = Path(__file__).parents[4] / "shared" / "media" / "speech_en_8s.wav"
RATE = 16_000


@pytest.fixture(scope="module")
def voice():
    """Two seconds of a synthetic voice."""
    return speak(2.0, Speaker.from_seed(1), 1).wav


def white_noise(seconds, level_db):
    return np.random.default_rng(0).normal(0, 10 ** (level_db / 20), int(seconds * RATE)).astype(np.float32)


def pink_noise(seconds, level_db):
    """Noise whose power falls by 3 dB per octave, like that of a room."""
    bands = np.fft.rfft(white_noise(seconds, 0))
    wav = np.fft.irfft(bands / np.sqrt(np.maximum(np.arange(len(bands)), 1)))
    return (wav / wav.std() * 10 ** (level_db / 20)).astype(np.float32)


@pytest.mark.parametrize("wav", [
    np.zeros(2 * RATE), white_noise(2, -60), white_noise(2, -40),
    0.01 * np.sin(np.arange(2 * RATE) * 2 * np.pi * 50 / RATE),
], ids=["digital silence", "faint hiss", "room noise at -40 dB", "mains hum"])  # fmt: skip
def test_silence_and_noise_are_not_a_voice(wav):
    assert detect_voice([wav.astype(np.float32)]).mean() < 0.02


def test_faint_voice_is_detected(voice):
    fraction = detect_voice([voice]).mean()
    assert fraction > 0.6
    for level_db in (-30, -40):
        assert detect_voice([voice * np.float32(10 ** (level_db / 20))]).mean() > 0.9 * fraction


def test_noise_is_not_amplified_to_a_voice(voice):
    assert detect_voice([pink_noise(8, -60)]).mean() < 0.05
    after_voice = np.concatenate([voice, np.zeros(8 * RATE, np.float32)]) + pink_noise(10, -60)
    assert detect_voice([after_voice])[220:].mean() < 0.1


def test_real_speech_is_detected_when_faint():
    if not SPEECH.is_file():
        pytest.skip(f"no {SPEECH.name}")
    wav = np.concatenate(list(read_audio(SPEECH, RATE)))
    assert detect_voice([wav]).mean() > 0.95
    assert detect_voice([wav / 10]).mean() > 0.9
    assert detect_voice([wav / 100]).mean() > 0.9


def test_pause_is_located(voice):
    speech = voice[: RATE // 2 * 3] + white_noise(1.5, -60)
    decisions = detect_voice([np.concatenate([white_noise(1, -60), speech, white_noise(1, -60)]).astype(np.float32)])
    assert decisions[:90].mean() < 0.05
    assert decisions[105:245].mean() > 0.6
    assert decisions[275:].mean() < 0.05


def test_decisions_do_not_depend_on_block_size(voice):
    wav = voice.astype(np.float32)
    blocks = np.split(wav, [1, 700, 701, 9999])
    np.testing.assert_array_equal(detect_voice(blocks), detect_voice([wav]))
    assert len(detect_voice([wav[:1700]])) == 11  # the last step is padded


def test_level_is_rms_in_dbfs():
    amplitudes = np.array([10 ** (-50.1 / 20), 10 ** (-49.9 / 20)])[:, None]  # of square waves
    assert is_below_level(amplitudes * np.resize([1.0, -1.0], 640)).tolist() == [True, False]


def noise_segments(*segments: tuple[float, int]) -> np.ndarray:
    """Noise with an RMS and a number of frames per segment."""
    rng = np.random.default_rng(0)
    return np.concatenate([rms * rng.standard_normal(640 * frames) for rms, frames in segments]).astype(np.float32)


def test_silences_are_long_pauses_without_three_frames_each_end():
    silent = detect_silences(noise_segments((0.1, 10), (0.0005, 20), (0.1, 5), (0.0005, 7), (0.1, 5)))
    assert np.flatnonzero(silent).tolist() == list(range(13, 27))


def test_silent_audio_is_one_silence():
    assert detect_silences(np.zeros(640 * 10, np.float32)).sum() == 4
    assert len(detect_silences(np.zeros(100, np.float32))) == 0
