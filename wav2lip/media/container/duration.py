"""Duration of a media file: as its header states, or from its packets where that may be wrong."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import av

from wav2lip.media.container.decoding import read_packets
from wav2lip.media.container.opening import further_links
from wav2lip.media.container.streams import find_audio_stream, find_video_stream
from wav2lip.media.container.timestamps import RestartDetector, packet_times

# State no length, or that of the first or last of several joined files.
ESTIMATED_FORMATS = {"aac", "ac3", "amr", "au", "caf", "eac3", "loas", "mp3", "mpeg", "mpegts", "w64"}
ADTS_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350)  # Hz
ADTS_SAMPLES = 1024  # of a block
ADTS_BYTES = 7  # of the header of a frame


def read_seconds(container: av.container.InputContainer) -> float:
    """Return the duration of a file in seconds; 0 if it has no timestamps. The position in the container changes."""
    seconds = _link_seconds(container)
    for link in further_links(container, on_problem=lambda _: None):
        seconds += _link_seconds(link)
    return seconds


def _link_seconds(container: av.container.InputContainer) -> float:
    # Matroska states the end of its timeline, which may begin late, as in recordings of a stream.
    offset = max(0, container.start_time or 0) if container.format.name.startswith("matroska") else 0
    stated = max(0.0, ((container.duration or 0) - offset) / av.time_base)
    if stated and not _is_estimated(container, stated):
        return stated
    return _measure_seconds(container) or stated


def _is_estimated(container: av.container.InputContainer, stated: float) -> bool:
    """Return True if the file may be longer or shorter than `stated` seconds."""
    name = container.format.name
    if name in ESTIMATED_FORMATS:
        return True
    if name == "avi":
        return _has_further_riff(Path(container.name))
    audio = find_audio_stream(container)
    if audio is None or not audio.codec_context.name.startswith("pcm_") or len(container.streams) > 1:
        return False
    bit_rate = audio.codec_context.bit_rate
    return bit_rate is not None and bit_rate > 0 and stated > container.size * 8 / bit_rate


def _measure_seconds(container: av.container.InputContainer) -> float:
    """Return the time of all packets, with joined parts one after the other; 0 without timestamps."""
    begin, ends = math.inf, {0: 0.0}
    shifts: dict[int, float] = {}
    restarts: dict[int, RestartDetector] = {}
    blocks: dict[int, float] = {}  # seconds of raw AAC by its sample rate
    with contextlib.suppress(av.FFmpegError):  # corrupt: nothing after that is decoded either
        container.seek(0)
    streams = filter(None, (find_video_stream(container), find_audio_stream(container)))
    for packet in read_packets(container, *streams):
        if header := _read_adts_header(packet):
            blocks[header[0]] = blocks.get(header[0], 0.0) + header[1]
        times = packet_times(packet)
        if times is None or packet.time_base is None:
            continue
        index, (time, order) = packet.stream.index, times
        if restarts.setdefault(index, RestartDetector()).is_restart(order):
            shifts[index] = ends[index] - time
        time += shifts.get(index, 0.0)
        begin = min(begin, time)
        ends[index] = max(ends.get(index, time), time + float((packet.duration or 0) * packet.time_base))
    if container.format.name == "aac" or len(blocks) > 1:  # FFmpeg computes all with the sample rate of the first one
        return sum(blocks.values())
    return max(0.0, max(ends.values()) - begin)


def _read_adts_header(packet: av.Packet) -> tuple[int, float] | None:
    """Return sample rate in Hz and duration in seconds of a frame of raw AAC; None for any other packet."""
    if packet.stream.codec_context is None or packet.stream.codec_context.name != "aac" or packet.size < ADTS_BYTES:
        return None
    header = bytes(memoryview(packet)[:ADTS_BYTES])
    index = header[2] >> 2 & 15
    if header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or index >= len(ADTS_RATES):
        return None
    return ADTS_RATES[index], ADTS_SAMPLES * (1 + (header[6] & 3)) / ADTS_RATES[index]


def _has_further_riff(path: Path) -> bool:
    """Return True if another AVI file follows the first one; a large file has parts named AVIX."""
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8)[4:], "little"))
        header = file.read(12)
        return (header[:4], header[8:]) == (b"RIFF", b"AVI ")
