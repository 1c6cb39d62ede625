"""Formant synthesis of babble, with the mouth articulation that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import istft, stft

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME
from wav2lip.errors import InputError

CONTROL_HOP = 64  # samples between updates of the vocal tract
CONTROL_RATE = SAMPLE_RATE // CONTROL_HOP  # Hz, 250
FILTER_WINDOW = 4 * CONTROL_HOP  # samples, 16 ms
PEAK_AMPLITUDE = 0.8  # full scale is 1

# Audio and mouth are smoothed in the same way, so that each can be predicted from the other.
GLIDE_STEPS = 0.020 * CONTROL_RATE  # standard deviation of the smoothing, control steps
ATTACK_STEPS = 0.008 * CONTROL_RATE  # loudness changes faster than the tract moves

OPENING, WIDTH, TEETH, TONGUE = range(4)  # columns of an articulation


@dataclass(frozen=True)
class Phone:
    """One phone: targets of the vocal tract, its excitation and the mouth."""

    formants: tuple[float, float, float]  # Hz, average length of the vocal tract
    voice: float  # loudness of the voiced excitation in [0, 1]
    noise: float  # loudness of the frication in [0, 1]
    noise_center: float  # Hz
    mouth: tuple[float, float, float, float]  # opening, width (0 rounded, 1 spread), teeth, tongue, all in [0, 1]


SILENCE = Phone((500, 1500, 2500), 0.0, 0.0, 3000, (0.0, 0.5, 0.0, 0.0))

VOWELS = {
    "a": Phone((780, 1250, 2550), 1.0, 0.0, 3000, (1.0, 0.55, 0.35, 0.2)),
    "e": Phone((530, 1850, 2500), 0.9, 0.0, 3000, (0.5, 0.85, 0.55, 0.3)),
    "i": Phone((280, 2350, 3000), 0.75, 0.0, 3000, (0.22, 1.0, 0.8, 0.0)),
    "o": Phone((520, 880, 2400), 0.9, 0.0, 3000, (0.6, 0.2, 0.0, 0.0)),
    "u": Phone((310, 750, 2250), 0.7, 0.0, 3000, (0.25, 0.0, 0.0, 0.0)),
}

CONSONANTS = {
    "m": Phone((250, 1100, 2200), 0.25, 0.0, 3000, (0.0, 0.5, 0.0, 0.0)),
    "b": Phone((250, 900, 2200), 0.06, 0.0, 3000, (0.0, 0.5, 0.0, 0.0)),
    "p": Phone((400, 1000, 2300), 0.0, 0.0, 3000, (0.0, 0.5, 0.0, 0.0)),
    "s": Phone((320, 1700, 2600), 0.0, 0.5, 6000, (0.15, 0.8, 1.0, 0.0)),
    "sh": Phone((320, 1700, 2500), 0.0, 0.6, 3000, (0.28, 0.15, 0.9, 0.0)),
    "l": Phone((380, 1300, 2700), 0.45, 0.0, 3000, (0.35, 0.55, 0.2, 1.0)),
}


@dataclass(frozen=True)
class Voice:
    """Voice of a speaker."""

    pitch: float = 120.0  # Hz, mean
    formant_scale: float = 1.0  # above 1: a shorter vocal tract
    speed: float = 1.0  # above 1: faster speech
    breath: float = 0.02  # loudness of the aspiration noise

    @classmethod
    def random(cls, rng: np.random.Generator) -> Voice:
        """Sample a voice; a higher pitch implies a shorter vocal tract, as in people."""
        height = rng.uniform(0, 1)
        return cls(
            pitch=float(90 * 2 ** (1.3 * height)),
            formant_scale=float(0.92 + 0.2 * height + rng.uniform(-0.03, 0.03)),
            speed=float(rng.uniform(0.9, 1.12)),
            breath=float(rng.uniform(0.01, 0.04)),
        )


@dataclass(frozen=True)
class Speech:
    """Audio and the articulation that belongs to it."""

    wav: np.ndarray  # (640 * N,) float32 in [-1, 1], 16 kHz mono
    articulation: np.ndarray  # (N, 4) float32 in [0, 1]: OPENING, WIDTH, TEETH, TONGUE at time n / 25 s

    def __post_init__(self) -> None:
        if self.wav.shape != (len(self.articulation) * SAMPLES_PER_FRAME,):
            frames = len(self.articulation)
            raise ValueError(f"wav: must have {frames} x {SAMPLES_PER_FRAME} samples, got shape {self.wav.shape}")


def synthesize(seconds: float, voice: Voice, rng: np.random.Generator) -> Speech:
    """Synthesize babble, truncated to whole video frames.

    Raises: InputError if it is shorter than one frame.
    """
    frames = int(round(seconds * FPS, 6))
    if frames < 1:
        raise InputError(f"seconds={seconds}: is shorter than one video frame; must be at least {1 / FPS}")
    samples = frames * SAMPLES_PER_FRAME
    steps = samples // CONTROL_HOP + 1
    targets = _sample_targets(steps, voice, rng)
    tract, loudness = gaussian_filter1d(targets["tract"], GLIDE_STEPS, axis=0), targets["loudness"]
    loudness = gaussian_filter1d(loudness, ATTACK_STEPS, axis=0)
    wav = _vocalize(tract[:, :3], tract[:, 3], loudness, targets["pitch"], voice, rng)[:samples]
    mouth = tract[:, 4:]
    # Smoothing keeps short closures from reaching 0, so an opening below 0.06 counts as closed.
    mouth[:, OPENING] = (mouth[:, OPENING] - 0.06) / 0.94
    times = np.arange(frames) * SAMPLES_PER_FRAME // CONTROL_HOP
    return Speech(_normalize(wav), mouth[times].clip(0, 1).astype(np.float32))


def _sample_phones(voice: Voice, rng: np.random.Generator) -> Iterator[tuple[Phone, float, float, float]]:
    """Yield endless phrases as (phone, seconds, effort in [0, 1], pitch relative to the mean)."""
    while True:
        yield SILENCE, rng.uniform(0.2, 0.6), 1.0, 1.0
        syllables = int(rng.integers(3, 9))
        for syllable in range(syllables):
            effort = rng.uniform(0.65, 1.0)
            pitch = 1.12 - 0.25 * syllable / syllables + rng.uniform(-0.06, 0.06)  # pitch declines over a phrase
            if rng.uniform() < 0.85:
                consonant = CONSONANTS[str(rng.choice(list(CONSONANTS)))]
                yield consonant, rng.uniform(0.07, 0.12) / voice.speed, effort, pitch
            vowel = VOWELS[str(rng.choice(list(VOWELS)))]
            yield vowel, rng.uniform(0.09, 0.24) / voice.speed, effort, pitch


def _sample_targets(steps: int, voice: Voice, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Sample control targets for every step, before smoothing.

    Returns: tract (steps, 3 + 1 + 4): formants in Hz, center of the noise in Hz, mouth; loudness (steps, 2) of voice
    and noise; pitch (steps,) in Hz.
    """
    tract, loudness, pitch = np.empty((steps, 8)), np.empty((steps, 2)), np.empty(steps)
    phones, start = _sample_phones(voice, rng), 0
    while start < steps:
        phone, duration, effort, pitch_factor = next(phones)
        span = slice(start, start + max(1, round(duration * CONTROL_RATE)))
        opening, *rest = phone.mouth
        first_formant, *higher_formants = phone.formants
        # A relaxed vowel is quieter, less open and lower in its first formant.
        formants = [first_formant * (0.7 + 0.3 * effort), *higher_formants]
        tract[span] = [*formants, phone.noise_center, opening * effort, *rest]
        loudness[span] = phone.voice * effort**2, phone.noise
        pitch[span] = voice.pitch * pitch_factor
        start = span.stop
    return {"tract": tract, "loudness": loudness, "pitch": gaussian_filter1d(pitch, 3 * GLIDE_STEPS)}


def _vocalize(
    formants: np.ndarray, center: np.ndarray, loudness: np.ndarray, pitch: np.ndarray, voice: Voice,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Filter a pulse train and noise with a vocal tract that changes every control step.

    formants: (S, 3) Hz. center: (S,) Hz. loudness: (S, 2), voice and noise. pitch: (S,) Hz.
    Returns: about CONTROL_HOP * S samples, not normalized.
    """
    samples = (len(pitch) - 1) * CONTROL_HOP
    steps = np.arange(samples) / CONTROL_HOP
    cycles = np.floor(np.cumsum(np.interp(steps, np.arange(len(pitch)), pitch)) / SAMPLE_RATE)
    pulses = np.diff(cycles, prepend=0.0) * np.sqrt(SAMPLE_RATE / voice.pitch)
    noise = rng.standard_normal(samples)

    stft_params: dict[str, int] = {"fs": SAMPLE_RATE, "nperseg": FILTER_WINDOW, "noverlap": FILTER_WINDOW - CONTROL_HOP}
    hertz, _, pulse_spectrum = stft(pulses, **stft_params)  # (129,), (129, S)
    _, _, noise_spectrum = stft(noise, **stft_params)
    count = pulse_spectrum.shape[1]
    tract_gain = _tract_gain(hertz, formants[:count] * voice.formant_scale)
    noise_gain = np.exp(-0.5 * ((hertz[:, None] - center[:count]) / 1100.0) ** 2)
    voice_level, noise_level = loudness[:count].T
    voiced_spectrum = tract_gain * voice_level * (pulse_spectrum + voice.breath * noise_spectrum)
    frication_spectrum = 0.25 * noise_gain * noise_level * noise_spectrum
    _, wav = istft(voiced_spectrum + frication_spectrum, **stft_params)
    return wav


def _tract_gain(hertz: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Return the gain (B, S) of a vocal tract at (B,) frequencies for (S, 3) formants, all in Hz."""
    frequency = hertz[:, None]
    gain = 1.0 / np.sqrt(1 + (frequency / 700.0) ** 2)  # glottis and lips together: -6 dB per octave
    fixed = np.broadcast_to([3500.0, 4500.0], (len(formants), 2))
    for formant in np.concatenate([formants, fixed], axis=1).T:
        bandwidth = 50 + 0.05 * formant
        gain = gain * formant**2 / np.hypot(formant**2 - frequency**2, bandwidth * frequency)
    # Without this, low vowels are far louder than high ones.
    rms = np.sqrt((gain**2).mean(axis=0, keepdims=True))
    return gain / rms


def _normalize(wav: np.ndarray) -> np.ndarray:
    """Scale by the 99.5th percentile and compress higher peaks instead of clipping them."""
    level = np.percentile(np.abs(wav), 99.5)
    return (PEAK_AMPLITUDE * np.tanh(0.8 * wav / max(float(level), 1e-6))).astype(np.float32)
