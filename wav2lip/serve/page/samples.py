"""Something to try the page with: a talking head and a sentence that the project makes itself."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from PIL import Image

from wav2lip.sample import Speaker, render, speak, write_clip, write_speech

SECONDS = 6.0  # of the video
SPEECH_SECONDS = 4.0
PORTRAIT = 40  # frame of the video that is the photo
VIDEO, PHOTO, SPEECH = "sample_video.mp4", "sample_photo.png", "sample_speech.wav"


class Samples:
    """Makes the samples when they are first asked for; they stay."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._making = threading.Lock()

    def get(self, name: str) -> str:
        """Where one of VIDEO, PHOTO and SPEECH is."""
        path = self.folder / name
        with self._making:
            if not path.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                _make(path)
            os.utime(path)  # Gradio's copy for the visitor has this time, and is removed --keep_hours after it
        return str(path)


def _make(path: Path) -> None:
    speaker = Speaker.from_seed(1)
    partial = path.with_stem(f"{path.stem}.partial")  # the ending says what it is to be
    if path.name == SPEECH:
        write_speech(partial, SPEECH_SECONDS, speaker, seed=7)
    elif path.name == VIDEO:
        speech = speak(SECONDS, speaker, seed=1)
        write_clip(partial, render(speech, speaker, seed=1), speech.wav)
    else:
        speech = speak((PORTRAIT + 1) / 25, speaker, seed=1)
        frames = list(render(speech, speaker, seed=1))
        Image.fromarray(frames[-1]).save(partial)
    os.replace(partial, path)
