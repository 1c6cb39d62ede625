"""Frames and sound to a video file, through one pipe to FFmpeg; the file appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO

import ffmpeg
import numpy as np

from wav2lip.errors import InputError
from wav2lip.media.encoding import APPLE, DEFAULT_ENCODING, Encoding, causes, ffmpeg_binary, is_rgb, needs_even_sizes
from wav2lip.media.soundtrack import sound_options
from wav2lip.media.video import is_hd

CONTAINERS = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".ts", ".flv", ".3gp")  # take H.264 with AAC, in one file


def _is_unicode(path: Path) -> bool:
    """Whether a path can be put into FFmpeg's command line; file names may hold any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


class VideoWriter:
    """Write frames of one size at a constant rate, with the sound of another file.

    Use as a context manager: the result is written beside `path` and takes its name at a clean end; after an
    exception nothing is left. Odd sizes grow by a repeated row or column where the pixel format needs it, as 4:2:0.
    """

    def __init__(
        self, path: str | PathLike[str], fps: Fraction | float, audio: str | PathLike[str] | None = None,
        encoding: Encoding = DEFAULT_ENCODING, *, cut_sound: bool = False, comment: str | None = None,
    ):  # fmt: skip
        """path: result; its suffix chooses the container, one of CONTAINERS. fps: frames a second.
        audio: any file with sound, which is not changed where the container takes it.
        encoding: codec and quality of the pictures.
        cut_sound: sound that is longer than the pictures ends with them; the file is then written twice.
        comment: goes into the container's metadata.
        Raises: InputError if the path's suffix is none of a video, there is no sound, or the FFmpeg at hand cannot
        encode so.
        """
        self.path = Path(path)
        if self.path.suffix.lower() not in CONTAINERS:
            raise InputError(f"{self.path}: its name says no kind of video; let it end in {', '.join(CONTAINERS)}")
        self.fps = Fraction(fps).limit_denominator(1_000_000)
        self.audio = audio
        self.encoding = encoding
        self.comment = comment
        self._suffix = self.path.suffix.lower()
        self._pictures = encoding.options(self._suffix)  # options of FFmpeg
        self._sound = {} if audio is None else sound_options(Path(audio), self._suffix)
        self._cut = cut_sound and audio is not None
        self._frames = 0  # written
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] | None = None
        self._partial = self.path.with_name(f".{self.path.stem}.{os.getpid()}.partial{self.path.suffix}")
        self._silent = self.path.with_name(f".{self.path.stem}.{os.getpid()}.silent.partial{self.path.suffix}")

    def __enter__(self) -> VideoWriter:
        for name in (self.path, self.audio or ""):
            if not _is_unicode(Path(name).resolve()):
                raise InputError(f"{name}: the name or its folder's is no valid Unicode; rename it")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise InputError(f"{self.path}: is a folder; give the result a name in it")
            self._messages = tempfile.TemporaryFile()
            self._partial.touch()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); choose another place") from error
        try:
            self.encoding.try_out(self._partial, self._suffix)
        except BaseException:
            self._messages.close()
            self._partial.unlink()
            raise
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, (H, W, 3) uint8 RGB, of the same size as the first."""
        height, width = frame.shape[:2]
        if (height % 2 or width % 2) and needs_even_sizes(str(self._pictures["pix_fmt"])):
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._process is None:
            self._process = self._start(frame.shape[1], frame.shape[0])
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError as error:  # FFmpeg left: its own words say why
            raise self._failure() from error
        self._frames += 1

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        size = f"{width}x{height}"
        streams = [ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=size, framerate=str(self.fps)).video]
        matrix = "bt709" if is_hd(width, height) else "smpte170m"  # also what a player that reads no tags takes it for
        pixels = str(self._pictures["pix_fmt"])
        levels = "pc" if pixels.startswith("yuvj") else "tv"
        if not is_rgb(pixels):
            streams[0] = (
                streams[0]
                .filter("scale", out_color_matrix=matrix, out_range=levels)
                .filter("setparams", colorspace=matrix, range=levels, color_primaries="bt709", color_trc="bt709")
            )
        options = self._pictures
        if self._suffix == ".avi":
            options = options | {"bf": 0}  # it holds no times: B-frames would put the pictures 40 ms late
        if self._cut:  # how long it will be is not known yet
            return self._run(streams, self._silent, options)
        return self._run([*streams, *self._heard()], self._partial, options | self._sound)

    def _heard(self) -> list[ffmpeg.nodes.FilterableStream]:
        # Absolute, so that no file name can be read as an option or a protocol.
        return [] if self.audio is None else [ffmpeg.input(str(Path(self.audio).resolve()))["a:0"]]

    def _run(
        self, streams: list[ffmpeg.nodes.FilterableStream], path: Path, options: dict[str, object]
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start an FFmpeg that writes streams to a file."""
        options = options | {"loglevel": "error"} | self._tags()
        options["map_chapters"] = -1  # those of an audio book are none of the result's
        if self._suffix in APPLE:
            options["movflags"] = "+faststart"
        binary = ffmpeg_binary()
        output = ffmpeg.output(*streams, str(path.resolve()), **options).overwrite_output()
        try:
            return subprocess.Popen(
                output.compile(cmd=binary), stdin=subprocess.PIPE, stdout=self._messages, stderr=self._messages
            )
        except OSError as error:
            raise InputError(f"{binary}: does not run ({error.strerror}); install FFmpeg anew") from error

    def _tags(self) -> dict[str, object]:
        """FFmpeg's options for the comment, by the name that the container knows; MPEG-TS has its programme's."""
        if self.comment is None:
            return {}
        name = "service_name" if self._suffix == ".ts" else "comment"
        return {"metadata": f"{name}={self.comment}"}

    def _failure(self) -> InputError:
        assert self._process is not None
        assert self._messages is not None
        self._process.wait()
        self._messages.seek(0)
        why = causes(self._messages.read()) or f"FFmpeg ended with code {self._process.returncode}"
        return InputError(f"{self.path}: could not be written ({why}); check the disk and the audio file")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self._abandon()
                return
            try:
                self._complete()
            except BaseException:  # an interrupt, while FFmpeg is waited for, would leave it running
                self._abandon()
                raise
            try:
                os.replace(self._partial, self.path)
            except OSError as taken:
                raise InputError(f"{self.path}: cannot be written ({taken.strerror}); choose another name") from taken
        finally:
            if self._messages is not None:
                self._messages.close()
            self._partial.unlink(missing_ok=True)
            self._silent.unlink(missing_ok=True)

    def _complete(self) -> None:
        if self._process is None:
            raise InputError(f"{self.path}: there was no frame to write; check the face file")
        self._finish(self._process)
        if self._cut:
            self._process = self._add_sound()
            self._finish(self._process)

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.close()
        except OSError as broken:
            raise self._failure() from broken
        if process.wait() != 0:
            raise self._failure()

    def _add_sound(self) -> subprocess.Popen[bytes]:
        """Put the sound to the pictures that are written, as far as they go."""
        pictures = ffmpeg.input(str(self._silent.resolve()))["v:0"]
        options = {key: value for key, value in self._pictures.items() if key == "tag:v"}
        ends = {"c:v": "copy", "t": f"{float(self._frames / self.fps):.6f}"}
        return self._run([pictures, *self._heard()], self._partial, options | self._sound | ends)

    def _abandon(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # what is left in the pipe's buffer has no reader
            self._process.stdin.close()
