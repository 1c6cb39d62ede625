"""Atomic writing of video files with audio, through a pipe to FFmpeg."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import ffmpeg
import numpy as np

from wav2lip.errors import InputError
from wav2lip.files import publish
from wav2lip.media.container import OnPacket, ignore_packet, probe_audio
from wav2lip.media.display import is_hd
from wav2lip.media.encoding import (
    DEFAULT_ENCODING,
    Encoding,
    audio_input,
    ffmpeg_binary,
    is_rgb,
    needs_even_size,
    open_input,
    output_options,
    pad_to_even,
    parse_ffmpeg_errors,
)
from wav2lip.types import PathType

CONTAINERS = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".ts", ".flv", ".3gp")  # support H.264 with AAC


def _is_unicode(path: Path) -> bool:
    """Return True if a path can be encoded for FFmpeg's command line; file names may contain any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


class VideoWriter:
    """Write frames of one size at a constant rate, with the audio of another file.

    Use as a context manager: the result is written to a temporary file beside `path` and renamed at the end; after an
    exception no file is left. Odd sizes are padded by one row or column if the pixel format requires it, such as 4:2:0.
    """

    def __init__(
        self, path: PathType, fps: Fraction | float, audio: PathType | None = None,
        encoding: Encoding = DEFAULT_ENCODING, *, trim_audio: bool = False, comment: str | None = None,
        on_packet: OnPacket = ignore_packet,
    ):  # fmt: skip
        """path: result; its suffix, one of CONTAINERS, selects the container.
        audio: any file with audio, which is copied without re-encoding if the container supports it.
        encoding: codec and quality of the video.
        trim_audio: cut audio that is longer than the video; the file is then written twice.
        comment: for the container's metadata.
        on_packet: called before each packet of the audio is decoded to check it; raises to stop.
        Raises: InputError if the suffix is not a video's, there is no audio, or FFmpeg does not support the encoding.
        """
        self.path = Path(path)
        if self.path.suffix.lower() not in CONTAINERS:
            raise InputError(f"{self.path}: must be a video file name; use one that ends in {', '.join(CONTAINERS)}")
        self.fps = Fraction(fps).limit_denominator(1_000_000)
        self.audio = audio
        self.encoding = encoding
        self.comment = comment
        self._on_packet = on_packet
        self._suffix = self.path.suffix.lower()
        self._video_options = encoding.options(self._suffix)
        if audio is not None:
            probe_audio(audio)
        self._trim_audio = trim_audio and audio is not None
        self._num_frames = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._partial = self.path.with_name(f".{self.path.stem}.{os.getpid()}.partial{self.path.suffix}")
        self._plain_audio = self.path.with_name(f".{self.path.stem}.{os.getpid()}.partial.wav")
        self._video_only = self.path.with_name(f".{self.path.stem}.{os.getpid()}.silent.partial{self.path.suffix}")

    def __enter__(self) -> VideoWriter:
        for name in (self.path, self.audio or ""):
            if not _is_unicode(Path(name).resolve()):
                raise InputError(f"{name}: the path is not valid Unicode; rename it")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_dir():
                raise InputError(f"{self.path}: is a folder; add a file name")
            self._stderr = tempfile.TemporaryFile()
            self._partial.touch()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); choose another folder") from error
        try:
            self.encoding.validate(self._partial, self._suffix)
        except BaseException:
            self._stderr.close()
            self._partial.unlink()
            raise
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, (H, W, 3) uint8 RGB, of the same size as the first."""
        if needs_even_size(str(self._video_options["pix_fmt"])):
            frame = pad_to_even(frame)
        if self._process is None:
            self._process = self._start(frame.shape[1], frame.shape[0])
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError as error:  # FFmpeg has exited, and its error output has the reason
            raise self._failure() from error
        self._num_frames += 1

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        size = f"{width}x{height}"
        streams = [ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=size, framerate=str(self.fps)).video]
        matrix = "bt709" if is_hd(width, height) else "smpte170m"  # also assumed by players that ignore tags
        pix_fmt = str(self._video_options["pix_fmt"])
        levels = "pc" if pix_fmt.startswith("yuvj") else "tv"
        if not is_rgb(pix_fmt):
            streams[0] = (
                streams[0]
                .filter("scale", out_color_matrix=matrix, out_range=levels)
                .filter("setparams", colorspace=matrix, range=levels, color_primaries="bt709", color_trc="bt709")
            )
        options = self._video_options
        if self._suffix == ".avi":
            options = options | {"bf": 0}  # AVI has no timestamps: B-frames would delay the video by 40 ms
        if self._trim_audio:  # the length is not known yet
            return self._run(streams, self._video_only, options)
        audio, audio_options = self._audio_input()
        return self._run([*streams, *audio], self._partial, options | audio_options)

    def _audio_input(self) -> tuple[list[ffmpeg.nodes.FilterableStream], dict[str, object]]:
        """Return the audio as FFmpeg's input, if any, and the options of its encoder."""
        if self.audio is None:
            return [], {}
        stream, options = audio_input(self.audio, self._suffix, self._plain_audio, self._on_packet)
        return [stream], options

    def _run(
        self, streams: list[ffmpeg.nodes.FilterableStream], path: Path, options: dict[str, object]
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start FFmpeg to write streams to a file."""
        options = options | output_options(self._suffix, self.comment)
        binary = ffmpeg_binary()
        output = ffmpeg.output(*streams, str(path.resolve()), **options).overwrite_output()
        try:
            return subprocess.Popen(
                output.compile(cmd=binary), stdin=subprocess.PIPE, stdout=self._stderr, stderr=self._stderr
            )
        except OSError as error:
            raise InputError(f"{binary}: cannot be executed ({error.strerror}); reinstall FFmpeg") from error

    def _failure(self) -> InputError:
        assert self._process is not None
        assert self._stderr is not None
        self._process.wait()
        self._stderr.seek(0)
        reason = parse_ffmpeg_errors(self._stderr.read()) or f"FFmpeg exit code {self._process.returncode}"
        return InputError(f"{self.path}: could not be written ({reason}); check the disk and the audio file")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self._kill()
                return
            try:
                self._complete()
            except BaseException:  # an interrupt during the wait would leave FFmpeg running
                self._kill()
                raise
            try:
                publish(self._partial, self.path)
            except OSError as rename_error:
                raise InputError(
                    f"{self.path}: cannot be written ({rename_error.strerror}); choose another name"
                ) from rename_error
        finally:
            if self._stderr is not None:
                self._stderr.close()
            self._partial.unlink(missing_ok=True)
            self._plain_audio.unlink(missing_ok=True)
            self._video_only.unlink(missing_ok=True)

    def _complete(self) -> None:
        if self._process is None:
            raise InputError(f"{self.path}: no frame to write; check the face file")
        self._finish(self._process)
        if self._trim_audio:
            self._process = self._mux_audio()
            self._finish(self._process)

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.close()
        except OSError as error:
            raise self._failure() from error
        if process.wait() != 0:
            raise self._failure()

    def _mux_audio(self) -> subprocess.Popen[bytes]:
        """Start FFmpeg to add the audio to the video, trimmed to its length."""
        video = open_input(self._video_only)["v:0"]
        options = {key: value for key, value in self._video_options.items() if key == "tag:v"}
        ends = {"c:v": "copy", "t": f"{float(self._num_frames / self.fps):.6f}"}
        audio, audio_options = self._audio_input()
        return self._run([video, *audio], self._partial, options | audio_options | ends)

    def _kill(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # flushing the pipe's buffer fails without a reader
            self._process.stdin.close()
