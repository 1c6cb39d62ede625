"""A small data set of talking heads made on the spot: no download, and sound and lips that truly belong together.

The sound comes from a formant synthesiser, the picture from one portrait with a painted mouth. It is enough to see
every stage work and a thin network learn; it is no substitute for people.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wav2lip.errors import InputError
from wav2lip.media import VideoWriter
from wav2lip.sample.face import Look, animate
from wav2lip.sample.speech import FRAME_RATE, SAMPLE_RATE, Speech, Voice, synthesise

TAKES = 2  # recordings of each speaker, at least
SOUND, SIGHT = 1, 2  # keep the random numbers of speech and head apart


@dataclass(frozen=True)
class Speaker:
    """A voice and a look."""

    voice: Voice = field(default_factory=Voice)
    look: Look = field(default_factory=Look)

    @classmethod
    def from_seed(cls, seed: int) -> Speaker:
        """The same speaker for the same seed, for good."""
        return cls(Voice.draw(np.random.default_rng([seed, SOUND])), Look.draw(np.random.default_rng([seed, SIGHT])))


def speak(seconds: float, speaker: Speaker, seed: int) -> Speech:
    """Let a speaker babble; another seed gives other words."""
    return synthesise(seconds, speaker.voice, np.random.default_rng([seed, SOUND]))


def render(speech: Speech, speaker: Speaker, seed: int) -> Iterator[np.ndarray]:
    """Frames of the speaker saying it, (288, 256, 3) uint8 RGB at 25 a second; another seed gives other head motion."""
    return animate(speech.articulation, speaker.look, np.random.default_rng([seed, SIGHT]))


def write_sample(
    folder: Path,
    clips: int = 10,
    seconds: float = 12.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write clips as folder/speaker_00/00.mp4, two or more of each speaker as soon as there are two.

    progress: called after each clip with how many are done and how many there are to be.
    Returns: the files, in order of speaker and take.
    """
    if clips < 1:
        raise InputError(f"a sample of {clips} clips is none; ask for at least 1")
    speakers = max(1, clips // TAKES)
    written = []
    for clip in range(clips):
        who, take = clip % speakers, clip // speakers
        speaker = Speaker.from_seed(_mix(seed, who))
        speech = speak(seconds, speaker, _mix(seed, who, take))
        path = Path(folder) / f"speaker_{who:02d}" / f"{take:02d}.mp4"
        write_clip(path, render(speech, speaker, _mix(seed, who, take)), speech.wav)
        written.append(path)
        if progress:
            progress(clip + 1, clips)
    return sorted(written)


def write_speech(path: Path, seconds: float, speaker: Speaker, seed: int) -> None:
    """Write 16-bit speech at 16 kHz that belongs to no picture, for inference."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, speak(seconds, speaker, seed).wav)


def write_clip(path: Path, frames: Iterable[np.ndarray], wav: np.ndarray) -> None:
    """Write picture and sound, whole or not at all. frames: (H, W, 3) uint8 RGB. wav: (N,) in [-1, 1] at 16 kHz."""
    with tempfile.TemporaryDirectory() as scratch:
        sound = Path(scratch) / "sound.wav"
        write_wav(sound, wav)
        with VideoWriter(path, FRAME_RATE, audio=sound) as writer:
            for frame in frames:
                writer.write(frame)


def write_wav(path: Path, wav: np.ndarray) -> None:
    """Write 16-bit sound at 16 kHz. wav: (N,) in [-1, 1]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((wav * 32767).round().astype("<i2").tobytes())


def _mix(*seeds: int) -> int:
    """One seed out of several, so that neighbouring ones have nothing in common."""
    return int(np.random.SeedSequence(seeds).generate_state(1)[0])
