"""The library gives frames or writes files, for callers with threads, arrays and second thoughts."""

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
from tests.conftest import tone, write_video, write_wav
from tests.wav2lip.lipsync.painted import MAGENTA, ByColour, painted
from tests.wav2lip.test_lipsync import Detector, Frames
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import InputError
from wav2lip.lipsync import Cancelled, LipSync, Options
from wav2lip.lipsync.given import sound_file
from wav2lip.media import probe, read_frames

BOX = (60, 180, 90, 200)  # top, bottom, left, right
BOXED = Options(box=BOX)


def lipsync(detector=None):
    torch.manual_seed(0)
    build = lambda batch_size, compat: detector or Detector([(90, 60, 200, 180)])  # noqa: E731
    return LipSync(Wav2Lip(width=0.125), torch.device("cpu"), build)


def film(portrait, frames=30):
    """The portrait, getting darker, (N, H, W, 3)."""
    return np.stack([(portrait * (1 - n / 50)).astype(np.uint8) for n in range(frames)])


def workers():
    """Threads that stages run in."""
    return [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_a_stream_has_the_frames_that_the_file_shows(tmp_path, portrait):
    frames = list(film(portrait))
    for n in (*range(10), *range(20, 30)):
        frames[n] = painted(frames[n], (MAGENTA, (90, 60, 200, 180)))
    video = write_video(tmp_path / "face.mp4", frames)
    sound = write_wav(tmp_path / "sound.wav", tone(1.0))
    result = lipsync(ByColour())(video, sound, tmp_path / "out.mp4")
    with lipsync(ByColour()).stream(video, sound) as made:
        assert (made.length, made.fps, made.size) == (25, Fraction(25), (256, 256))
        frames = list(made)
    assert result.without_face == made.without_face == [(0.4, 0.8)]
    shown = list(read_frames(result.outfile))
    assert len(frames) == len(shown) == 25
    for streamed, decoded in zip(frames, shown, strict=True):
        assert (streamed.shape, streamed.dtype) == ((256, 256, 3), np.uint8)
        assert np.abs(streamed.astype(int) - decoded).mean() < 3  # what the encoder changes


def test_frames_and_samples_in_memory_become_the_video_that_files_become(tmp_path, portrait):
    frames, sound = film(portrait), np.stack([tone(0.8, 44_100), 0.5 * tone(0.8, 44_100)], axis=1)
    levels = np.rint(sound * 32767).astype(np.int16)
    of_files = lipsync()(
        write_video(tmp_path / "face.mp4", list(frames)), write_wav(tmp_path / "s.wav", sound, 44_100),
        tmp_path / "files.mp4", BOXED,
    )  # fmt: skip
    before = frames.copy()
    of_arrays = lipsync()(frames, (levels, 44_100), tmp_path / "arrays.mp4", BOXED)
    np.testing.assert_array_equal(frames, before)
    assert (of_arrays.frames, of_arrays.fps) == (of_files.frames, of_files.fps) == (20, 25)
    for ours, theirs in zip(read_frames(of_arrays.outfile), read_frames(of_files.outfile), strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 4
    assert probe(of_arrays.outfile).require_audio().channels == 2
    np.testing.assert_allclose(loudness(of_arrays.outfile), [0.3 / 2**0.5, 0.15 / 2**0.5], rtol=0.05)


def loudness(path):
    """Root mean square of each channel."""
    with av.open(str(path)) as container:
        planes = av.AudioResampler(format="fltp")
        frames = [plane for frame in container.decode(audio=0) for plane in planes.resample(frame)]
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    return np.sqrt((samples[:, 4000:-4000].astype(float) ** 2).mean(axis=1))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_samples_of_every_kind_are_heard_alike(portrait, dtype):
    levels = tone(0.4)
    scaled = {"u": 128 + 127 * levels, "i": levels * np.iinfo(np.int32).max, "f": levels}[np.dtype(dtype).kind]
    samples = (scaled / 65536).astype(dtype) if dtype is np.int16 else scaled.astype(dtype)
    with lipsync().stream(portrait, (levels, 16_000), BOXED) as made:
        expected = np.stack(list(made))
    with lipsync().stream(portrait, (samples, 16_000), BOXED) as made:
        frames = np.stack(list(made))
    assert made.length == 10
    assert np.abs(frames.astype(int) - expected).mean() < 1


@pytest.mark.parametrize(("face", "sentence"), [
    (np.zeros((4, 64, 64), np.uint8), r"the given frames are uint8 of shape \(4, 64, 64\); give uint8 RGB"),
    (np.zeros((64, 64, 3), np.float32), "the given frames are float32 of shape"),
    (np.zeros((0, 64, 64, 3), np.uint8), r"the given frames are uint8 of shape \(0, 64, 64, 3\)"),
])  # fmt: skip
def test_arrays_that_are_no_frames_are_refused(face, sentence):
    with pytest.raises(InputError, match=sentence):
        lipsync().stream(face, (tone(0.2), 16_000), BOXED)


@pytest.mark.parametrize("given", [
    lambda levels: (levels.astype(">f8"), 16_000), lambda levels: (levels.tolist(), 16_000),
    lambda levels: (levels, np.int64(16_000)), lambda levels: (levels, 16_000.0),
], ids=["big-endian", "list", "rate int64", "rate float"])  # fmt: skip
def test_samples_and_rates_as_other_programs_have_them_are_written_bit_for_bit(given):
    levels = tone(0.1).astype(np.float64)
    with sound_file(given(levels)) as path, av.open(str(path)) as container:
        written = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    np.testing.assert_array_equal(written[0], levels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_samples_that_are_no_numbers_are_refused_as_the_sound_that_was_given(bad, portrait):
    samples = tone(0.2).astype(np.float64)
    samples[100] = bad
    with pytest.raises(InputError, match=r"^the given sound holds values that are not finite numbers; give samples"):
        lipsync().stream(portrait, (samples, 16_000), BOXED)


@pytest.mark.parametrize("sound", [
    (np.zeros((16_000, 9)), 16_000), (np.zeros(0), 16_000), (np.zeros(160, np.int64), 16_000), (np.zeros(160), 0),
    (np.zeros(160), 44_100.5), (np.zeros(160), "16 kHz"), (np.zeros(160),), np.zeros(160),
    ([[0.1], [0.1, 0.2]], 16_000), (0.5, 16_000), (["a", "b"], 16_000),
    (np.zeros(160), float("nan")), (np.zeros(160), 10**12),
], ids=["nine channels", "no sample", "64 bits", "no rate", "half a sample", "words for a rate", "without a rate",
        "no pair", "ragged", "one number", "words", "rate is no number", "beyond all rates"])  # fmt: skip
def test_arrays_that_are_no_sound_are_refused(sound, portrait):
    with pytest.raises(InputError, match="the given sound is .*; give "):
        lipsync().stream(portrait, sound, BOXED)


@pytest.mark.parametrize("seen", [0, 12])
@pytest.mark.parametrize("detected", [True, False])
def test_a_cancelled_run_stops_at_once_and_leaves_no_file_and_no_thread(tmp_path, portrait, seen, detected):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > seen

    options = Options() if detected else BOXED
    with pytest.raises(Cancelled) as raised:
        lipsync()(film(portrait), (tone(60.0), 16_000), tmp_path / "out.mp4", options, cancelled=cancelled)
    assert seen < len(asked) <= seen + 20  # further frames are read ahead, never a minute of them
    assert list(tmp_path.iterdir()) == []
    assert workers() == [], raised  # though the exception, and what its traceback knows, is held


def test_what_progress_raises_ends_the_run_and_leaves_no_file(tmp_path, portrait):
    def progress(stage, done, total):
        assert (stage, total) == ("lips", 100)
        if done == 3:
            raise KeyError("the listener's own trouble")

    with pytest.raises(KeyError, match="own trouble"):
        lipsync()(portrait, (tone(4.0), 16_000), tmp_path / "out.mp4", BOXED, progress)
    assert list(tmp_path.iterdir()) == []
    assert workers() == []


def test_a_stream_can_be_closed_at_any_moment(tmp_path, portrait, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for taken in (0, 1, 11):
        made = lipsync().stream(film(portrait), (tone(2.0), 16_000), BOXED)
        assert list(tmp_path.iterdir()) != []  # the samples
        for _ in range(taken):
            next(made)
        made.close()
        made.close()
        assert next(made, None) is None
        assert list(tmp_path.iterdir()) == []
        assert workers() == []


class Slow:
    """Frames of which one is not made before it is let go on."""

    def __init__(self, frames):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.source = Frames(frames)
        self.path, self.fps, self.static, self.stated_frames = "slow", Fraction(25), False, len(frames)

    def frames(self, first=0, last=None):
        for number, frame in enumerate(self.source.frames(first, last)):
            if number == 20:
                self.begun.set()
                assert self.go_on.wait(60)
            yield frame


def test_a_stream_is_closed_by_another_thread_while_a_frame_is_made(tmp_path, portrait, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    slow = Slow(film(portrait, 100))
    made = lipsync().stream(slow, (tone(4.0), 16_000), BOXED)
    with ThreadPoolExecutor(2, thread_name_prefix="caller") as callers:
        taking = callers.submit(lambda: sum(1 for _ in made))
        assert slow.begun.wait(60)
        closing = callers.submit(made.close)
        slow.go_on.set()
        closing.result(60)
        assert taking.result(60) == made.taken < 100  # it ended, and not by an exception
    assert list(tmp_path.iterdir()) == []
    assert [thread for thread in workers() if not thread.name.startswith("caller")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="open files are told by /proc")
def test_the_file_of_the_samples_is_no_longer_open_when_its_folder_goes(tmp_path, portrait, monkeypatch):
    open_then = []

    class Folder(tempfile.TemporaryDirectory):
        def __exit__(self, *details):
            for number in os.listdir("/proc/self/fd"):
                try:
                    target = os.readlink(f"/proc/self/fd/{number}")
                except FileNotFoundError:  # the listing's own
                    continue
                open_then.extend([target] if target.startswith(self.name) else [])
            super().__exit__(*details)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Folder)
    made = lipsync().stream(film(portrait), (tone(20.0), 16_000), BOXED)
    next(made)
    made.close()
    assert open_then == []


def test_trouble_in_the_generator_reaches_the_caller_and_leaves_no_thread(portrait):
    ours = lipsync()
    ours.repainter = Broken(ours.repainter)
    with ours.stream(film(portrait), (tone(2.0), 16_000), BOXED) as made:
        with pytest.raises(ZeroDivisionError) as raised:
            next(made)
        gc.disable()
        try:
            assert workers() == [], raised
        finally:
            gc.enable()


class Broken:
    """A generator that fails."""

    def __init__(self, repainter):
        self.resolution, self.at_most, self.at_once = repainter.resolution, repainter.at_most, repainter.at_once
        self.devices = repainter.devices

    def in_precision(self, _):
        return self

    def __call__(self, *_):
        raise ZeroDivisionError


def test_stages_beside_each_other_as_on_a_gpu_make_the_same_frames_and_end(portrait):
    made = []
    for device in ("cpu", "cuda"):
        ours = lipsync()
        ours.device = torch.device(device)  # where faces would be found; the generator stays
        with ours.stream(film(portrait), (tone(1.0), 16_000), BOXED) as frames:
            made.append(np.stack(list(frames)))
        with ours.stream(film(portrait), (tone(1.0), 16_000), BOXED) as frames:
            next(frames)
        assert workers() == []
    np.testing.assert_array_equal(*made)


def test_any_source_whose_frames_can_be_read_again_will_do(portrait):
    with lipsync().stream(Frames(film(portrait, 4)), (tone(0.4), 16_000), BOXED) as made:
        corners = [int(frame[10, 10, 0]) for frame in made]
    assert corners == [int(frame[10, 10, 0]) for frame in film(portrait, 4)] * 2 + corners[:2]


def test_the_example_in_the_documents_runs(tmp_path, portrait, monkeypatch, capsys):
    page = (Path(__file__).parents[3] / "docs" / "library.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wav2lip.lipsync.engine.build_detector", lambda *_, **__: Detector([(90, 60, 200, 180)]))
    save_checkpoint(tmp_path / "generator.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    write_wav(tmp_path / "speech.wav", tone(0.2))
    write_video(tmp_path / "person.mp4", list(film(portrait, 5)))
    exec(compile(example, "docs/library.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["5 25 []", "(256, 256) 25 5"]
    assert len(said) == 7


@pytest.mark.parametrize("detector", ["mtcnn", "haar"])
def test_requests_from_several_threads_get_the_frames_they_get_alone(portrait, detector):
    built = []

    def build(batch_size, compat):
        built.append(batch_size)
        return build_detector(detector, batch_size=batch_size, compat=compat)

    torch.manual_seed(0)
    ours = LipSync(Wav2Lip(width=0.125), torch.device("cpu"), build)
    frames = film(portrait[::2, ::2], 3)
    faces = [frames, frames[:, :, ::-1], np.roll(frames, 10, axis=2)]
    sounds = [(tone(0.2, hertz=hertz), 16_000) for hertz in (150, 300, 600)]

    def request(face, sound):
        with ours.stream(face, sound) as made:
            return np.stack(list(made))

    with ThreadPoolExecutor(3, thread_name_prefix="caller") as callers:
        together = list(callers.map(request, faces, sounds))
    assert len(built) == 1
    alone = [request(face, sound) for face, sound in zip(faces, sounds, strict=True)]
    for one, other, given in zip(together, alone, faces, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one != given[np.arange(len(one)) % 3]).any()
