"""Stub detectors, and synthetic videos whose gray levels identify each frame."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

import av
import cv2
import numpy as np
from skimage.data import astronaut

from face_detection import Face
from preprocess.config import FaceSettings, SegmentSettings, ShotSettings, VideoSettings
from preprocess.curation.curate import CurationSettings
from preprocess.curation.quality import Limits
from preprocess.curation.splits import SplitSettings
from preprocess.ingest import find_videos
from preprocess.pipeline import STAGES, VIDEO_STAGES, Job, run
from preprocess.shards import begin_shard, finish_shard, select_sources
from wav2lip.execution.build import ExecutorSettings
from wav2lip.execution.shard import Shard

DARK, DEADLY, FAULTY = 10, 230, 130  # gray levels of frames: no face; the worker dies; the detector raises
TINT = 16  # by which a face is redder and less blue than its surroundings, at equal brightness
FACE = (8, 8, 56, 56)  # box in frames of 64 x 64
SAMPLE_RATE = 16_000  # Hz


@dataclass(frozen=True)
class StubDetector:
    """Detector of the tinted square in an image of any size, and its own resource factory."""

    margin: float = 0.0  # of the box around the square on all sides, in widths of the square
    name: str = "stub"
    delay_seconds: float = 0.0  # before every batch
    is_fatal: bool = False  # DEADLY and FAULTY frames kill the worker or raise

    def build(self, worker: int) -> StubDetector:
        return self

    def detect(self, frames):
        time.sleep(self.delay_seconds)
        levels = [float(frame.mean()) for frame in frames]
        if self.is_fatal and any(abs(level - DEADLY) < 2 for level in levels):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.is_fatal and any(abs(level - FAULTY) < 2 for level in levels):
            raise ZeroDivisionError("simulated fault")
        return [self._detect_face(frame) for frame in frames]

    def _detect_face(self, frame):
        rows, columns = np.nonzero(frame[..., 0].astype(int) - frame[..., 2] > TINT)
        if not len(rows):
            return []
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        margin = self.margin * (right - left)
        return [Face((float(left - margin), float(top - margin), float(right + margin), float(bottom + margin)), 0.9)]


def make_settings(
    *, min_clip_seconds=3.0, max_clip_seconds=None, face_policy="largest", chunk_minutes=10.0, cuts=False, **faces
):
    """Return settings with one clip per video by default."""
    return VideoSettings(
        FaceSettings("stub", **{"smooth_window_frames": 5, **faces}),
        ShotSettings(3.0 if cuts else None),
        SegmentSettings(face_policy, min_clip_seconds, max_clip_seconds),
        chunk_minutes,
    )


def make_job(out, detector=None, stages=VIDEO_STAGES, workers=0, **options):
    """Return a job in this process, without the clip stages."""
    return Job(
        out,
        make_settings(**options),
        detector or StubDetector(),
        batch_size=8,
        executor=ExecutorSettings(workers=workers),
        stages=stages,
    )


def make_full_job(out, detector=None, workers=0, splits=None, **options):
    """Return a job with all stages and no limits, which the tinted squares would not keep."""
    curation = CurationSettings(
        sync=None, limits=Limits(**dict.fromkeys(asdict(Limits()))), splits=splits or SplitSettings()
    )
    base = make_job(out, detector, stages=STAGES, workers=workers, **options)
    return replace(base, curation=curation)


def preprocess(videos, out, detector=None, **options):
    """Return the records of each video, by name."""
    sources = find_videos(videos)
    result = run(sources, make_job(out, detector, **options))
    return {video.source.name: video for video in result.inputs}


def make_chunked_job(out, detector=None, workers=0):
    """Return a full job that divides videos of a few seconds into chunks and clips."""
    return make_full_job(out, detector, workers, min_clip_seconds=0.8, max_clip_seconds=1.2, chunk_minutes=2 / 60)


def run_shard(videos, job, shard):
    """Run a shard I/N of a job as `python -m preprocess` does."""
    part = Shard.parse(shard)
    job = begin_shard(job)
    result = run(select_sources(find_videos(videos), part), job)
    finish_shard(job, part, {"device": "cpu", "min_clip_seconds": 0.8}, result.inputs)


def write_video(path, times=None, levels=None, wav=None, audio_start=0.0, images=None):
    """Write a video of 64 x 64 frames with a face, with exact timestamps.

    times: seconds of each frame; default: one second at 25 fps. levels: gray level of each frame; default: 100.
    wav: samples at 16 kHz, stored as PCM; None writes no audio track. audio_start: seconds of the first sample.
    images: (H, W, 3) uint8 frames in place of gray ones.
    """
    times = [n / 25 for n in range(25)] if times is None else times
    levels = [100] * len(times) if levels is None else levels
    images = [face_image(level) for level in levels] if images is None else images
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path.resolve()), "w") as file:
        video = audio = None
        if times:
            rate = round(1 / (times[-1] - times[-2])) if len(times) > 1 else 25
            video = file.add_stream("libx264", rate=rate, options={"crf": "5", "preset": "ultrafast"})
            video.height, video.width = images[0].shape[:2]
            video.pix_fmt = "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        if wav is not None:
            audio = file.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(np.rint(wav * 32767).astype(np.int16)[None], "s16", "mono")
            frame.rate, frame.time_base, frame.pts = (
                SAMPLE_RATE,
                Fraction(1, SAMPLE_RATE),
                round(audio_start * SAMPLE_RATE),
            )
            file.mux(audio.encode(frame))
            file.mux(audio.encode(None))
        if video is not None:
            for moment, image in zip(times, images, strict=True):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = round(moment * 1000), Fraction(1, 1000)
                file.mux(video.encode(frame))
            file.mux(video.encode(None))
    return path


def astronaut_video(path, seconds=4):
    """Write a slightly moving photo with noise as audio: a detectable face without lip sync."""
    photo = astronaut()[:330, 50:390]
    faces = [cv2.resize(photo[n % 7 : 300 + n % 7, n % 5 : 300 + n % 5], (200, 200)) for n in range(seconds * 25)]
    return write_video(path, [n / 25 for n in range(seconds * 25)], wav=noise(seconds), images=faces)


def face_image(level, box=FACE, size=(64, 64)):
    """Return a gray image with a face, unless it is dark."""
    image = np.full((*size, 3), level, np.uint8)
    if level > DARK:
        left, top, right, bottom = box
        image[top:bottom, left:right] = np.clip([level + TINT, level, level - TINT], 0, 255)
    return image


def noise(seconds=1.0, seed=0):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * SAMPLE_RATE))


def click(second, seconds=1.0):
    """Return silence with one loud sample."""
    wav = np.zeros(round(seconds * SAMPLE_RATE))
    wav[round(second * SAMPLE_RATE)] = 0.9
    return wav
