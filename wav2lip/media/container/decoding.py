"""Decoding of packets to frames, also of damaged files, and seeking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import chain

import av

from wav2lip.media.container.opening import error_reason, further_links
from wav2lip.media.container.streams import find_audio_stream, find_video_stream
from wav2lip.types import OnProblem

OnPacket = Callable[[], object]
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore the transparency of WebM


def ignore_packet() -> None:
    """Decode on: the default of `on_packet`."""


def read_packets(container: av.container.InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet]:
    """Yield the packets of streams up to the end or a corrupt one, after which nothing is decoded either."""
    with contextlib.suppress(av.FFmpegError):
        yield from container.demux(*streams)


def _packet_decoder(stream: av.stream.Stream) -> Callable[[av.Packet], list]:
    """Return the function that decodes a packet of a stream."""
    name = None if stream.codec_context is None else ALPHA_DECODERS.get(stream.codec_context.name)
    if stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return lambda packet: packet.decode()
    decoder = av.CodecContext.create(name, "r")
    decoder.options = stream.codec_context.options
    return lambda packet: decoder.decode(packet if packet.size else None)  # type: ignore[attr-defined]


def decode_frames(
    container: av.container.InputContainer, stream: av.stream.Stream, on_problem: OnProblem,
    on_packet: OnPacket = ignore_packet,
) -> Iterator:  # fmt: skip
    """Decode a stream, skipping corrupt packets, and the same stream of all further links of a chained file.

    on_packet: called before each packet is decoded, also where packets yield no frame; raises to stop.
    """
    yield from _decode_link(container, stream, on_problem, on_packet)
    for number, link in enumerate(further_links(container, on_problem), 2):
        on_packet()
        other = find_video_stream(link) if stream.type == "video" else find_audio_stream(link)
        if other is None:
            on_problem(f"{container.name}: part {number} of the joined files has no {stream.type}; skipped")
            continue
        other.codec_context.options = stream.codec_context.options
        yield from _decode_link(link, other, on_problem, on_packet)


def _decode_link(
    container: av.container.InputContainer, stream: av.stream.Stream, on_problem: OnProblem, on_packet: OnPacket
) -> Iterator:
    path, packets, corrupt = container.name, container.demux(stream), 0
    decode = _packet_decoder(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            on_problem(f"{path}: truncated ({error_reason(error)}); using the part before")
            break
        on_packet()
        try:
            yield from decode(packet)
        except av.FFmpegError:
            corrupt += 1
    if corrupt:
        on_problem(f"{path}: skipped {corrupt} corrupt packets of {stream.type}")


def seek_and_decode(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream, time: float,
    on_problem: OnProblem, on_packet: OnPacket = ignore_packet,
) -> Iterator:  # fmt: skip
    """Decode a stream from a frame at or before a time in seconds.

    If seeking fails, as in formats without an index, decode from the beginning.
    """
    assert stream.time_base is not None
    with contextlib.suppress(av.FFmpegError):
        container.seek(int(time / stream.time_base), stream=stream)
        frames = decode_frames(container, stream, on_problem, on_packet)
        start = next(frames, None)
        if start is not None and start.time is not None and start.time <= time:
            return chain([start], frames)
    container.seek(0)  # the beginning of the file, before its first timestamp
    return decode_frames(container, stream, on_problem, on_packet)
