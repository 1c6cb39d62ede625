"""Agreement of lips and audio: in each word, and over all words of a voice, which together show whose voice it is.

Without any training. Measured by benchmarks/speaking.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import logsumexp, softmax

from wav2lip.engine.speakers.mouth_motion import deviation
from wav2lip.engine.speakers.voice_level import VoiceLevel
from wav2lip.engine.speakers.voices import Cepstra

Words = Sequence[tuple[int, int]]  # first and end frame of each

LEVEL_SMOOTH_S, SPEED_SMOOTH_S = 0.06, 0.08
LIPS_LEAD_S = 0.08  # the lips move before the voice is heard
LEAD_SIGMA_S = 0.08  # standard deviation of the lead over videos
LEADS_S = np.arange(-0.16, 0.33, 0.04)  # compared, as some recordings are not in sync

# Log-odds for each frame at 25 fps; chosen on synthetic speakers and on other clips than those of the results. LEADS_S
# and SHARED_FACE_COST were added after the clips of the results were seen.
MOTION_WEIGHT, AGREEMENT_WEIGHT = 0.1, 0.1
WEIGHT_FPS = 25
MOTION_PRIOR_S = 5.0  # voice after which the mean motion of a person is known
SHARED_FACE_COST = 2.0  # log-odds against a second voice of the same person
MIN_VOICE_S = 2.0  # a shorter voice costs less
WRONG_VOICE = 0.05  # share of words that are not of the voice that they were assigned to


def audio_activity(level: VoiceLevel, cepstra: Cepstra, frames: int, fps: float) -> np.ndarray:
    """Return the deviation (frames,) of loudness and of spectral change from their trends, of variance 1."""
    loudness = gaussian_filter1d(level.at_frames(frames, fps), LEVEL_SMOOTH_S * fps)
    speed = gaussian_filter1d(cepstra.speed_at_frames(frames, fps), SPEED_SMOOTH_S * fps)
    return deviation(deviation(loudness, fps) + deviation(speed, fps), fps)


@dataclass(frozen=True)
class Evidence:
    """Log-odds that each person speaks."""

    scores: np.ndarray  # (P, N) float: of each frame; NaN where the person is absent
    agreement: np.ndarray  # (G, W, P) float: of each word, for G leads of the lips
    leads: np.ndarray  # (G,) float: logarithm of the prior probability of each lead
    motion: np.ndarray  # (W, P) float: of each word, by how much more the person moves than in other words

    @classmethod
    def from_motion(
        cls, activity: np.ndarray, above_rest: np.ndarray, audio: np.ndarray, words: Words, fps: float
    ) -> Evidence:
        """Compare the motion of mouths with the audio.

        activity, above_rest: (P, N) of `lip_activity` and `motion_above_rest`; NaN where the person is absent.
        audio: (N,) of `audio_activity`.
        """
        agreement_weight, motion_weight = (w * WEIGHT_FPS / fps for w in (AGREEMENT_WEIGHT, MOTION_WEIGHT))
        shifted = [_shift(audio, round(lead * fps)) for lead in LEADS_S]
        agreement = np.stack([agreement_weight * _sum_words(activity * row, words) for row in shifted])
        total, frames = _sum_words(above_rest, words), _sum_words((~np.isnan(above_rest)).astype(float), words)
        mean = total.sum(axis=0) / np.maximum(frames.sum(axis=0), 1)
        known = frames.sum(axis=0) / (frames.sum(axis=0) + MOTION_PRIOR_S * fps)
        scores = agreement_weight * activity * _shift(audio, round(LIPS_LEAD_S * fps))
        scores += motion_weight * (above_rest - (known * mean)[:, None])
        leads = -0.5 * np.square((LEADS_S - LIPS_LEAD_S) / LEAD_SIGMA_S)
        return cls(scores, agreement, leads - logsumexp(leads), motion_weight * (total - frames * mean))

    @classmethod
    def from_scores(cls, scores: np.ndarray, words: Words) -> Evidence:
        """Take the log-odds (P, N) of an expert; NaN where the person is absent."""
        sums = _sum_words(scores, words)
        return cls(scores, sums[None], np.zeros(1), np.zeros_like(sums))

    def voice_priors(self, voices: np.ndarray, words: Words, fps: float) -> np.ndarray:
        """Return log-odds (W, P) of each word by the agreement over all words of its voice.

        voices: (W,) voice of each word, numbered from 0.
        """
        is_voice = np.eye(voices.max() + 1)[:, voices]  # (K, W)
        leads = np.einsum("kw,gwp->gkp", is_voice, self.agreement) + self.leads[:, None, None]
        odds = logsumexp(leads, axis=0) + is_voice @ self.motion  # (K, P)
        length = np.array([last - first for first, last in words]) / fps
        share = np.minimum(1, is_voice @ length / MIN_VOICE_S)[:, None]  # (K, 1)
        owners = softmax(odds, axis=1)
        for _ in range(20):  # mean-field iterations
            others = (share * owners).sum(axis=0) - share * owners
            log = odds - SHARED_FACE_COST * np.minimum(1, others)
            owners = (owners + softmax(log, axis=1)) / 2
        log = log[voices]
        is_present = _sum_words((~np.isnan(self.scores)).astype(float), words) > 0
        highest = np.where(is_present, log, -np.inf).max(axis=1, initial=-1e3, keepdims=True)
        return np.asarray(np.log((1 - WRONG_VOICE) * np.exp(np.minimum(log - highest, 0)) + WRONG_VOICE))


def _shift(values: np.ndarray, frames: int) -> np.ndarray:
    """Return values (N,) of `frames` later."""
    rows = np.clip(np.arange(len(values)) + frames, 0, len(values) - 1)
    return np.asarray(values[rows])


def _sum_words(values: np.ndarray, words: Words) -> np.ndarray:
    """Return the sums (W, P) of values (P, N) over each word; NaN counts 0."""
    sums = np.cumsum(np.nan_to_num(values), axis=1)
    sums = np.concatenate([np.zeros((len(values), 1)), sums], axis=1)
    first, last = np.array(words).T
    return np.asarray((sums[:, last] - sums[:, first]).T)
