"""Turns of the speakers of a video: one person for each word, with hysteresis, and how certain the choice is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SWITCH_COST = 0.75  # log-odds that a switch must overcome
ABSENT = -1e3  # score of a person who is not in the frames of a word


@dataclass(frozen=True)
class Turn:
    """Frames in which one person speaks."""

    first: int
    last: int  # exclusive
    person: int  # index among the rows of the scores
    certainty: float  # probability that this person speaks and not another one, from 0 to 1


def choose_turns(words: Sequence[tuple[int, int]], scores: np.ndarray, priors: np.ndarray | None = None) -> list[Turn]:
    """Choose the most probable person for each word, and join equal neighbors.

    words: first and end frame of each, in order, within the N frames.
    scores: (P, N) float, log-odds per frame that a person speaks; NaN where the person is absent.
    priors: (W, P) float, log-odds of each word that do not depend on its frames.
    Returns: turns that meet in the middle of the pauses and cover all N frames; none without words or persons.
    """
    persons, frames = scores.shape
    if not words or not persons:
        return []
    evidence = np.stack([_sum_scores(scores[:, first:last]) for first, last in words])  # (W, P)
    if priors is not None:
        evidence = evidence + priors
    path, posterior = _viterbi(evidence), _posterior(evidence)
    turns, begin = [], 0
    for person, group in itertools.groupby(range(len(words)), key=path.__getitem__):
        numbers = list(group)
        end = frames if numbers[-1] == len(words) - 1 else (words[numbers[-1]][1] + words[numbers[-1] + 1][0]) // 2
        lengths = [words[number][1] - words[number][0] for number in numbers]
        certainty = float(np.average(posterior[numbers, person], weights=lengths))
        turns.append(Turn(begin, end, person, certainty))
        begin = end
    return turns


def _sum_scores(scores: np.ndarray) -> np.ndarray:
    """Return the score (P,) of each person for a word, as of a person present throughout."""
    present = ~np.isnan(scores)
    share = present.mean(axis=1)
    return np.where(share > 0.5, np.where(present, scores, 0).sum(axis=1) / np.maximum(share, 0.5), ABSENT)


def _viterbi(evidence: np.ndarray) -> list[int]:
    """Return the most probable person of each word (W, P)."""
    total, origins = evidence[0], []
    for word in evidence[1:]:
        origin = np.where(total >= total.max() - SWITCH_COST, np.arange(len(total)), total.argmax())
        origins.append(origin)
        total = word + np.maximum(total, total.max() - SWITCH_COST)
    path = [int(total.argmax())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return path[::-1]


def _posterior(evidence: np.ndarray) -> np.ndarray:
    """Return the probability (W, P) of each person in each word, by the forward-backward algorithm."""

    def step(before: np.ndarray) -> np.ndarray:
        switched = np.logaddexp.reduce(before) - SWITCH_COST
        return np.logaddexp(before, switched)

    forward, backward = [evidence[0]], [np.zeros(evidence.shape[1])]
    for word in evidence[1:]:
        forward.append(word + step(forward[-1]))
    for word in evidence[:0:-1]:
        backward.append(step(backward[-1] + word))
    log = np.stack(forward) + np.stack(backward[::-1])
    return np.exp(log - np.logaddexp.reduce(log, axis=1, keepdims=True))
