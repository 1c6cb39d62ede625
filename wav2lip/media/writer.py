"""Frames and sound to a video file, through one pipe to FFmpeg; the file appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from fractions import Fraction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO

import ffmpeg
import imageio_ffmpeg
import numpy as np

from wav2lip.errors import InputError
from wav2lip.media.video import is_hd

CONTAINERS = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".ts", ".flv", ".3gp")  # take H.264 with AAC, in one file


def ffmpeg_binary() -> str:
    """The FFmpeg on the PATH, or the one that comes with imageio-ffmpeg."""
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


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
    exception nothing is left. Odd sizes grow by a repeated row or column, which H.264's 4:2:0 needs.
    """

    def __init__(self, path: str | PathLike[str], fps: Fraction | float, audio: str | PathLike[str] | None = None,
                 crf: int = 18):  # fmt: skip
        """path: result; its suffix chooses the container, one of CONTAINERS. fps: frames a second.
        audio: any file with sound.
        crf: x264's constant quality, 0 (lossless) to 51; 18 is hard to tell from the source.
        Raises: InputError if the path's suffix is none of a video.
        """
        self.path = Path(path)
        if self.path.suffix.lower() not in CONTAINERS:
            raise InputError(f"{self.path}: its name says no kind of video; let it end in {', '.join(CONTAINERS)}")
        self.fps = Fraction(fps).limit_denominator(1_000_000)
        self.audio = audio
        self.crf = crf
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] | None = None
        self._partial = self.path.with_name(f".{self.path.stem}.{os.getpid()}.partial{self.path.suffix}")

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
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, (H, W, 3) uint8 RGB, of the same size as the first."""
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._process is None:
            self._process = self._start(frame.shape[1], frame.shape[0])
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError as error:  # FFmpeg left: its own words say why
            raise self._failure() from error

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        size = f"{width}x{height}"
        streams = [ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=size, framerate=str(self.fps)).video]
        matrix = "bt709" if is_hd(width, height) else "smpte170m"  # also what a player that reads no tags takes it for
        streams[0] = (
            streams[0]
            .filter("scale", out_color_matrix=matrix, out_range="tv")
            .filter("setparams", colorspace=matrix, range="tv", color_primaries="bt709", color_trc="bt709")
        )
        options = {"vcodec": "libx264", "crf": self.crf, "pix_fmt": "yuv420p", "loglevel": "error"}
        if self.path.suffix.lower() in {".mp4", ".mov", ".m4v"}:
            options["movflags"] = "+faststart"
        if self.audio is not None:
            # Absolute, so that no file name can be read as an option or a protocol.
            streams.append(ffmpeg.input(str(Path(self.audio).resolve()))["a:0"])
            if self.path.suffix.lower() == ".avi":
                # It holds no times: AAC's priming would put the sound 64 ms late, B-frames the pictures 40 ms.
                options |= {"acodec": "pcm_s16le", "bf": 0}
            else:
                options |= {"acodec": "aac", "audio_bitrate": "192k"}
        binary = ffmpeg_binary()
        output = ffmpeg.output(*streams, str(self._partial.resolve()), **options).overwrite_output()
        try:
            return subprocess.Popen(
                output.compile(cmd=binary), stdin=subprocess.PIPE, stdout=self._messages, stderr=self._messages
            )
        except OSError as error:
            raise InputError(f"{binary}: does not run ({error.strerror}); install FFmpeg anew") from error

    def _failure(self) -> InputError:
        assert self._process is not None
        assert self._messages is not None
        self._process.wait()
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").strip().splitlines()
        # The first line is the cause and the last the outcome, each behind FFmpeg's own [part @ address].
        said = dict.fromkeys(re.sub(r"^(\[[^]]*\] *)+", "", line).strip(" .") for line in lines[:1] + lines[-1:])
        why = "; ".join(said) or f"FFmpeg ended with code {self._process.returncode}"
        return InputError(f"{self.path}: could not be written ({why}); check the disk and the audio file")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self._abandon()
                return
            if self._process is None:
                raise InputError(f"{self.path}: there was no frame to write; check the face file")
            assert self._process.stdin is not None
            try:
                self._process.stdin.close()
            except OSError as broken:
                raise self._failure() from broken
            if self._process.wait() != 0:
                raise self._failure()
            try:
                os.replace(self._partial, self.path)
            except OSError as taken:
                raise InputError(f"{self.path}: cannot be written ({taken.strerror}); choose another name") from taken
        finally:
            if self._messages is not None:
                self._messages.close()
            self._partial.unlink(missing_ok=True)

    def _abandon(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # what is left in the pipe's buffer has no reader
            self._process.stdin.close()
