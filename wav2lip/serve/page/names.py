"""Names of files that any system takes, from what visitors call theirs."""

from __future__ import annotations

from pathlib import Path

from wav2lip.serve.job import Job

LONGEST = 40  # characters


def plain(name: str) -> str:
    """A file's name without its ending and without what some system might trip over."""
    kept = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(name).stem)
    return kept[:LONGEST].strip("_") or "file"


def result_name(job: Job) -> str:
    """What a result is called when it is saved."""
    return f"{plain(job.face.name)}_says_{plain(job.audio.name)}.mp4"
