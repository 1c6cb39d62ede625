"""Audio of a file as a stream of mono blocks, synchronous with the video."""

from __future__ import annotations

import logging
import wave
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import soxr

from wav2lip.media.container import (
    MAX_OVERLAP_S,
    OnPacket,
    TimestampRepair,
    check_sample_rate,
    decode_frames,
    ignore_packet,
    is_chain,
    open_media,
    part_shifts,
    probe_audio,
    read_packets,
    seek_and_decode,
    select_audio_stream,
)
from wav2lip.media.downmix import Downmix
from wav2lip.types import OnProblem, PathType

log = logging.getLogger(__name__)

PREROLL_S = 1.0  # decoded before the first sample after a seek: codecs depend on preceding packets
MAX_JITTER_S = 0.04  # one frame: a longer gap is filled with silence
# Raw formats have no timestamps: FFmpeg's count on from the first frame's rate, as do those inside packets of MPEG-TS.
UNTIMED_AUDIO = {"aac", "ac3", "amr", "eac3", "flac", "loas", "mp3"}
MAX_COUNTED_JITTER_S = 1.0
CONSTANT_FORMATS = ("mov", "wav", "w64", "aiff")  # their headers state the only format of a track
PLAIN_RATE = 48_000  # Hz
MAX_PRIMING_S = 0.1
MAX_BLOCK_SAMPLES = 1 << 16  # a packet may have any length


def read_audio(
    path: PathType,
    rate: int,
    start: float | None = None,
    on_problem: OnProblem = log.warning,
    seek: bool = False,
    on_packet: OnPacket = ignore_packet,
) -> Generator[np.ndarray, None, None]:
    """Decode the audio of a file in blocks: the default track, or that of an AudioTrack.

    rate: sample rate of the result in Hz. The rate, layout and sample format of the file may change at any frame.
    start: time of the first sample in the container, in seconds. Earlier audio is dropped; silence is inserted if the
        track begins later or has a gap. None: the beginning of the container.
    seek: seek to `start` instead of decoding everything before; the file must not have timestamp jumps.
    on_packet: see `decode_frames`.
    Yields: (n,) float32 in [-1, 1], mono, see `Downmix`. The file is open until the end or until `close`.
    Raises: InputError if the file cannot be opened, has no audio, or audio at a sample rate out of range.
    """
    probe_audio(path)
    with open_media(path) as container:
        stream = select_audio_stream(container, path)
        assert stream is not None
        begin = (container.start_time or 0) / av.time_base if start is None else start
        if seek and begin > PREROLL_S:
            frames = seek_and_decode(container, stream, begin - PREROLL_S, on_problem, on_packet)
        else:
            frames = decode_frames(container, stream, on_problem, on_packet)
        downmix = Downmix(container.name, on_problem)
        timestamps = TimestampRepair(container.name, stream.type, on_problem, partial(part_shifts, path))
        is_timed = container.format.name not in UNTIMED_AUDIO
        yield from _resample(_cut(_align(_check_rates(path, frames), begin, is_timed, downmix, timestamps)), rate)
        downmix.report()


def _check_rates(path: PathType, frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    for frame in frames:
        check_sample_rate(path, frame.sample_rate)
        yield frame


def _cut(blocks: Iterator[tuple[np.ndarray, int]]) -> Iterator[tuple[np.ndarray, int]]:
    for block, rate in blocks:
        for first in range(0, len(block), MAX_BLOCK_SAMPLES):
            yield block[first : first + MAX_BLOCK_SAMPLES], rate


def _resample(blocks: Iterator[tuple[np.ndarray, int]], rate: int) -> Iterator[np.ndarray]:
    """Resample blocks, each from its own rate in Hz."""
    resampler: soxr.ResampleStream | None = None
    source_rate = rate
    for block, block_rate in blocks:
        if block_rate != source_rate:
            if resampler is not None:
                yield from _flush(resampler)
            source_rate = block_rate
            resampler = None if block_rate == rate else soxr.ResampleStream(block_rate, rate, 1, dtype="float32")
        resampled = block if resampler is None else resampler.resample_chunk(block)
        if len(resampled):
            yield resampled
    if resampler is not None:
        yield from _flush(resampler)


def _flush(resampler: soxr.ResampleStream) -> Iterator[np.ndarray]:
    rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    if len(rest):
        yield rest


def _align(
    frames: Iterator[av.AudioFrame], begin: float, is_timed: bool, downmix: Downmix, timestamps: TimestampRepair
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield mono blocks and their rates so that the first sample is at time `begin` and each frame at its timestamp.

    is_timed: the timestamps after the first are those of the file.
    """
    jitter = MAX_JITTER_S
    base, position, rate, has_begun = 0.0, 0, 0, False  # seconds since `begin`; samples since `base`; after output
    dropped, is_stalled = 0, False  # samples since the last output; True once timestamps stand still
    for frame in frames:
        if frame.sample_rate != rate:
            if rate:
                base, jitter = base + position / rate, MAX_COUNTED_JITTER_S
            position, rate = 0, frame.sample_rate
        mono = downmix.mix(frame)
        now = base + position / rate  # seconds
        time = now if frame.time is None or is_stalled or (has_begun and not is_timed) else frame.time - begin
        if not is_stalled and (has_begun or time > 0):  # audio before `begin` is dropped, which is not a jump
            # Timestamps that stand still fall behind the audio that they drop: a jump, after which they are ignored.
            time = timestamps.repair(time, now + dropped / rate, now)
            is_stalled = time == now and dropped / rate > MAX_OVERLAP_S / 2
        gap = 0 if has_begun and abs(time - now) <= jitter else round((time - base) * rate) - position  # samples
        yield from ((silence, rate) for silence in _silence(gap, rate))
        rest = mono[max(0, -gap) :]
        if len(rest):
            has_begun, dropped = True, 0
            yield rest, rate
        elif has_begun:
            dropped += len(mono)
        position += max(0, gap) + len(rest)
    timestamps.report()


def _silence(samples: int, block: int) -> Iterator[np.ndarray]:
    return (np.zeros(min(block, samples - start), np.float32) for start in range(0, samples, block))


def has_hidden_audio(path: PathType) -> bool:
    """Return True if an edit list hides more than the codec's priming, which the packets of the track still contain."""
    with open_media(path) as container:
        stream = select_audio_stream(container, path)
        assert stream is not None
        hidden = 0.0
        for packet in read_packets(container, stream):
            if packet.is_discard and packet.duration and packet.time_base:
                hidden += float(packet.duration * packet.time_base)
        return hidden > MAX_PRIMING_S


def has_format_changes(path: PathType, on_packet: OnPacket = ignore_packet) -> bool:
    """Return True if the sample rate or the number of channels of the track may change.

    FFmpeg's encoders refuse that, and its demuxers to read a chained file completely.
    on_packet: see `decode_frames`.
    """
    with open_media(path) as container:
        if container.format.name.startswith(CONSTANT_FORMATS):
            return False
        if is_chain(container):
            return True
        stream = select_audio_stream(container, path)
        assert stream is not None
        formats = {
            (frame.sample_rate, len(frame.layout.channels))
            for frame in decode_frames(container, stream, lambda _: None, on_packet)
        }
        return len(formats) > 1


def write_plain_audio(path: PathType, target: Path, on_packet: OnPacket = ignore_packet) -> None:
    """Write the audio of a file as 16-bit mono WAV at `PLAIN_RATE`. on_packet: see `decode_frames`."""
    with wave.open(str(target), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(PLAIN_RATE)
        for block in read_audio(path, PLAIN_RATE, on_problem=lambda _: None, on_packet=on_packet):
            wav.writeframesraw(np.rint(block.clip(-1, 1) * 32767).astype("<i2").tobytes())
