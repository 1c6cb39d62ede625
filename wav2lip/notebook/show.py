"""What a notebook's page shows: pictures, videos with sound, reports, a few words."""

from __future__ import annotations

import base64
import tempfile
from fractions import Fraction
from html import escape
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from IPython.display import Audio, Image, Markdown, display

from wav2lip.audio import SAMPLE_RATE
from wav2lip.media import Encoding, VideoWriter, probe, read_audio, read_frames

LARGEST_VIDEO = 8 << 20  # bytes of a video that goes into the page as it is; Colab saves a page with all that it shows
EXCERPT_SECONDS = 30
EXCERPT_HEIGHT = 360  # pixels
LARGEST_RATE = Fraction(30)  # frames a second of an excerpt


def words(text: str) -> None:
    """A few words, in Markdown."""
    display(Markdown(text))


def picture(file: Path) -> None:
    """A picture."""
    display(Image(filename=str(file)))


def page(file: Path, height: int = 480) -> None:
    """A report that needs no other file, in a frame of its own that scrolls. height: pixels."""
    content = escape(file.read_text(encoding="utf-8"), quote=True)
    style = "width:100%;border:1px solid #ccc;background:#fff"
    _html(f'<iframe srcdoc="{content}" style="{style}" height="{height}"></iframe>')


def video(file: Path, width: int = 480) -> None:
    """A video with its sound; of a large one the first half minute, smaller. width: pixels in the page, at most."""
    if file.stat().st_size <= LARGEST_VIDEO:
        _player(file.read_bytes(), width)
        return
    with tempfile.TemporaryDirectory() as scratch:
        _player(_excerpt(file, Path(scratch) / "excerpt.mp4").read_bytes(), width)
    words(f"The first {EXCERPT_SECONDS} s, smaller. The whole of it: `{file}`")


def _html(content: str) -> None:
    display({"text/html": content}, raw=True)


def _player(content: bytes, width: int) -> None:
    source = "data:video/mp4;base64," + base64.b64encode(content).decode("ascii")
    _html(f'<video controls style="width:{width}px;max-width:100%" src="{source}"></video>')


def _excerpt(file: Path, to: Path) -> Path:
    told = probe(file)
    rate = min(told.require_video().fps, LARGEST_RATE)
    sound = file if told.audio else None
    with VideoWriter(to, rate, sound, Encoding(crf=28), cut_sound=True) as writer:
        for frame in islice(read_frames(file, rate), round(EXCERPT_SECONDS * rate)):
            height = min(EXCERPT_HEIGHT, frame.shape[0])
            size = (round(frame.shape[1] * height / frame.shape[0]), height)
            writer.write(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    return to


def sound(file: Path) -> None:
    """The first half minute of a file's sound, to be heard."""
    wanted, blocks, samples = EXCERPT_SECONDS * SAMPLE_RATE, [], 0
    for block in read_audio(file, SAMPLE_RATE):
        blocks.append(block)
        samples += len(block)
        if samples >= wanted:
            break
    display(Audio(np.concatenate(blocks)[:wanted], rate=SAMPLE_RATE))
