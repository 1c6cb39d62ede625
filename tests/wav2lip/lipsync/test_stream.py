"""Streams and files from the library: arrays, cancellation, threads, cleanup."""

import gc
import os
import re
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from face_detection import build_detector
from models import Wav2Lip
from tests.helpers.lipsync import MAGENTA, ColorDetector, MemorySource, ScriptedDetector, paint_faces
from tests.helpers.media import ffmpeg, remux_audio, tone, write_video, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.engine.inputs import audio_as_file
from wav2lip.errors import InputError
from wav2lip.lipsync import Cancelled, LipSync, LipSyncOptions
from wav2lip.media import probe, read_frames

BOX = (60, 180, 90, 200)  # top, bottom, left, right
BOXED = LipSyncOptions(box=BOX)


def lipsync(detector=None):
    torch.manual_seed(0)
    build = lambda batch_size, compat: detector or ScriptedDetector([(90, 60, 200, 180)])  # noqa: E731
    return LipSync(Wav2Lip(width=0.125), torch.device("cpu"), build)


def darkening_frames(portrait, frames=30):
    """Return frames of the portrait that get darker, (N, H, W, 3)."""
    return np.stack([(portrait * (1 - n / 50)).astype(np.uint8) for n in range(frames)])


def list_stage_threads():
    """Return the running threads of stages."""
    return [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_stream_equals_file(tmp_path, portrait):
    frames = list(darkening_frames(portrait))
    for n in (*range(10), *range(20, 30)):
        frames[n] = paint_faces(frames[n], (MAGENTA, (90, 60, 200, 180)))
    video = write_video(tmp_path / "face.mp4", frames)
    audio = write_wav(tmp_path / "audio.wav", tone(1.0))
    result = lipsync(ColorDetector())(video, audio, tmp_path / "out.mp4")
    with lipsync(ColorDetector()).stream(video, audio) as stream:
        assert (stream.length, stream.fps, stream.size) == (25, Fraction(25), (256, 256))
        frames = list(stream)
    assert result.without_face == stream.without_face == [(0.4, 0.8)]
    decoded_frames = list(read_frames(result.outfile))
    assert len(frames) == len(decoded_frames) == 25
    for streamed, decoded in zip(frames, decoded_frames, strict=True):
        assert (streamed.shape, streamed.dtype) == ((256, 256, 3), np.uint8)
        assert np.abs(streamed.astype(int) - decoded).mean() < 3  # loss of the encoder


def test_arrays_give_the_video_of_files(tmp_path, portrait):
    frames, audio = darkening_frames(portrait), np.stack([tone(0.8, 44_100), 0.5 * tone(0.8, 44_100)], axis=1)
    levels = np.rint(audio * 32767).astype(np.int16)
    from_files = lipsync()(
        write_video(tmp_path / "face.mp4", list(frames)), write_wav(tmp_path / "s.wav", audio, 44_100),
        tmp_path / "files.mp4", BOXED,
    )  # fmt: skip
    before = frames.copy()
    from_arrays = lipsync()(frames, (levels, 44_100), tmp_path / "arrays.mp4", BOXED)
    np.testing.assert_array_equal(frames, before)
    assert (from_arrays.frames, from_arrays.fps) == (from_files.frames, from_files.fps) == (20, 25)
    for actual, expected in zip(read_frames(from_arrays.outfile), read_frames(from_files.outfile), strict=True):
        assert np.abs(actual.astype(int) - expected).mean() < 4  # the video is encoded once more
    assert probe(from_arrays.outfile).require_audio().channels == 2
    np.testing.assert_allclose(loudness(from_arrays.outfile), [0.3 / 2**0.5, 0.15 / 2**0.5], rtol=0.05)


def loudness(path):
    """Return the root mean square of each channel."""
    with av.open(str(path)) as container:
        planes = av.AudioResampler(format="fltp")
        frames = [plane for frame in container.decode(audio=0) for plane in planes.resample(frame)]
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    return np.sqrt((samples[:, 4000:-4000].astype(float) ** 2).mean(axis=1))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_samples_of_every_dtype_are_equal(portrait, dtype):
    levels = tone(0.4)
    scaled = {"u": 128 + 127 * levels, "i": levels * np.iinfo(np.int32).max, "f": levels}[np.dtype(dtype).kind]
    samples = (scaled / 65536).astype(dtype) if dtype is np.int16 else scaled.astype(dtype)
    with lipsync().stream(portrait, (levels, 16_000), BOXED) as stream:
        expected = np.stack(list(stream))
    with lipsync().stream(portrait, (samples, 16_000), BOXED) as stream:
        frames = np.stack(list(stream))
    assert stream.length == 10
    assert np.abs(frames.astype(int) - expected).mean() < 1  # quantization of 8-bit audio


@pytest.mark.parametrize(("face", "message"), [
    (np.zeros((4, 64, 64), np.uint8), r"uint8 and shape \(4, 64, 64\): must be uint8 RGB"),
    (np.zeros((64, 64, 3), np.float32), "frames of float32"),
    (np.zeros((0, 64, 64, 3), np.uint8), r"shape \(0, 64, 64, 3\)"),
])  # fmt: skip
def test_invalid_frame_arrays_are_rejected(face, message):
    with pytest.raises(InputError, match=message):
        lipsync().stream(face, (tone(0.2), 16_000), BOXED)


@pytest.mark.parametrize("convert", [
    lambda levels: (levels.astype(">f8"), 16_000), lambda levels: (levels.tolist(), 16_000),
    lambda levels: (levels, np.int64(16_000)), lambda levels: (levels, 16_000.0),
], ids=["big-endian", "list", "rate int64", "rate float"])  # fmt: skip
def test_audio_as_file_is_lossless(convert):
    levels = tone(0.1).astype(np.float64)
    with audio_as_file(convert(levels)) as path, av.open(str(path)) as container:
        written = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    np.testing.assert_array_equal(written[0], levels)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_non_finite_samples_are_rejected(value, portrait):
    samples = tone(0.2).astype(np.float64)
    samples[100] = value
    with pytest.raises(InputError, match=r"^audio: samples must be finite"):
        lipsync().stream(portrait, (samples, 16_000), BOXED)


@pytest.mark.parametrize("audio", [
    (np.zeros((16_000, 9)), 16_000), (np.zeros(0), 16_000), (np.zeros(160, np.int64), 16_000), (np.zeros(160), 0),
    (np.zeros(160), 44_100.5), (np.zeros(160), "16 kHz"), (np.zeros(160),), np.zeros(160),
    ([[0.1], [0.1, 0.2]], 16_000), (0.5, 16_000), (["a", "b"], 16_000),
    (np.zeros(160), float("nan")), (np.zeros(160), 10**12),
], ids=["nine channels", "no samples", "64 bits", "rate of 0", "fractional rate", "text as rate", "without a rate",
        "not a pair", "ragged", "one number", "text", "rate of NaN", "rate too high"])  # fmt: skip
def test_invalid_samples_are_rejected(audio, portrait):
    with pytest.raises(InputError, match="audio.*: must be "):
        lipsync().stream(portrait, audio, BOXED)


def test_cancellation_is_asked_for_each_packet(tmp_path):
    def stop_time(packet):
        packet.pts = packet.dts = 0

    # 2 s in packets of 32 ms, whose timestamps stand still, so that reading them yields little.
    plain = write_wav(tmp_path / "a.wav", tone(2.0))
    flac = ffmpeg("-i", plain, "-c:a", "flac", "-frame_size", "512", tmp_path / "a.mkv")
    audio, calls = remux_audio(flac, tmp_path / "b.mkv", stop_time), []

    def is_cancelled():
        calls.append(1)
        return len(calls) >= 20

    with pytest.raises(Cancelled):
        lipsync().stream(np.zeros((2, 64, 64, 3), np.uint8), audio, BOXED, is_cancelled)
    assert len(calls) == 20


@pytest.mark.parametrize("max_calls", [0, 12])
@pytest.mark.parametrize("detected", [True, False])
def test_cancelled_run_leaves_no_file_and_no_thread(tmp_path, portrait, max_calls, detected):
    calls = []

    def is_cancelled():
        calls.append(1)
        return len(calls) > max_calls

    options = LipSyncOptions() if detected else BOXED
    with pytest.raises(Cancelled) as raised:
        lipsync()(
            darkening_frames(portrait), (tone(60.0), 16_000), tmp_path / "out.mp4", options, is_cancelled=is_cancelled
        )
    assert max_calls < len(calls) <= max_calls + 20  # few frames are read ahead, not the whole minute
    assert list(tmp_path.iterdir()) == []
    assert list_stage_threads() == [], raised  # although the exception keeps the frames of its traceback alive


def test_exception_of_progress_leaves_no_file(tmp_path, portrait):
    def fail_at_third(stage, completed, total):
        assert (stage, total) == ("lips", 100)
        if completed == 3:
            raise KeyError("error of the callback")

    with pytest.raises(KeyError, match="error of the callback"):
        lipsync()(portrait, (tone(4.0), 16_000), tmp_path / "out.mp4", BOXED, fail_at_third)
    assert list(tmp_path.iterdir()) == []
    assert list_stage_threads() == []


def test_stream_can_be_closed_at_any_moment(tmp_path, portrait, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for num_frames in (0, 1, 11):
        stream = lipsync().stream(darkening_frames(portrait), (tone(2.0), 16_000), BOXED)
        assert list(tmp_path.iterdir()) != []  # the temporary audio file
        for _ in range(num_frames):
            next(stream)
        stream.close()
        stream.close()
        assert next(stream, None) is None
        assert list(tmp_path.iterdir()) == []
        assert list_stage_threads() == []


class BlockingSource:
    """A source that blocks at one frame until it is released."""

    def __init__(self, frames):
        self.started, self.released = threading.Event(), threading.Event()
        self.source = MemorySource(frames)
        self.path, self.fps, self.static, self.stated_frames = "slow", Fraction(25), False, len(frames)

    def frames(self, first=0, last=None):
        for number, frame in enumerate(self.source.frames(first, last)):
            if number == 20:
                self.started.set()
                assert self.released.wait(60)
            yield frame


def test_stream_can_be_closed_by_another_thread(tmp_path, portrait, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    slow = BlockingSource(darkening_frames(portrait, 100))
    stream = lipsync().stream(slow, (tone(4.0), 16_000), BOXED)
    with ThreadPoolExecutor(2, thread_name_prefix="caller") as pool:
        reading = pool.submit(lambda: sum(1 for _ in stream))
        assert slow.started.wait(60)
        closing = pool.submit(stream.close)
        slow.released.set()
        closing.result(60)
        assert reading.result(60) == stream.num_read < 100  # the stream ended without an exception
    assert list(tmp_path.iterdir()) == []
    assert [thread for thread in list_stage_threads() if not thread.name.startswith("caller")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="open files are read from /proc")
def test_audio_file_is_closed_before_its_folder_is_deleted(tmp_path, portrait, monkeypatch):
    open_files = []

    class Folder(tempfile.TemporaryDirectory):
        def __exit__(self, *details):
            for number in os.listdir("/proc/self/fd"):
                try:
                    target = os.readlink(f"/proc/self/fd/{number}")
                except FileNotFoundError:  # the descriptor of listdir itself
                    continue
                open_files.extend([target] if target.startswith(self.name) else [])
            super().__exit__(*details)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Folder)
    stream = lipsync().stream(darkening_frames(portrait), (tone(20.0), 16_000), BOXED)
    next(stream)
    stream.close()
    assert open_files == []


def test_generator_error_reaches_caller_and_ends_threads(portrait):
    engine = lipsync()
    engine.generator = FailingGenerator(engine.generator)
    with engine.stream(darkening_frames(portrait), (tone(2.0), 16_000), BOXED) as stream:
        with pytest.raises(ZeroDivisionError) as raised:
            next(stream)
        gc.disable()
        try:
            assert list_stage_threads() == [], raised
        finally:
            gc.enable()


class FailingGenerator:
    """A generator that fails."""

    def __init__(self, generator):
        self.resolution, self.devices = generator.resolution, generator.devices
        self.limit_batch_size, self.call_size = generator.limit_batch_size, generator.call_size

    def with_precision(self, _):
        return self

    def __call__(self, *_):
        raise ZeroDivisionError


def test_overlapped_stages_give_equal_frames(portrait):
    results = []
    for device in ("cpu", "cuda"):
        engine = lipsync()
        engine.device = torch.device(device)  # the device of the detector; the generator stays on the CPU
        with engine.stream(darkening_frames(portrait), (tone(1.0), 16_000), BOXED) as frames:
            results.append(np.stack(list(frames)))
        with engine.stream(darkening_frames(portrait), (tone(1.0), 16_000), BOXED) as frames:
            next(frames)
        assert list_stage_threads() == []
    np.testing.assert_array_equal(*results)


def test_stream_accepts_any_source(portrait):
    with lipsync().stream(MemorySource(darkening_frames(portrait, 4)), (tone(0.4), 16_000), BOXED) as stream:
        corners = [int(frame[10, 10, 0]) for frame in stream]
    assert corners == [int(frame[10, 10, 0]) for frame in darkening_frames(portrait, 4)] * 2 + corners[:2]


def test_example_of_library_page_runs(tmp_path, portrait, monkeypatch, capsys):
    page = (Path(__file__).parents[3] / "docs" / "library.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "wav2lip.lipsync.closed_mouth_reference.build_detector", lambda *_, **__: ScriptedDetector([(90, 60, 200, 180)])
    )
    save_checkpoint(tmp_path / "generator.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    write_wav(tmp_path / "speech.wav", tone(0.2))
    write_video(tmp_path / "person.mp4", list(darkening_frames(portrait, 5)))
    exec(compile(example, "docs/library.md", "exec"), {})
    output = capsys.readouterr().out.splitlines()
    assert output[:2] == ["5 25 []", "(256, 256) 25 5"]
    assert len(output) == 7


@pytest.mark.parametrize("detector", ["mtcnn", "haar"])
def test_concurrent_requests_equal_sequential_ones(portrait, detector):
    built = []

    def build(batch_size, compat):
        built.append(batch_size)
        return build_detector(detector, batch_size=batch_size, compat=compat)

    torch.manual_seed(0)
    engine = LipSync(Wav2Lip(width=0.125), torch.device("cpu"), build)
    frames = darkening_frames(portrait[::2, ::2], 3)
    faces = [frames, frames[:, :, ::-1], np.roll(frames, 10, axis=2)]
    audio_inputs = [(tone(0.2, hertz=hertz), 16_000) for hertz in (150, 300, 600)]

    def request(face, audio):
        with engine.stream(face, audio) as stream:
            return np.stack(list(stream))

    with ThreadPoolExecutor(3, thread_name_prefix="caller") as pool:
        concurrent = list(pool.map(request, faces, audio_inputs))
    assert len(built) == 1
    sequential = [request(face, audio) for face, audio in zip(faces, audio_inputs, strict=True)]
    for actual, expected, face in zip(concurrent, sequential, faces, strict=True):
        np.testing.assert_array_equal(actual, expected)
        assert (actual != face[np.arange(len(actual)) % 3]).any()
