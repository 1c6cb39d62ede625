"""Sample files for trying the page: a synthetic talking head and synthetic speech."""

from __future__ import annotations

import os
import threading
from itertools import islice
from pathlib import Path

from PIL import Image

from wav2lip.audio.windows import FPS
from wav2lip.synthetic import Speaker, encode_video, render, speak, write_speech

VIDEO_SECONDS = 6.0
SPEECH_SECONDS = 4.0
PHOTO_FRAME = 40  # index of the video frame that is the photo
SAMPLE_NAMES = VIDEO, PHOTO, SPEECH = "sample_video.mp4", "sample_photo.png", "sample_speech.wav"


class Samples:
    """Samples that are generated on first use."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = threading.Lock()

    def get(self, name: str) -> str:
        """Return the path of VIDEO, PHOTO or SPEECH."""
        path = self.folder / name
        with self._lock:
            if not path.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                _generate(path)
            os.utime(path)  # Gradio's copy has the same time, from which --keep_hours counts
        return str(path)


def _generate(path: Path) -> None:
    speaker = Speaker.from_seed(1)
    partial = path.with_stem(f"{path.stem}.partial")  # the suffix selects the format
    if path.name == SPEECH:
        write_speech(partial, SPEECH_SECONDS, speaker, seed=7)
    elif path.name == VIDEO:
        speech = speak(VIDEO_SECONDS, speaker, seed=1)
        encode_video(partial, render(speech, speaker, seed=1), speech.wav)
    else:
        speech = speak((PHOTO_FRAME + 1) / FPS, speaker, seed=1)
        frame = next(islice(render(speech, speaker, seed=1), PHOTO_FRAME, None))
        Image.fromarray(frame).save(partial)
    os.replace(partial, path)
