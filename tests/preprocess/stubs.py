"""Detectors that need no face, and videos whose every frame says when it was."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

import av
import numpy as np

from face_detection import Face
from preprocess.clip_stages import ClipSettings, Shares
from preprocess.ingest import find_videos
from preprocess.pipeline import STAGES, VIDEO_STAGES, Job, run
from preprocess.quality import Limits
from preprocess.settings import FaceSettings, SegmentSettings, Settings, ShotSettings

DARK, DEADLY, FAULTY = 10, 230, 130  # grey levels of frames: no face seen; the worker dies; the detector raises
TINT = 16  # by which a face is redder and less blue than what is around it; as bright all the same
FACE = (8, 8, 56, 56)  # where frames of 64 x 64 have one
RATE = 16_000  # Hz


@dataclass(frozen=True)
class StubDetector:
    """Finds the tinted square in a picture of any size; builds itself."""

    grown: float = 0.0  # by which the box reaches beyond the square on all sides, in widths of the square
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
        return [self._face(frame) for frame in frames]

    def _face(self, frame):
        rows, columns = np.nonzero(frame[..., 0].astype(int) - frame[..., 2] > TINT)
        if not len(rows):
            return []
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        more = self.grown * (right - left)
        return [Face((float(left - more), float(top - more), float(right + more), float(bottom + more)), 0.9)]


def settings(*, shortest=3.0, longest=None, keep="largest", part_minutes=10.0, cuts=False, **faces):
    """Whole videos as one clip each unless told otherwise."""
    return Settings(
        FaceSettings("stub", **{"smooth_window": 5, **faces}),
        ShotSettings(3.0 if cuts else None),
        SegmentSettings(keep, shortest, longest),
        part_minutes,
    )


def job(out, detector=None, stages=VIDEO_STAGES, workers=0, **options):
    """Detection in this process, without the stages that judge clips."""
    return Job(out, settings(**options), detector or StubDetector(), batch_size=8, workers=workers, stages=stages)


def whole_job(out, detector=None, workers=0, shares=None, **options):
    """All stages, but the clips are judged by nothing: what the stub finds would not pass for faces."""
    clips = ClipSettings(sync=None, limits=Limits(**dict.fromkeys(asdict(Limits()))), shares=shares or Shares())
    made = job(out, detector, stages=STAGES, workers=workers, **options)
    return replace(made, clips=clips)


def preprocess(videos, out, detector=None, **options):
    """What became of each video, by name."""
    sources = find_videos(videos)
    result = run(sources, job(out, detector, **options))
    return {history.source.name: history for history in result.histories}


def only_source(path):
    (source,) = find_videos(path)
    return source


def write_video(path, times=None, levels=None, wav=None, sound_from=0.0, pictures=None):
    """Write a video of 64x64 frames with a face, with exact times.

    times: seconds of each frame; by default a second at 25 a second. levels: grey level of each frame, default 100.
    wav: samples at 16 kHz, kept as they are; None writes no audio track. sound_from: time of the first sample.
    pictures: (H, W, 3) uint8 frames in place of grey ones.
    """
    times = [n / 25 for n in range(25)] if times is None else times
    levels = [100] * len(times) if levels is None else levels
    pictures = [face_of(level) for level in levels] if pictures is None else pictures
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


def face_of(level, box=FACE, size=(64, 64)):
    """A grey picture with a face in it, unless it is dark."""
    picture = np.full((*size, 3), level, np.uint8)
    if level > DARK:
        left, top, right, bottom = box
        picture[top:bottom, left:right] = np.clip([level + TINT, level, level - TINT], 0, 255)
    return picture


def noise(seconds=1.0, seed=0):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * RATE))


def click(at, seconds=1.0):
    """Silence with one loud sample at a time."""
    wav = np.zeros(round(seconds * RATE))
    wav[round(at * RATE)] = 0.9
    return wav
