"""Stage 1: what is in each video, and whether anything can come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from preprocess.ingest import Source
from preprocess.manifest import REJECTED, Record, digest
from preprocess.parts import Rejected, without_path
from preprocess.settings import FORMAT, Settings
from preprocess.workers import Progress, Tools
from wav2lip.errors import InputError
from wav2lip.media import Media, first_frame_time, probe, times_leap

STAGE = "probe"


@dataclass(frozen=True)
class Probe:
    """Looks into a video without decoding more than a frame."""

    settings: Settings

    def fingerprint(self, source: Source) -> str:
        """Changes when the file does."""
        return digest(STAGE, FORMAT, source.name, source.fingerprint, self.settings.part_minutes)

    def __call__(self, source: Source, tools: Tools, progress: Progress) -> Record:
        """figures: seconds (as the file states), start (time of the first frame), fps, nominal_fps, width, height,
        video and audio codecs, seekable (whether parts of it can be read by themselves).
        """
        mark = self.fingerprint(source)
        try:
            media = probe(source.path)
        except InputError as error:
            return Record(STAGE, source.clip, mark, REJECTED, "unreadable", without_path(str(error), source))
        figures: dict[str, Any] = {"seconds": round(media.seconds, 3)}
        try:
            return Record(STAGE, source.clip, mark, figures=figures | self._look(source, media))
        except InputError as error:
            cause = error.cause if isinstance(error, Rejected) else "unreadable"
            return Record(STAGE, source.clip, mark, REJECTED, cause, without_path(str(error), source), figures)

    def _look(self, source: Source, media: Media) -> dict[str, Any]:
        if media.video is None:
            raise Rejected("no video track", "has no video track, only sound; leave it out")
        if media.audio is None:
            raise Rejected("no audio track", "has no audio track; lips cannot be learnt without the sound")
        long = media.seconds > self.settings.part_minutes * 60
        return {
            "start": first_frame_time(source.path),
            "fps": round(float(media.video.mean_fps), 3),
            "nominal_fps": round(float(media.video.fps), 3),
            "width": media.video.width,  # as coded, before rotation
            "height": media.video.height,
            "video": media.video.codec,
            "audio": media.audio.codec,
            "seekable": long and not times_leap(source.path),
        }
