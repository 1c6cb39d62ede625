"""Join videos without re-encoding."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import ffmpeg

from wav2lip.errors import InputError
from wav2lip.files import publish
from wav2lip.media.encoding import audio_input, ffmpeg_binary, output_options, parse_ffmpeg_errors
from wav2lip.types import PathType


def join_videos(
    parts: Sequence[Path], path: PathType, audio: PathType | None = None, *, seconds: Fraction | None = None,
    tag: object | None = None, comment: str | None = None,
) -> None:  # fmt: skip
    """Write the frames of several videos of one size, rate and encoding to one file, atomically.

    audio: file with audio, copied if the container supports it. seconds: length at which the audio is cut.
    tag: four characters that name the codec in the container; None: its default. comment: for the metadata.
    Raises: InputError if FFmpeg cannot read a part or write the result.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    options: dict[str, object] = {"c:v": "copy", **output_options(suffix, comment)}
    if tag is not None:
        options["tag:v"] = tag
    if seconds is not None:
        options["t"] = f"{float(seconds):.6f}"
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        playlist = Path(folder) / "parts.txt"
        playlist.write_text("".join(f"file {_quote(part)}\n" for part in parts), encoding="utf-8")
        streams = [ffmpeg.input(str(playlist), format="concat", safe=0)["v:0"]]
        if audio is not None:
            stream, audio_options = audio_input(audio, suffix, Path(folder) / "audio.wav")
            streams.append(stream)
            options |= audio_options
        command = ffmpeg.output(*streams, str(partial.resolve()), **options).overwrite_output()
        try:
            process = subprocess.run(
                command.compile(cmd=ffmpeg_binary()), stdin=subprocess.DEVNULL, capture_output=True
            )  # fmt: skip
            if process.returncode:
                reason = parse_ffmpeg_errors(process.stderr) or f"FFmpeg exit code {process.returncode}"
                raise InputError(f"{path}: its segments cannot be joined ({reason}); render it without segments")
            publish(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _quote(path: Path) -> str:
    """Quote a path for FFmpeg's concat format."""
    return "'" + path.resolve().as_posix().replace("'", "'\\''") + "'"
