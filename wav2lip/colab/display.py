"""Output of notebook cells: text, images, audio, videos and HTML reports."""

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

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.media import Encoding, VideoWriter, probe, read_audio, read_frames

MAX_EMBEDDED_BYTES = 8 << 20  # larger videos become excerpts: Colab saves everything that a notebook displays
EXCERPT_SECONDS = 30
EXCERPT_HEIGHT = 360  # pixels
MAX_EXCERPT_FPS = Fraction(30)


def show_text(markdown: str) -> None:
    """Display text in Markdown."""
    display(Markdown(markdown))


def show_image(file: Path) -> None:
    """Display an image file."""
    display(Image(filename=str(file)))


def show_report(file: Path, height: int = 480) -> None:
    """Display a self-contained HTML report in a scrolling frame of `height` pixels."""
    content = escape(file.read_text(encoding="utf-8"), quote=True)
    style = "width:100%;border:1px solid #ccc;background:#fff"
    _show_html(f'<iframe srcdoc="{content}" style="{style}" height="{height}"></iframe>')


def show_video(file: Path, width: int = 480) -> None:
    """Display a video with audio, at most `width` pixels wide; a large file as a smaller excerpt of its first 30 s."""
    if file.stat().st_size <= MAX_EMBEDDED_BYTES:
        _show_player(file.read_bytes(), width)
        return
    with tempfile.TemporaryDirectory() as scratch:
        _show_player(_write_excerpt(file, Path(scratch) / "excerpt.mp4").read_bytes(), width)
    show_text(f"Excerpt: the first {EXCERPT_SECONDS} s at reduced size. Full video: `{file}`")


def show_audio(file: Path) -> None:
    """Display a player for the first 30 s of a file's audio."""
    max_samples, blocks, samples = EXCERPT_SECONDS * SAMPLE_RATE, [], 0
    for block in read_audio(file, SAMPLE_RATE):
        blocks.append(block)
        samples += len(block)
        if samples >= max_samples:
            break
    display(Audio(np.concatenate(blocks)[:max_samples], rate=SAMPLE_RATE))


def _show_html(content: str) -> None:
    display({"text/html": content}, raw=True)


def _show_player(content: bytes, width: int) -> None:
    source = "data:video/mp4;base64," + base64.b64encode(content).decode("ascii")
    _show_html(f'<video controls style="width:{width}px;max-width:100%" src="{source}"></video>')


def _write_excerpt(file: Path, excerpt: Path) -> Path:
    media = probe(file)
    fps = min(media.require_video().fps, MAX_EXCERPT_FPS)
    audio = file if media.audio else None
    with VideoWriter(excerpt, fps, audio, Encoding(crf=28), trim_audio=True) as writer:
        for frame in islice(read_frames(file, fps), round(EXCERPT_SECONDS * fps)):
            height = min(EXCERPT_HEIGHT, frame.shape[0])
            size = (round(frame.shape[1] * height / frame.shape[0]), height)
            writer.write(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    return excerpt
