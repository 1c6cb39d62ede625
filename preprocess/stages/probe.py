"""Stage 1: read the header of each video and reject those without usable streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from preprocess.config import FORMAT, VideoSettings
from preprocess.ingest import Source
from preprocess.video_chunks import Rejected, strip_path
from wav2lip.errors import InputError
from wav2lip.execution.interface import Progress, WorkerContext
from wav2lip.execution.manifest import REJECTED, Record, hash_values
from wav2lip.media import Media, first_frame_time, has_timestamp_jumps, probe

STAGE = "probe"


@dataclass(frozen=True)
class ProbeStage:
    """Inspect a video without decoding more than one frame."""

    settings: VideoSettings

    def fingerprint(self, source: Source) -> str:
        """Hash of the file's name in the data set, its content, the chunk length, and the audio track if one is set."""
        track = self.settings.audio_track
        selected = [] if track is None else [track]
        return hash_values(STAGE, FORMAT, source.name, source.digest, self.settings.chunk_minutes, *selected)

    def __call__(self, source: Source, context: WorkerContext, progress: Progress) -> Record:
        """Return seconds (from the header), start (time of the first frame), fps, nominal_fps, width, height, video
        and audio codecs, and seekable (whether chunks can be read separately).
        """
        fingerprint = self.fingerprint(source)
        try:
            media = probe(self.settings.select_audio(source.path))
        except InputError as error:
            return Record(STAGE, source.clip, fingerprint, REJECTED, "unreadable", strip_path(str(error), source))
        data: dict[str, Any] = {"seconds": round(media.seconds, 3)}
        try:
            return Record(STAGE, source.clip, fingerprint, data=data | self._inspect(source, media))
        except InputError as error:
            cause = error.cause if isinstance(error, Rejected) else "unreadable"
            return Record(STAGE, source.clip, fingerprint, REJECTED, cause, strip_path(str(error), source), data)

    def _inspect(self, source: Source, media: Media) -> dict[str, Any]:
        if media.video is None:
            raise Rejected("no video track", "has no video track, only audio; remove it from the input folder")
        if media.audio is None:
            raise Rejected("no audio track", "has no audio track, without which lip sync cannot be learned")
        track, tracks = media.audio.track, media.audio.tracks
        is_long = media.seconds > self.settings.chunk_minutes * 60
        return {
            "start": first_frame_time(source.path),
            "fps": round(float(media.video.mean_fps), 3),
            "nominal_fps": round(float(media.video.fps), 3),
            "width": media.video.width,  # shown size, before rotation
            "height": media.video.height,
            "video": media.video.codec,
            "audio": media.audio.codec,
            "seekable": is_long and not has_timestamp_jumps(source.path),
        } | ({"problems": [f"audio track {track} of {tracks} is used"]} if tracks > 1 else {})
