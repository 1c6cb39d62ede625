"""Detectors that need no face, and videos whose every frame says when it was."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from face_detection import Face
from preprocess.cut import Job
from preprocess.ingest import find_videos
from preprocess.settings import Settings

DARK, DEADLY, FAULTY = 10, 250, 130  # grey levels of frames: no face seen; the worker dies; the detector raises
RATE = 16_000  # Hz


@dataclass(frozen=True)
class StubDetector:
    """Finds a face at one place in every frame that is not dark; builds itself."""

    box: tuple[float, float, float, float] = (8.0, 8.0, 56.0, 56.0)
    name: str = "stub"
    seconds: float = 0.0  # to wait before every batch
    fatal: bool = False  # whether DEADLY and FAULTY frames are

    def build(self, worker: int) -> StubDetector:
        return self

    def detect(self, frames):
        time.sleep(self.seconds)
        levels = [float(frame.mean()) for frame in frames]
        if self.fatal and any(abs(level - DEADLY) < 2 for level in levels):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fatal and any(abs(level - FAULTY) < 2 for level in levels):
            raise ZeroDivisionError("a fault of ours")
        return [[Face(self.box, 0.9)] if level > DARK + 5 else [] for level in levels]


def job(out, **settings):
    return Job(out, Settings("stub", **settings), batch_size=8)


def only_source(path):
    (source,) = find_videos(path)
    return source


def write_video(path, times=None, levels=None, wav=None, sound_from=0.0, pictures=None):
    """Write a video of 64x64 frames with exact times.

    times: seconds of each frame; by default a second at 25 a second. levels: grey level of each frame, default 100.
    wav: samples at 16 kHz, kept as they are; None writes no audio track. sound_from: time of the first sample.
    pictures: (H, W, 3) uint8 frames in place of grey ones.
    """
    times = [n / 25 for n in range(25)] if times is None else times
    levels = [100] * len(times) if levels is None else levels
    pictures = [np.full((64, 64, 3), level, np.uint8) for level in levels] if pictures is None else pictures
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path.resolve()), "w") as file:
        video = audio = None
        if times:
            rate = round(1 / (times[-1] - times[-2])) if len(times) > 1 else 25
            video = file.add_stream("libx264", rate=rate, options={"crf": "5", "preset": "ultrafast"})
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        if wav is not None:
            audio = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(np.rint(wav * 32767).astype(np.int16)[None], "s16", "mono")
            frame.rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(sound_from * RATE)
            file.mux(audio.encode(frame))
            file.mux(audio.encode(None))
        if video is not None:
            for moment, picture in zip(times, pictures, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = round(moment * 1000), Fraction(1, 1000)
                file.mux(video.encode(frame))
            file.mux(video.encode(None))
    return path


def noise(seconds=1.0):
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * RATE))


def click(at, seconds=1.0):
    """Silence with one loud sample at a time."""
    wav = np.zeros(round(seconds * RATE))
    wav[round(at * RATE)] = 0.9
    return wav
