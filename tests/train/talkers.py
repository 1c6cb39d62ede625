"""Made-up talkers: a mouth that opens as far as the sound is loud, from which a thin expert learns in a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wav2lip.clips import ClipWriter

RATE, FPS, SIZE = 16_000, 25, 96  # Hz, frames a second, pixels


def write_talkers(root: Path, train: int, val: int, seconds: float, shuffled: bool = False, seed: int = 0) -> Path:
    """A data set of one clip for each talker, with its file lists.

    shuffled: every clip has the sound of another one, so sound and mouth have nothing to do with one another.
    """
    names = [f"talker{n}/00000" for n in range(train + val)]
    rng = np.random.default_rng(seed)
    for name in names:
        said = loudness(rng, seconds)
        heard = loudness(rng, seconds) if shuffled else said
        write_talker(root, name, said, heard, rng)
    lists = root / "filelists"
    lists.mkdir()
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names[:train]))
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in names[train:]))
    return root


def loudness(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """(frames,) in [0, 1]: syllables of 80 to 240 ms, each of its own loudness."""
    frames, levels = round(seconds * FPS), []
    while len(levels) < frames:
        levels += [rng.uniform() ** 2] * int(rng.integers(2, 7))
    return np.convolve(levels[:frames], [0.25, 0.5, 0.25], "same")


def write_talker(root: Path, name: str, said: np.ndarray, heard: np.ndarray, rng: np.random.Generator) -> None:
    """A clip whose mouth opens as `said`, with a sound as loud as `heard`."""
    y, x = np.mgrid[:SIZE, :SIZE]
    skin, noise = rng.integers(90, 220, 3), rng.normal(0, 6, (SIZE, SIZE, 3))
    centre = rng.uniform(44, 52)
    with ClipWriter(root, name) as clip:
        for frame, opening in enumerate(said):
            mouth = ((x - centre) / 18) ** 2 + ((y - 72) / (2 + 14 * opening)) ** 2 < 1
            picture = np.where(mouth[..., None], 20, skin + noise + rng.normal(0, 3, (SIZE, SIZE, 1)))
            clip.write_frame(frame, np.clip(picture, 0, 255).astype(np.uint8))
        envelope = np.interp(np.arange(len(heard) * RATE // FPS) / RATE * FPS - 0.5, np.arange(len(heard)), heard)
        clip.write_audio([(0.3 * envelope * rng.normal(size=len(envelope))).astype(np.float32)])
