"""Fragmented MP4: structure of the boxes, times of frames and audio, and errors of the encoders."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from wav2lip.errors import InputError
from wav2lip.live import LiveFrame
from wav2lip.live.fragments import AUDIO_RATE, FragmentWriter

CONTAINERS = {b"moov", b"mvex", b"trak", b"moof", b"traf"}
EVENTS_S = np.arange(0.6, 31, 0.9)


@pytest.fixture(scope="module")
def frames() -> list[LiveFrame]:
    """200 frames at each rate of a machine that becomes too slow: a white one with a click at EVENTS_S."""
    return list(events(np.repeat([25, 20, 15], 200)))


def top_boxes(data: bytes):
    """Yield type and content of the boxes (ISO/IEC 14496-12) of which the data consists."""
    offset = 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        assert 8 <= size <= len(data) - offset, (kind, size)
        yield kind, data[offset + 8 : offset + size]
        offset += size


def boxes(data: bytes):
    """Yield type and content of all boxes, those inside of CONTAINERS too."""
    for kind, content in top_boxes(data):
        yield kind, content
        if kind in CONTAINERS:
            yield from boxes(content)


def events(rates, size: tuple[int, int] = (64, 64)):
    """Yield a frame for each rate: white with a click at EVENTS_S, dark and silent otherwise."""
    time = Fraction(0)
    for rate in rates:
        end = time + Fraction(1, int(rate))
        hits = EVENTS_S[(float(time) <= EVENTS_S + 1e-9) & (float(end) > EVENTS_S + 1e-9)]
        seconds = np.arange(round(time * AUDIO_RATE), round(end * AUDIO_RATE)) / AUDIO_RATE
        audio = sum((np.abs(seconds - hit) < 0.0005 for hit in hits), np.zeros(len(seconds))) * 0.8
        image = np.full((size[1], size[0], 3), 230 if hits.size else 20, np.uint8)
        yield LiveFrame(image, time, audio.astype(np.float32), bool(hits.size))
        time = end


def encode(frames, size=(64, 64)) -> tuple[list[bytes], FragmentWriter]:
    writer = FragmentWriter(*size)
    return [*map(writer.write, frames), writer.finish()], writer


def decode(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the times of the frames, their mean luma, and the audio from time 0 on."""
    times, levels, audio = [], [], []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                times.append(frame.time)
                levels.append(frame.to_ndarray(format="gray").mean())
            else:
                assert frame.pts == 1024 * len(audio)
                audio.append(frame.to_ndarray()[0])
    return np.array(times), np.array(levels), np.concatenate(audio)


def test_flashes_and_clicks_are_at_their_times(frames):
    times, levels, audio = decode(b"".join(encode(frames)[0]))
    assert times.tolist() == pytest.approx([float(frame.time) for frame in frames], abs=1 / 90_000)
    flashes = times[levels > 128]
    assert len(flashes) == len(EVENTS_S)
    assert ((flashes <= EVENTS_S + 1e-4) & (flashes + 1 / 15 > EVENTS_S)).all()
    for event in EVENTS_S:
        first = round((event - 0.3) * AUDIO_RATE)
        peak = first + np.argmax(np.abs(audio[first : first + round(0.6 * AUDIO_RATE)]))
        assert peak / AUDIO_RATE == pytest.approx(event, abs=0.001)
    assert len(audio) / AUDIO_RATE == pytest.approx(200 / 25 + 200 / 20 + 200 / 15, abs=0.05)


def test_fragments_hold_one_frame_and_come_at_most_two_frames_later(frames):
    pieces, writer = encode(frames[:40])
    data = b"".join(pieces)
    top = [kind for kind, _ in top_boxes(data)]
    num_fragments = top.count(b"moof")
    assert top == [b"ftyp", b"moov", *[b"moof", b"mdat"] * num_fragments, b"mfra"] and num_fragments >= 38
    assert pieces[0].startswith(data[:8]) and all(piece[4:8] == b"moof" for piece in pieces[3:-1])
    content = list(boxes(data))
    assert [kind for kind, _ in content].count(b"trak") == 2
    assert not {b"edts", b"mehd"} & {kind for kind, _ in content}  # no edit list; the duration is unknown
    # trun: version and flags, number of samples: a frame, or two AAC blocks of 21 ms.
    assert all(struct.unpack_from(">I", box, 4)[0] <= 2 for kind, box in content if kind == b"trun")
    for count in range(4, 40):
        times, _, audio = decode(b"".join(pieces[:count]))
        assert len(times) >= count - 2
        assert len(audio) / AUDIO_RATE >= count / 25 - 0.085
    sps = data.index(b"avcC") + 4  # configuration record: version, then profile, constraints and level
    assert writer.mime_type == f'video/mp4; codecs="avc1.{data[sps + 1 : sps + 4].hex()}, mp4a.40.2"'


def test_odd_sizes_are_padded():
    pieces, _ = encode(events([25] * 3, (63, 65)), (63, 65))
    with av.open(io.BytesIO(b"".join(pieces))) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (64, 66)


def test_size_that_h264_does_not_have_is_one_sentence():
    with pytest.raises(InputError, match=r"^MP4 of 40000x64 pixels: cannot be encoded \(.+\); choose .+size$"):
        FragmentWriter(40_000, 64)


def test_missing_encoder_is_one_sentence(monkeypatch):
    def refuse(*_, **__):
        raise av.codec.codec.UnknownCodecError("libx264")

    monkeypatch.setattr(FragmentWriter, "_add_video", refuse)
    with pytest.raises(InputError, match=r"cannot be encoded \(libx264\); choose the format jpeg"):
        FragmentWriter(64, 64)


def test_failure_of_the_muxer_is_one_sentence(frames):
    writer = FragmentWriter(64, 64)
    with pytest.raises(InputError, match=r"^MP4 of 64x64 pixels: cannot be encoded"):
        for _ in range(5):
            writer.write(frames[0])  # time stands still
