"""Media containers: probing, robust decoding, seeking, joined files, and repair of timestamps."""

from wav2lip.media.container.concatenation import part_shifts
from wav2lip.media.container.decoding import OnPacket, decode_frames, ignore_packet, read_packets, seek_and_decode
from wav2lip.media.container.opening import container_format, further_links, is_chain, open_media
from wav2lip.media.container.probing import pixel_aspect, probe, probe_audio, probe_video
from wav2lip.media.container.streams import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioStream,
    AudioTrack,
    Media,
    VideoStream,
    check_sample_rate,
    find_video_stream,
    select_audio_stream,
)
from wav2lip.media.container.timestamps import MAX_GAP_S, MAX_OVERLAP_S, RestartDetector, TimestampRepair

UNTIMED_FORMATS = {"avi", "h264", "hevc", "m4v", "mjpeg"}  # store frames without timestamps

__all__ = [
    "MAX_GAP_S",
    "MAX_OVERLAP_S",
    "MAX_SAMPLE_RATE",
    "MIN_SAMPLE_RATE",
    "UNTIMED_FORMATS",
    "AudioStream",
    "AudioTrack",
    "Media",
    "OnPacket",
    "RestartDetector",
    "TimestampRepair",
    "VideoStream",
    "check_sample_rate",
    "container_format",
    "decode_frames",
    "find_video_stream",
    "further_links",
    "ignore_packet",
    "is_chain",
    "open_media",
    "part_shifts",
    "pixel_aspect",
    "probe",
    "probe_audio",
    "probe_video",
    "read_packets",
    "seek_and_decode",
    "select_audio_stream",
]
