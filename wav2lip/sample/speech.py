"""Made-up speech: a small formant synthesiser, and the mouth that would have spoken it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import istft, stft

from wav2lip.errors import InputError

SAMPLE_RATE = 16_000  # Hz
FRAME_RATE = 25  # video frames a second
FRAME_SAMPLES = SAMPLE_RATE // FRAME_RATE  # 640
CONTROL_HOP = 64  # samples between two settings of the vocal tract
CONTROL_RATE = SAMPLE_RATE // CONTROL_HOP  # 250 a second
FILTER_WINDOW = 4 * CONTROL_HOP  # samples, 16 ms
PEAK = 0.8  # of full scale

# Sound and mouth glide from target to target with the same slowness, so that either can be told from the other.
GLIDE = 0.020 * CONTROL_RATE  # standard deviation in control steps
ATTACK = 0.008 * CONTROL_RATE  # loudness changes faster than the tract moves

OPENING, WIDTH, TEETH, TONGUE = range(4)  # columns of an articulation


@dataclass(frozen=True)
class Phone:
    """One sound: where the tract goes, what excites it, and how the mouth looks meanwhile."""

    formants: tuple[float, float, float]  # Hz, for a vocal tract of average length
    voice: float  # loudness of the vocal cords, in [0, 1]
    noise: float  # loudness of the turbulence, in [0, 1]
    noise_centre: float  # Hz
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
    """What tells one speaker's sound from another's."""

    pitch: float = 120.0  # Hz, mean
    formant_scale: float = 1.0  # over 1 for a shorter vocal tract
    speed: float = 1.0  # over 1 for a faster speaker
    breath: float = 0.02  # loudness of the noise that goes with the voice

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Voice:
        """A random voice; a higher pitch goes with a shorter vocal tract, as it does among people."""
        height = rng.uniform(0, 1)
        return cls(
            pitch=float(90 * 2 ** (1.3 * height)),
            formant_scale=float(0.92 + 0.2 * height + rng.uniform(-0.03, 0.03)),
            speed=float(rng.uniform(0.9, 1.12)),
            breath=float(rng.uniform(0.01, 0.04)),
        )


@dataclass(frozen=True)
class Speech:
    """A recording and the mouth that goes with it."""

    wav: np.ndarray  # (640 * N,) float32 in [-1, 1], 16 kHz mono
    articulation: np.ndarray  # (N, 4) float32 in [0, 1]: OPENING, WIDTH, TEETH, TONGUE at time n / 25 s

    def __post_init__(self) -> None:
        if self.wav.shape != (len(self.articulation) * FRAME_SAMPLES,):
            raise ValueError(f"{len(self.articulation)} frames need {FRAME_SAMPLES} samples each, got {self.wav.shape}")


def synthesise(seconds: float, voice: Voice, rng: np.random.Generator) -> Speech:
    """Babble for the given time, cut down to whole video frames.

    Raises: InputError if that leaves no frame.
    """
    frames = int(round(seconds * FRAME_RATE, 6))
    if frames < 1:
        raise InputError(f"speech of {seconds} s is shorter than a video frame; ask for at least {1 / FRAME_RATE} s")
    samples = frames * FRAME_SAMPLES
    steps = samples // CONTROL_HOP + 1
    targets = _targets(steps, voice, rng)
    tract, loudness = gaussian_filter1d(targets["tract"], GLIDE, axis=0), targets["loudness"]
    loudness = gaussian_filter1d(loudness, ATTACK, axis=0)
    wav = _vocalise(tract[:, :3], tract[:, 3], loudness, targets["pitch"], voice, rng)[:samples]
    mouth = tract[:, 4:]
    # The glide of a short closure does not quite arrive; lips that nearly touch are drawn shut.
    mouth[:, OPENING] = (mouth[:, OPENING] - 0.06) / 0.94
    times = np.arange(frames) * FRAME_SAMPLES // CONTROL_HOP
    return Speech(_limit(wav), mouth[times].clip(0, 1).astype(np.float32))


def _phones(voice: Voice, rng: np.random.Generator) -> Iterator[tuple[Phone, float, float, float]]:
    """Endless phrases, as (phone, seconds, effort in [0, 1], pitch as a multiple of the mean)."""
    while True:
        yield SILENCE, rng.uniform(0.2, 0.6), 1.0, 1.0
        syllables = int(rng.integers(3, 9))
        for place in range(syllables):
            effort = rng.uniform(0.65, 1.0)
            pitch = 1.12 - 0.25 * place / syllables + rng.uniform(-0.06, 0.06)  # declines over a phrase
            if rng.uniform() < 0.85:
                consonant = CONSONANTS[str(rng.choice(list(CONSONANTS)))]
                yield consonant, rng.uniform(0.07, 0.12) / voice.speed, effort, pitch
            vowel = VOWELS[str(rng.choice(list(VOWELS)))]
            yield vowel, rng.uniform(0.09, 0.24) / voice.speed, effort, pitch


def _targets(steps: int, voice: Voice, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Settings for every control step, before any smoothing.

    Returns: tract (steps, 3 + 1 + 4): formants in Hz, centre of noise in Hz, mouth; loudness (steps, 2) of voice and
    noise; pitch (steps,) in Hz.
    """
    tract, loudness, pitch = np.empty((steps, 8)), np.empty((steps, 2)), np.empty(steps)
    phones, start = _phones(voice, rng), 0
    while start < steps:
        phone, duration, effort, tone = next(phones)
        part = slice(start, start + max(1, round(duration * CONTROL_RATE)))
        opening, *rest = phone.mouth
        first, *higher = phone.formants
        # A relaxed vowel is quieter, less open and lower in its first formant, all three together.
        heard = [first * (0.7 + 0.3 * effort), *higher]
        tract[part] = [*heard, phone.noise_centre, opening * effort, *rest]
        loudness[part] = phone.voice * effort**2, phone.noise
        pitch[part] = voice.pitch * tone
        start = part.stop
    return {"tract": tract, "loudness": loudness, "pitch": gaussian_filter1d(pitch, 3 * GLIDE)}


def _vocalise(
    formants: np.ndarray, centre: np.ndarray, loudness: np.ndarray, pitch: np.ndarray, voice: Voice,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Filter a pulse train and a noise by spectra that change every control step.

    formants: (S, 3) Hz. centre: (S,) Hz. loudness: (S, 2), voice and noise. pitch: (S,) Hz.
    Returns: about CONTROL_HOP * S samples, of no particular loudness.
    """
    samples = (len(pitch) - 1) * CONTROL_HOP
    steps = np.arange(samples) / CONTROL_HOP
    cycles = np.floor(np.cumsum(np.interp(steps, np.arange(len(pitch)), pitch)) / SAMPLE_RATE)
    pulses = np.diff(cycles, prepend=0.0) * np.sqrt(SAMPLE_RATE / voice.pitch)
    hiss = rng.standard_normal(samples)

    bins = {"fs": SAMPLE_RATE, "nperseg": FILTER_WINDOW, "noverlap": FILTER_WINDOW - CONTROL_HOP}
    hertz, _, pulse_spectrum = stft(pulses, **bins)  # (129,), (129, S)
    _, _, hiss_spectrum = stft(hiss, **bins)
    count = pulse_spectrum.shape[1]
    throat = _resonances(hertz, formants[:count] * voice.formant_scale)
    teeth = np.exp(-0.5 * ((hertz[:, None] - centre[:count]) / 1100.0) ** 2)
    voiced, noisy = loudness[:count].T
    _, wav = istft(
        throat * voiced * (pulse_spectrum + voice.breath * hiss_spectrum) + 0.25 * teeth * noisy * hiss_spectrum, **bins
    )
    return wav


def _resonances(hertz: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Gain of a vocal tract: (B,) frequencies and (S, 3) formants, all in Hz, to (B, S)."""
    frequency = hertz[:, None]
    gain = 1.0 / np.sqrt(1 + (frequency / 700.0) ** 2)  # glottis and lips together lose 6 dB an octave
    fixed = np.broadcast_to([3500.0, 4500.0], (len(formants), 2))
    for formant in np.concatenate([formants, fixed], axis=1).T:
        bandwidth = 50 + 0.05 * formant
        gain = gain * formant**2 / np.hypot(formant**2 - frequency**2, bandwidth * frequency)
    # Low vowels would else be far louder than the rest, and high ones lost.
    loudest = np.sqrt((gain**2).mean(axis=0, keepdims=True))
    return gain / loudest


def _limit(wav: np.ndarray) -> np.ndarray:
    """Set the loudness by the typical peak, and bend what exceeds it instead of clipping."""
    level = np.percentile(np.abs(wav), 99.5)
    return (PEAK * np.tanh(0.8 * wav / max(float(level), 1e-6))).astype(np.float32)
