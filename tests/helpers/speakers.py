"""Synthetic speakers: a mouth opens as far as the audio is loud, which a thin expert learns in a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wav2lip.dataset.clip import ClipWriter

SAMPLE_RATE, FPS, SIZE = 16_000, 25, 96  # Hz, frames per second, pixels


def write_speakers(root: Path, train: int, val: int, seconds: float, mismatched: bool = False, seed: int = 0) -> Path:
    """Write a data set of one clip per speaker, with file lists; mismatched: audio and mouth are independent."""
    names = [f"speaker{n}/00000" for n in range(train + val)]
    rng = np.random.default_rng(seed)
    for name in names:
        mouth = loudness(rng, seconds)
        audio = loudness(rng, seconds) if mismatched else mouth
        write_speaker(root, name, mouth, audio, rng)
    lists = root / "filelists"
    lists.mkdir()
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names[:train]))
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in names[train:]))
    return root


def loudness(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Return (frames,) in [0, 1]: syllables of 80 to 240 ms, each with its own loudness."""
    frames, levels = round(seconds * FPS), []
    while len(levels) < frames:
        levels += [rng.uniform() ** 2] * int(rng.integers(2, 7))
    return np.convolve(levels[:frames], [0.25, 0.5, 0.25], "same")


def write_speaker(root: Path, name: str, mouth: np.ndarray, audio: np.ndarray, rng: np.random.Generator) -> None:
    """Write a clip whose mouth opens as `mouth`, with audio as loud as `audio`."""
    y, x = np.mgrid[:SIZE, :SIZE]
    skin, noise = rng.integers(90, 220, 3), rng.normal(0, 6, (SIZE, SIZE, 3))
    center = rng.uniform(44, 52)
    with ClipWriter(root, name) as clip:
        for frame, opening in enumerate(mouth):
            lips = ((x - center) / 18) ** 2 + ((y - 72) / (2 + 14 * opening)) ** 2 < 1
            image = np.where(lips[..., None], 20, skin + noise + rng.normal(0, 3, (SIZE, SIZE, 1)))
            clip.write_frame(frame, np.clip(image, 0, 255).astype(np.uint8))
        times = np.arange(len(audio) * SAMPLE_RATE // FPS) / SAMPLE_RATE
        envelope = np.interp(times * FPS - 0.5, np.arange(len(audio)), audio)
        clip.write_audio([(0.3 * envelope * rng.normal(size=len(envelope))).astype(np.float32)])
