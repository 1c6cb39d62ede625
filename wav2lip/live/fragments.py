"""Fragmented MP4 of a live stream, H.264 and AAC: what a page plays with MediaSource."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
from av.codec.codec import UnknownCodecError
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from wav2lip.errors import InputError
from wav2lip.live.stream import LiveFrame
from wav2lip.media.encoding import pad_to_even

AUDIO_RATE = 48_000  # Hz: AAC encodes 1024 samples at a time, 21 ms; at 16 kHz they would be 64 ms
VIDEO_TIME_BASE = Fraction(1, 90_000)  # s: divisible by 25, 20 and 15 fps
KEYFRAME_INTERVAL_FRAMES = 50  # a player can start or jump at a key frame only
VIDEO_OPTIONS = {"preset": "superfast", "tune": "zerolatency", "crf": "23"}  # no B-frames, no look-ahead
AUDIO_OPTIONS = {"aac_coder": "fast"}  # half the CPU time of the default, and nearer to the original at this bitrate
AUDIO_BITRATE = 96_000  # bits per second, mono
# Fragments of one frame. FFmpeg's frag_every_frame would give the first ones wrong times if there are two tracks.
MUXER_OPTIONS = {"movflags": "empty_moov+default_base_moof", "frag_duration": "20000"}  # microseconds
AUDIO_CODEC = "mp4a.40.2"  # RFC 6381: AAC-LC
ENCODER_ERRORS = (av.FFmpegError, UnknownCodecError, ValueError)


class FragmentWriter:
    """Encode frames with their audio; the returned bytes, joined, are an MP4 file.

    Packets are stamped with the counted time of their frame or sample, so audio and video cannot drift apart. The last
    64 to 84 ms of audio wait in the encoder, whose blocks overlap, and in the muxer.
    """

    audio_rate = AUDIO_RATE

    def __init__(self, width: int, height: int):
        """width, height: of the frames; odd sizes are padded by a column or row.

        Raises: InputError if FFmpeg has no such encoder or rejects the size.
        """
        self._name = f"MP4 of {width}x{height} pixels"
        self._output = _Output()
        try:
            self._container = av.open(self._output, "w", format="mp4", options=MUXER_OPTIONS)
            self._video = self._add_video(width + width % 2, height + height % 2)
            self._audio = self._container.add_stream("aac", AUDIO_RATE, options=AUDIO_OPTIONS, layout="mono")
            self._audio.bit_rate = AUDIO_BITRATE
            self._container.start_encoding()  # opens the encoders and writes the header
        except ENCODER_ERRORS as error:
            raise self._failure(error) from error

    @property
    def mime_type(self) -> str:
        """Media type with the codecs, as MediaSource.isTypeSupported takes it."""
        parameters = bytes(self._video.codec_context.extradata or b"")
        profile = parameters[parameters.index(b"\0\0\1\x67") + 4 :][:3]  # profile, constraints and level of the SPS
        return f'video/mp4; codecs="avc1.{profile.hex()}, {AUDIO_CODEC}"'

    def write(self, frame: LiveFrame) -> bytes:
        """Return the fragments that are complete after this frame; the first ones are preceded by the header.

        The audio of the frame must be at AUDIO_RATE. Raises: InputError if an encoder fails.
        """
        try:
            self._write_image(frame.image, frame.time, Fraction(len(frame.audio), AUDIO_RATE))
            self._write_audio(frame.audio, frame.time)
        except ENCODER_ERRORS as error:
            raise self._failure(error) from error
        return self._output.take()

    def finish(self) -> bytes:
        """Return the remaining fragments. Raises: InputError if an encoder fails."""
        try:
            self._container.mux(self._video.encode(None))
            self._container.mux(self._audio.encode(None))
            self._container.close()
        except ENCODER_ERRORS as error:
            raise self._failure(error) from error
        return self._output.take()

    def _add_video(self, width: int, height: int) -> av.VideoStream:
        video = self._container.add_stream("libx264", options=VIDEO_OPTIONS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = VIDEO_TIME_BASE
        codec = video.codec_context
        codec.time_base, codec.gop_size = VIDEO_TIME_BASE, KEYFRAME_INTERVAL_FRAMES
        codec.thread_count = 1  # the networks use the other cores
        codec.colorspace, codec.color_range = Colorspace.SMPTE170M, ColorRange.MPEG  # of cv2.COLOR_RGB2YUV_I420
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return video

    def _write_image(self, image: np.ndarray, time: Fraction, seconds: Fraction) -> None:
        # OpenCV's conversion is 4 times as fast as FFmpeg's.
        planes: np.ndarray = cv2.cvtColor(pad_to_even(image), cv2.COLOR_RGB2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(time / VIDEO_TIME_BASE), VIDEO_TIME_BASE
        for packet in self._video.encode(frame):
            packet.duration = round(seconds / VIDEO_TIME_BASE)
            self._container.mux(packet)

    def _write_audio(self, samples: np.ndarray, time: Fraction) -> None:
        block = np.clip(samples, -1, 1, dtype=np.float32)[None]
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, round(time * AUDIO_RATE), Fraction(1, AUDIO_RATE)
        for packet in self._audio.encode(frame):
            if packet.pts is not None and packet.pts >= 0:  # the first packet has the encoder's delay, before time 0
                self._container.mux(packet)

    def _failure(self, error: Exception) -> InputError:
        reason = error.strerror if isinstance(error, av.FFmpegError) else error
        return InputError(
            f"{self._name}: cannot be encoded ({reason}); choose the format jpeg, or a face of another size"
        )


class _Output:
    """File of the muxer; it cannot be read or sought, so the muxer never goes back to change what was sent."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        """Append bytes; return their number."""
        self._data += data
        return len(data)

    def take(self) -> bytes:
        """Return the bytes since the last call."""
        data = bytes(self._data)
        self._data.clear()
        return data
