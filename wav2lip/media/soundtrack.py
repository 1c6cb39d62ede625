"""The sound that goes into a result: the file's own, copied where the container takes it as it is."""

from __future__ import annotations

from pathlib import Path

from wav2lip.media.container import probe
from wav2lip.media.video import times_leap

# Codecs, by FFmpeg's names, that a container takes and whose times it keeps: measured, copied sound is in its place to
# within a millisecond. AVI holds no times: AAC's priming would put the sound 64 ms late.
_MP4 = {"aac", "mp3", "ac3", "eac3", "alac"}
COPIED = {
    ".mp4": _MP4,
    ".mov": {"aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le"},
    ".m4v": {"aac", "alac"},
    ".mkv": _MP4 | {"opus", "vorbis", "flac", "pcm_s16le", "pcm_s24le", "pcm_f32le"},
    ".ts": {"aac", "mp3", "ac3"},
    ".flv": {"aac"},
    ".3gp": {"aac"},
    ".avi": set[str](),
}
IN_PLACE = "aresample=async=1:first_pts=0"  # silence where the track begins late or has a gap


def sound_options(audio: str | Path, suffix: str) -> dict[str, object]:
    """FFmpeg's options for the first sound of a file, its channels and rate kept, in a container of that suffix.

    Raises: InputError if the file has no sound.
    """
    stream = probe(audio).require_audio()
    if stream.codec in COPIED[suffix] and not times_leap(audio):
        return {"c:a": "copy"}
    if suffix == ".avi":
        return {"c:a": "pcm_s16le", "af": IN_PLACE}
    bits = min(512, 64 + 64 * stream.channels)  # thousands a second: 128 for mono, 192 for stereo, 448 for 5.1
    return {"c:a": "aac", "b:a": f"{bits}k", "af": IN_PLACE}
