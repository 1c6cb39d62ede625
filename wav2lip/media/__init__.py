"""Media files: decoding with true timestamps, still images, and atomic writing of video."""

from wav2lip.media.audio import read_audio
from wav2lip.media.container import AudioStream, AudioTrack, Media, VideoStream, probe
from wav2lip.media.encoding import Encoding
from wav2lip.media.images import image_size, is_image, read_image
from wav2lip.media.video import first_frame_time, has_timestamp_jumps, read_frames
from wav2lip.media.writer import VideoWriter

__all__ = [
    "AudioStream",
    "AudioTrack",
    "Encoding",
    "Media",
    "VideoStream",
    "VideoWriter",
    "first_frame_time",
    "has_timestamp_jumps",
    "image_size",
    "is_image",
    "probe",
    "read_audio",
    "read_frames",
    "read_image",
]
