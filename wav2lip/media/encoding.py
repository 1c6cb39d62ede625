"""Video and audio encoding of a result: FFmpeg's options, checked against the installed FFmpeg."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np

from wav2lip.errors import InputError
from wav2lip.media.audio import has_format_changes, has_hidden_audio, write_plain_audio
from wav2lip.media.container import OnPacket, container_format, ignore_packet, probe_audio
from wav2lip.media.video import has_timestamp_jumps
from wav2lip.types import PathType

CRF = 18  # hard to distinguish from the source
MAX_CRF = 63  # limit of VP9 and AV1; H.264 and HEVC end at 51
PRESET = "veryfast"  # x264 shares the CPU with the networks, see docs/inference.md
PIX_FMT = "yuv420p"  # supported by every player
APPLE_SUFFIXES = (".mp4", ".mov", ".m4v")

# Audio codecs (FFmpeg's names) that each container supports and whose timestamps it preserves: copied audio was
# measured to be in sync within a millisecond. AVI has no timestamps: AAC's priming would delay the audio by 64 ms.
_MP4_CODECS = {"aac", "mp3", "ac3", "eac3", "alac"}
COPY_CODECS = {
    ".mp4": _MP4_CODECS,
    ".mov": {"aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le"},
    ".m4v": {"aac", "alac"},
    ".mkv": _MP4_CODECS | {"opus", "vorbis", "flac", "pcm_s16le", "pcm_s24le", "pcm_f32le"},
    ".ts": {"aac", "mp3", "ac3"},
    ".flv": {"aac"},
    ".3gp": {"aac"},
    ".avi": set[str](),
}
LOCAL_PROTOCOLS = "file,crypto,data"  # of a file and the files that it names
FILL_GAPS_FILTER = "aresample=async=1:first_pts=0"  # inserts silence where the track begins late or has a gap


@dataclass(frozen=True)
class Encoding:
    """Codec and quality of a video; None selects the codec's default."""

    codec: str = "libx264"  # an encoder of FFmpeg
    crf: float | None = None  # constant quality, 0 (lossless) to 51, or 63; 18 if the codec supports it
    preset: str | None = None  # speed against size, a value of the codec
    pix_fmt: str | None = None  # yuv420p if the codec supports it

    def __post_init__(self) -> None:
        if self.crf is not None and not 0 <= self.crf <= MAX_CRF:
            raise InputError(
                f"--crf {self.crf:g}: must be between 0 (lossless) and 51, or {MAX_CRF} for VP9 and AV1; choose another"
            )

    def options(self, suffix: str) -> dict[str, object]:
        """Build FFmpeg's options for a video in a container of that suffix.

        Raises: InputError if FFmpeg does not have the encoder, or the encoder not the option or pixel format.
        """
        if self == DEFAULT_ENCODING:  # avoids a subprocess in the usual case
            return {"c:v": self.codec, "crf": CRF, "preset": PRESET, "pix_fmt": PIX_FMT}
        encoder = _query_encoder(ffmpeg_binary(), self.codec)
        for flag in ("crf", "preset"):
            if getattr(self, flag) is not None and flag not in encoder.flags:
                raise InputError(f"--{flag}: not an option of --codec {self.codec}; remove it")
        if self.pix_fmt not in {None, *encoder.pix_fmts}:
            raise InputError(f"--pix_fmt {self.pix_fmt}: must be one of {', '.join(encoder.pix_fmts)} for {self.codec}")
        options: dict[str, object] = {"c:v": self.codec}
        options["pix_fmt"] = self.pix_fmt or (PIX_FMT if PIX_FMT in encoder.pix_fmts else encoder.pix_fmts[0])
        if "crf" in encoder.flags:
            options["crf"] = CRF if self.crf is None else f"{self.crf:g}"
        if self.preset or self.codec == "libx264":
            options["preset"] = self.preset or PRESET
        if self.codec in {"libvpx", "libvpx-vp9"}:
            options["b:v"] = 0  # otherwise the default of 200 kbit/s limits the quality
        if self.codec == "libx265":
            options["x265-params"] = "log-level=error"
            if suffix in APPLE_SUFFIXES:
                options["tag:v"] = "hvc1"  # the only tag under which Apple's players accept HEVC
        return options

    def validate(self, path: Path, suffix: str) -> None:
        """Encode one black frame to `path`, so that FFmpeg rejects bad options before any work is done.

        Raises: InputError with FFmpeg's message.
        """
        if self == DEFAULT_ENCODING:
            return
        options = [word for option, value in self.options(suffix).items() for word in (f"-{option}", str(value))]
        black = ["-f", "lavfi", "-i", "color=black:s=128x128:r=25", "-frames:v", "1"]
        command = [ffmpeg_binary(), "-loglevel", "error", *black, *options, "-y", str(path.resolve())]
        process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if process.returncode:
            flags = " ".join(f"--{flag} {value}" for flag, value in vars(self).items() if value is not None)
            reason = parse_ffmpeg_errors(process.stderr) or f"exit code {process.returncode}"
            raise InputError(f"{flags}: FFmpeg cannot write this to a {suffix} file ({reason}); choose other values")


DEFAULT_ENCODING = Encoding()


@dataclass(frozen=True)
class EncoderInfo:
    """Capabilities of one of FFmpeg's encoders."""

    pix_fmts: tuple[str, ...]
    flags: frozenset[str]  # names of its private options


@lru_cache
def _query_encoder(binary: str, name: str) -> EncoderInfo:
    command = [binary, "-hide_banner", "-h", f"encoder={name}"]
    text = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).stdout.decode(errors="replace")
    pix_fmts = re.search(r"Supported pixel formats: (.+)", text)
    if f"Encoder {name} [" not in text or pix_fmts is None:
        raise InputError(
            f"--codec {name}: not a video encoder of the installed FFmpeg ({binary}); give one that "
            "'ffmpeg -encoders' lists, such as libx264 or libx265"
        )
    return EncoderInfo(tuple(pix_fmts[1].split()), frozenset(re.findall(r"^ +-(\w+) ", text, re.MULTILINE)))


def open_input(path: Path) -> ffmpeg.nodes.FilterableStream:
    """Return an input in the format that was checked: another version of FFmpeg could take the file for a playlist.

    An absolute path cannot be parsed as an option or a protocol.
    """
    name = container_format(path)
    return ffmpeg.input(str(path.resolve()), format=name, protocol_whitelist=LOCAL_PROTOCOLS)


def audio_input(
    audio: PathType, suffix: str, plain: Path, on_packet: OnPacket = ignore_packet
) -> tuple[ffmpeg.nodes.FilterableStream, dict[str, object]]:  # fmt: skip
    """Return the audio track of a file as an input of FFmpeg, and the options with which it is written.

    suffix: of the result's container. plain: file to which audio is written first if its rate or layout changes, as
        FFmpeg would play it at the first rate; the caller deletes it. on_packet: see `decode_frames`.
    Raises: InputError if the file has no audio.
    """
    if has_format_changes(audio, on_packet):
        write_plain_audio(audio, plain, on_packet)
        return open_input(plain)["a:0"], encoded_audio_options(1, suffix)
    return open_input(Path(audio))[str(probe_audio(audio).index)], audio_options(audio, suffix)


def audio_options(audio: PathType, suffix: str) -> dict[str, object]:
    """Build FFmpeg's options for the audio track of a file: copied if the container supports it, else encoded.

    A track with parts that an edit list hides is encoded, as a copy would contain them. The sample rate and channels
    are preserved. suffix: of the result's container.
    Raises: InputError if the file has no audio.
    """
    stream = probe_audio(audio)
    if stream.codec in COPY_CODECS[suffix] and not has_timestamp_jumps(audio) and not has_hidden_audio(audio):
        return {"c:a": "copy"}
    return encoded_audio_options(stream.channels, suffix)


def encoded_audio_options(channels: int, suffix: str) -> dict[str, object]:
    """Build FFmpeg's options to encode audio of so many channels for a container."""
    if suffix == ".avi":
        return {"c:a": "pcm_s16le", "af": FILL_GAPS_FILTER}
    kbit_per_s = min(512, 64 + 64 * channels)  # 128 for mono, 192 for stereo, 448 for 5.1
    return {"c:a": "aac", "b:a": f"{kbit_per_s}k", "af": FILL_GAPS_FILTER}


def output_options(suffix: str, comment: str | None) -> dict[str, object]:
    """Build FFmpeg's options of every result: no log, no chapters of an audio book, and the comment as metadata."""
    options: dict[str, object] = {"loglevel": "error", "map_chapters": -1}
    if comment is not None:  # MPEG-TS has only a service name
        options["metadata"] = f"{'service_name' if suffix == '.ts' else 'comment'}={comment}"
    if suffix in APPLE_SUFFIXES:
        options["movflags"] = "+faststart"
    return options


def ffmpeg_binary() -> str:
    """Return the path of FFmpeg: the one in PATH, or else imageio-ffmpeg's."""
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def parse_ffmpeg_errors(messages: bytes) -> str:
    """Summarize FFmpeg's error output: its first line is the cause and the last the outcome."""
    lines = messages.decode(errors="replace").strip().splitlines()
    return "; ".join(dict.fromkeys(re.sub(r"^(\[[^]]*\] *)+", "", line).strip(" .") for line in lines[:1] + lines[-1:]))


def is_rgb(pix_fmt: str) -> bool:
    """Return True for pixel formats of red, green and blue, to which no color matrix applies."""
    return bool(re.search("rgb|bgr|gbr", pix_fmt))


def needs_even_size(pix_fmt: str) -> bool:
    """Return True for pixel formats with subsampled chroma."""
    return not is_rgb(pix_fmt) and not re.search("444|gray", pix_fmt)


def pad_to_even(frame: np.ndarray) -> np.ndarray:
    """Return a frame (H, W, 3) whose last row and column are repeated if their number is odd."""
    height, width = frame.shape[:2]
    if not (height % 2 or width % 2):
        return frame
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
