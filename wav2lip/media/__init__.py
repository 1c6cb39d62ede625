"""Media in and out: streams with true timestamps, stills, and a file that appears whole or not at all."""

from wav2lip.media.container import AudioStream, Media, VideoStream, probe
from wav2lip.media.encoding import Encoding
from wav2lip.media.pictures import is_picture, picture_size, read_picture
from wav2lip.media.sound import read_audio
from wav2lip.media.video import first_frame_time, read_frames, times_leap
from wav2lip.media.writer import VideoWriter

__all__ = [
    "AudioStream",
    "Encoding",
    "Media",
    "VideoStream",
    "VideoWriter",
    "first_frame_time",
    "is_picture",
    "picture_size",
    "probe",
    "read_audio",
    "read_frames",
    "read_picture",
    "times_leap",
]
