"""Media types for the browser's file dialogs, and names of downloaded files; uploads are validated by content."""

from __future__ import annotations

from pathlib import Path

from wav2lip.media.suffixes import AUDIO_SUFFIXES, IMAGE_SUFFIXES, SILENT_VIDEO_SUFFIXES, VIDEO_SUFFIXES
from wav2lip.serve.jobs.job import Job

# Media types of browsers, and suffixes that some systems do not recognize as media.
VIDEO_TYPES = ["video", *sorted(VIDEO_SUFFIXES)]
FACE_TYPES = [*VIDEO_TYPES, *sorted(SILENT_VIDEO_SUFFIXES), "image", *IMAGE_SUFFIXES]
AUDIO_TYPES = [*VIDEO_TYPES, "audio", *AUDIO_SUFFIXES]
MAX_STEM_CHARACTERS = 40


def sanitize_stem(name: str) -> str:
    """Return a file name without suffix and without characters that some file system rejects."""
    stem = "".join(char if char.isalnum() or char in "-_" else "_" for char in Path(name).stem)
    return stem[:MAX_STEM_CHARACTERS].strip("_") or "file"


def result_name(job: Job) -> str:
    """Return the file name of a downloaded result."""
    sentence = "idle" if job.audio is None else f"says_{sanitize_stem(job.audio.name)}"
    return f"{sanitize_stem(job.face.name)}_{sentence}.mp4"
