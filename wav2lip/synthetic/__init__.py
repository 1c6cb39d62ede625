"""Synthetic talking heads and voices: videos whose lips follow their audio, generated without any download.

A formant synthesizer generates the audio, and a warped portrait with a painted mouth the frames. Demos, samples and
tests run every stage on them, and a thin network learns from them. They do not replace recordings of people.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.windows import FPS
from wav2lip.errors import InputError
from wav2lip.media import VideoWriter
from wav2lip.synthetic.face import Appearance, animate
from wav2lip.synthetic.voice import Speech, Voice, synthesize

AUDIO_STREAM, VIDEO_STREAM = 1, 2  # separate random streams: the head must not move differently for another voice


@dataclass(frozen=True)
class Speaker:
    """A voice and a face."""

    voice: Voice = field(default_factory=Voice)
    appearance: Appearance = field(default_factory=Appearance)

    @classmethod
    def from_seed(cls, seed: int) -> Speaker:
        """Return the speaker of a seed; the same one in every version."""
        return cls(
            Voice.random(np.random.default_rng([seed, AUDIO_STREAM])),
            Appearance.random(np.random.default_rng([seed, VIDEO_STREAM])),
        )


def speak(seconds: float, speaker: Speaker, seed: int) -> Speech:
    """Synthesize babble in the speaker's voice; the seed selects the syllables."""
    return synthesize(seconds, speaker.voice, np.random.default_rng([seed, AUDIO_STREAM]))


def render(speech: Speech, speaker: Speaker, seed: int) -> Iterator[np.ndarray]:
    """Yield frames of the speaker, (288, 256, 3) uint8 RGB at 25 fps; the seed selects the head motion."""
    return animate(speech.articulation, speaker.appearance, np.random.default_rng([seed, VIDEO_STREAM]))


def write_videos(
    folder: Path,
    count: int = 10,
    seconds: float = 12.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    template: str = "speaker_{speaker:02d}/{video:02d}.mp4",
    videos_per_speaker: int = 2,
) -> list[Path]:
    """Write talking heads into a folder.

    videos_per_speaker: at least as many of each speaker, if `count` allows it.
    template: path of a video in the folder, from the numbers of its speaker and of the video.
    progress: called after each video with the number done and the total.
    Returns: the files, sorted by speaker.
    """
    if count < 1:
        raise InputError(f"count={count}: must be at least 1")
    speakers = max(1, count // videos_per_speaker)
    paths = []
    for index in range(count):
        speaker_index, video_index = index % speakers, index // speakers
        speaker, video_seed = speaker_of(seed, speaker_index, video_index)
        speech = speak(seconds, speaker, video_seed)
        path = Path(folder) / template.format(speaker=speaker_index, video=video_index)
        encode_video(path, render(speech, speaker, video_seed), speech.wav)
        paths.append(path)
        if progress:
            progress(index + 1, count)
    return sorted(paths)


def speaker_of(seed: int, speaker_index: int, video_index: int) -> tuple[Speaker, int]:
    """Return the speaker of folder/speaker_NN/MM.mp4 of `write_videos`, and the seed of the video."""
    return Speaker.from_seed(_mix_seeds(seed, speaker_index)), _mix_seeds(seed, speaker_index, video_index)


def write_speech(path: Path, seconds: float, speaker: Speaker, seed: int) -> None:
    """Write speech without a video, as a 16-bit WAV file at 16 kHz."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, speak(seconds, speaker, seed).wav)


def encode_video(path: Path, frames: Iterable[np.ndarray], wav: np.ndarray) -> None:
    """Encode frames at 25 fps with audio; a failure leaves no file.

    frames: (H, W, 3) uint8 RGB. wav: (N,) in [-1, 1] at 16 kHz.
    """
    with tempfile.TemporaryDirectory() as scratch:
        audio = Path(scratch) / "audio.wav"
        write_wav(audio, wav)
        with VideoWriter(path, FPS, audio=audio) as writer:
            for frame in frames:
                writer.write(frame)


def write_wav(path: Path, wav: np.ndarray) -> None:
    """Write (N,) samples in [-1, 1] as a 16-bit mono WAV file at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((wav * 32767).round().astype("<i2").tobytes())


def _mix_seeds(*seeds: int) -> int:
    """Hash seeds into one, so that neighboring seeds give independent streams."""
    return int(np.random.SeedSequence(seeds).generate_state(1)[0])
