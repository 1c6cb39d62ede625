"""Parts of joined recordings, which must not drift apart: audio and video of each part begin together."""

from __future__ import annotations

import itertools
import math

from wav2lip.media.container.decoding import read_packets
from wav2lip.media.container.opening import further_links, open_media
from wav2lip.media.container.streams import find_audio_stream, find_video_stream
from wav2lip.media.container.timestamps import RestartDetector, packet_times
from wav2lip.types import PathType

MAX_PADDING_S = 0.1  # a few blocks of a codec
Parts = list[tuple[float, float]]  # begin and end in seconds, as the file states them


def part_shifts(path: PathType) -> list[float] | None:
    """Return the seconds to add to the timestamps of each part so that a part begins when both streams of the last end.

    Audio that exceeds the video by no more than the padding of its codec is cut, so that no frame is repeated.
    None: the file does not have one video and one audio stream with the same parts.
    """
    parts: dict[str, Parts] = {"video": [(math.inf, -math.inf)], "audio": [(math.inf, -math.inf)]}
    restarts = {kind: RestartDetector() for kind in parts}
    with open_media(path) as container:
        for link in itertools.chain([container], further_links(container, on_problem=lambda _: None)):
            video, audio = find_video_stream(link), find_audio_stream(link)
            if video is None or audio is None:
                return None
            for packet in read_packets(link, video, audio):
                times = packet_times(packet)
                if times is None or packet.time_base is None:
                    continue
                own, (time, order) = parts[packet.stream.type], times
                if restarts[packet.stream.type].is_restart(order):
                    own.append((math.inf, -math.inf))
                begin, end = own[-1]
                end = max(end, time + float((packet.duration or 0) * packet.time_base))
                own[-1] = min(begin, time), end
    return None if len(parts["video"]) != len(parts["audio"]) else _add_up(parts["video"], parts["audio"])


def _add_up(video: Parts, audio: Parts) -> list[float]:
    shifts = [0.0]
    for last, following in itertools.pairwise(zip(video, audio, strict=True)):
        (_, end), (_, audio_end) = last
        (begin, _), (audio_begin, _) = following
        end = audio_end if audio_end - end > MAX_PADDING_S else end
        begin = audio_begin if begin - audio_begin > MAX_PADDING_S else begin
        shifts.append(shifts[-1] + end - begin)
    return shifts
