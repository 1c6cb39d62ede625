"""Synthetic media files, and measurements of audio and video."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from wav2lip.media import Encoding, VideoWriter

SAMPLE_RATE = 16_000
TIME_BASE = Fraction(1, 1000)  # seconds
GRAY = np.full((64, 64, 3), 120, np.uint8)


def tone(seconds: float, rate: int = SAMPLE_RATE, hertz: float = 220.0) -> np.ndarray:
    """A sine wave of amplitude 0.3, float64 (N,)."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def noise(seconds: float) -> np.ndarray:
    """White noise at 16 kHz, float64 (N,)."""
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * SAMPLE_RATE))


def click(at: float, seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Silence with one loud millisecond, float64 (N,)."""
    wav = np.zeros(round(seconds * rate))
    wav[round(at * rate) : round((at + 0.001) * rate)] = 0.9
    return wav


def write_wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    """Write float samples (N,) or (N, channels) as 16-bit PCM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes())
    return path


def write_video(path: Path, frames: list[np.ndarray], fps: float = 25, audio: Path | None = None) -> Path:
    """Write frames as a video of high quality."""
    with VideoWriter(path, fps, audio, Encoding(crf=10)) as video:
        for frame in frames:
            video.write(frame)
    return path


def ffmpeg(*arguments: object) -> Path:
    """Run FFmpeg and return the output file, which is the last argument."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return Path(str(arguments[-1]))


def timed_video(path: Path, times: list[float], levels: list[int], rate: int = 25, codec: str = "libx264") -> Path:
    """Write a video of gray 64 x 64 frames, each with an exact timestamp in seconds."""
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=rate, options={"crf": "5", "preset": "ultrafast"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        video.time_base = video.codec_context.time_base = TIME_BASE
        for time, level in zip(times, levels, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), "rgb24")
            frame.pts, frame.time_base = round(time * 1000), TIME_BASE
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    return path


def timed_audio(
    path: Path, parts: list[tuple[float, np.ndarray]], rate: int = SAMPLE_RATE, with_video: bool = True
) -> Path:
    """Write uncompressed audio whose parts start at times in seconds, with a video from 0 on."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25) if with_video else None
        audio = file.add_stream("pcm_s16le", rate=rate, layout="mono")
        if video is not None:
            video.width = video.height = 64
            for n in range(5):
                image = av.VideoFrame(64, 64, "yuv420p")
                image.pts, image.time_base = n, Fraction(1, 25)
                file.mux(video.encode(image))
            file.mux(video.encode(None))
        for begin, samples in parts:
            for start in range(0, len(samples), 512):
                block = np.rint(samples[start : start + 512] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block[None], "s16", "mono")
                frame.rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(begin * rate) + start
                file.mux(audio.encode(frame))
        file.mux(audio.encode(None))
    return path


def remux_audio(source: Path, target: Path, change: Callable[[av.Packet], None]) -> Path:
    """Copy the audio packets of a file after a change to each."""
    with av.open(str(source)) as file, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(file.streams.audio[0])
        for packet in file.demux(file.streams.audio[0]):
            if packet.size:
                change(packet)
                packet.stream = stream
                copy.mux(packet)
    return target


def decode_audio(path: Path) -> np.ndarray:
    """Decode audio with FFmpeg from the time of the first video frame on, (N,) float32 at 16 kHz."""
    with av.open(str(path.resolve())) as file:
        video = file.streams.video[0]
        before = float(video.start_time * video.time_base) - file.start_time / av.time_base
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path.resolve()), "-af",
               "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "16000", "-f", "f32le", "-"]  # fmt: skip
    wav = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)
    return wav[round(before * SAMPLE_RATE) :]


def peak_time(wav: np.ndarray) -> float:
    """Time of the largest sample in seconds, at 16 kHz."""
    return int(np.abs(wav).argmax()) / SAMPLE_RATE


def frequency_and_amplitude(wav: np.ndarray) -> tuple[float, float]:
    """Frequency in Hz and amplitude of a sine wave at 16 kHz, from its middle second."""
    middle = wav[len(wav) // 2 - 4000 : len(wav) // 2 + 4000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(spectrum.argmax() * 2.0), float(middle.std() * 2**0.5)


def delay(wav: np.ndarray, reference: np.ndarray) -> float:
    """Seconds by which audio at 16 kHz lags behind a reference, by cross-correlation."""
    length = len(wav) + len(reference)
    product = np.fft.irfft(np.fft.rfft(wav, length) * np.conj(np.fft.rfft(reference, length)), length)
    at = int(product.argmax())
    return (at if at < length / 2 else at - length) / SAMPLE_RATE


def gray_levels(frames: Iterable[np.ndarray]) -> list[int]:
    """Gray level at the center of each frame."""
    return [int(frame[frame.shape[0] // 2, frame.shape[1] // 2].mean().round()) for frame in frames]
