"""The live engine: threads, real time, back-pressure, and the end of a stream."""

import asyncio
import time
from fractions import Fraction

import numpy as np
import pytest

from tests.helpers.live import RATE, live_engine, prepare_noise, voice
from wav2lip.errors import InputError
from wav2lip.live import LiveLipSync
from wav2lip.live.clock import MEASURED_FRAMES, Clock, RateControl
from wav2lip.live.lipsync import BATCH_SIZE, QUEUED_FRAMES


@pytest.fixture(scope="module")
def engine():
    return live_engine()


@pytest.fixture(scope="module")
def face(engine, tmp_path_factory):
    return prepare_noise(tmp_path_factory.mktemp("face") / "face.w2l", engine)


def test_frames_of_audio_without_a_clock(engine, face):
    speech = voice(1.0)
    with LiveLipSync(face, engine, realtime=False) as live:
        for first in range(0, len(speech), 1000):
            live.push(speech[first : first + 1000], RATE)
        live.end()
        frames = list(live)
        with pytest.raises(InputError, match="ended"):
            live.push(speech, RATE)
    assert len(frames) == 25
    assert np.array_equal(np.concatenate([frame.audio for frame in frames]), speech)


def test_wrong_audio_is_an_error_of_its_push(engine, face):
    with LiveLipSync(face, engine, realtime=False) as live:
        for samples, rate in [(np.zeros(10), 0), (np.zeros(10), 1e9), (np.zeros(10, np.uint8), RATE)]:
            with pytest.raises(InputError, match="^audio "):
                live.push(samples, rate)
        live.push(np.zeros(3200, np.float32), RATE)
        live.end()
        assert len(list(live)) == 5


def test_async_iteration(engine, face):
    async def count() -> int:
        with LiveLipSync(face, engine, realtime=False) as live:
            live.push(np.zeros(3200, np.float32), RATE)
            live.end()
            return len([frame async for frame in live])

    assert asyncio.run(count()) == 5


def test_real_time_idles_until_audio_arrives_and_holds_late_audio(engine, face):
    speech = voice(0.4)
    with LiveLipSync(face, engine, adapt_fps=False) as live:
        frames = [next(live) for _ in range(5)]
        assert not any(frame.audio.any() for frame in frames)
        live.push(speech[:3200], RATE)
        frames += [next(live) for _ in range(12)]
        live.push(speech[3200:], RATE)
        live.end()
        frames += list(live)
    audio = np.concatenate([frame.audio for frame in frames])
    heard = audio[np.flatnonzero(audio)[0] : np.flatnonzero(audio)[-1] + 1]
    assert np.isin(speech[speech != 0], heard).all()  # nothing is dropped, only delayed
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in range(len(frames))]


def test_push_waits_while_much_audio_is_queued(engine, face):
    with LiveLipSync(face, engine, realtime=False) as live:
        for _ in range(7):
            live.push(np.zeros(10 * RATE, np.float32), RATE, timeout=5)
        with pytest.raises(TimeoutError):
            live.push(np.zeros(10 * RATE, np.float32), RATE, timeout=0.05)


class CountingPainter:
    """Generator backend that counts the faces it paints."""

    resolution, framing = 96, None

    def __init__(self):
        self.count = 0

    def load(self, device, precision):
        def paint(mels, faces, first_row=0):
            self.count += len(mels)
            return np.zeros((len(mels), 96, 96, 3), np.uint8)

        return paint


def test_generation_pauses_for_a_slow_consumer_and_skips_nothing(engine, face):
    painter = CountingPainter()
    counting = type(engine)(painter, engine.device, lambda batch_size, compat: None)
    samples = np.linspace(0.01, 0.9, 3 * RATE, dtype=np.float32)
    with LiveLipSync(face, counting, realtime=False) as live:
        live.push(samples, RATE)
        live.end()
        first = next(live)
        deadline, seen = time.monotonic() + 10, 0
        while time.monotonic() < deadline and (painter.count > seen or seen < QUEUED_FRAMES):
            seen = painter.count
            time.sleep(0.3)
        # The frame that was taken, those that wait for the consumer, two batches, and the one that loads the generator.
        assert QUEUED_FRAMES < painter.count <= 1 + QUEUED_FRAMES + 2 * BATCH_SIZE + 1
        frames = [first, *live]
    assert painter.count == len(frames) + 1 == 76
    assert np.array_equal(np.concatenate([frame.audio for frame in frames]), samples)


def play_with_a_stall(engine, face, max_delay_s):
    """Return the audio of the frames of 2 s of a ramp whose consumer pauses for 1.3 s, and the ramp."""
    ramp = np.linspace(0.01, 0.9, 2 * RATE, dtype=np.float32)
    with LiveLipSync(face, engine, adapt_fps=False, max_delay_s=max_delay_s) as live:
        next(live)  # the generator is loaded
        for piece in np.split(ramp, 20):
            live.push(piece, RATE)
        frames = [next(live) for _ in range(12)]
        time.sleep(1.3)
        live.end()
        frames += list(live)
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in range(1, len(frames) + 1)]
    audio = np.concatenate([frame.audio for frame in frames])
    return audio[audio > 0], ramp


def test_slow_consumer_delays_the_stream(engine, face):
    heard, ramp = play_with_a_stall(engine, face, None)
    assert np.array_equal(heard, ramp)


def test_delay_of_a_slow_consumer_is_limited(engine, face, caplog):
    heard, ramp = play_with_a_stall(engine, face, 0.5)
    positions = np.searchsorted(ramp, heard)
    assert np.array_equal(ramp[positions], heard)
    gaps = np.diff(positions) - 1
    assert gaps.min() == 0 and positions[0] == 0  # in order; only whole stretches are missing
    dropped = len(ramp) - len(heard)
    assert dropped >= 0.5 * RATE and gaps.max() + len(ramp) - 1 - positions[-1] >= 0.5 * RATE
    assert "of audio, as the stream was delayed by more than max_delay_s=0.5" in caplog.text


def test_limit_of_the_delay_below_that_of_the_clock_is_rejected(engine, face):
    with pytest.raises(InputError, match=r"max_delay_s=0.1: must be at least 0.5 s"):
        LiveLipSync(face, engine, max_delay_s=0.1)


def test_close_ends_waiting_consumers(engine, face):
    live = LiveLipSync(face, engine, realtime=False)
    begin = time.monotonic()
    live.close()
    assert list(live) == []
    assert time.monotonic() - begin < 5


def test_error_of_the_generator_reaches_the_consumer(engine, face):
    class Broken:
        resolution, framing = 96, None

        def load(self, device, precision):
            raise RuntimeError("out of memory")

    broken = type(engine)(Broken(), engine.device, lambda batch_size, compat: None)
    with LiveLipSync(face, broken, realtime=False) as live, pytest.raises(RuntimeError, match="out of memory"):
        next(live)


def test_clock_is_held_after_a_long_delay():
    now = [0.0]
    clock = Clock(lambda: now[0])
    first = clock.until_due(Fraction(0))
    now[0] = first + 2.0
    assert clock.until_due(Fraction(0)) == pytest.approx(-2)
    assert clock.record(Fraction(0), 0.04)
    assert clock.until_due(Fraction(0)) == pytest.approx(0)  # the stream goes on from here
    assert (clock.num_frames, clock.num_late) == (1, 1)
    assert clock.held_s == pytest.approx(2)


def record_frames(rate: RateControl, count: int, is_late: bool, busy_s: float) -> None:
    for _ in range(count):
        rate.record(is_late, busy_s)


def test_rate_is_lowered_after_late_frames_and_raised_again():
    rate = RateControl(25)
    record_frames(rate, MEASURED_FRAMES, True, 0.06)
    assert rate.fps == 20
    record_frames(rate, 10 * MEASURED_FRAMES, False, 0.033)  # 82 % of the time at 25 fps
    assert rate.fps == 20
    record_frames(rate, MEASURED_FRAMES, False, 0.031)  # 78 %
    assert rate.fps == 25


def test_each_lower_rate_doubles_the_frames_in_time_before_a_higher_one():
    rate = RateControl(25)
    for frames in (2 * MEASURED_FRAMES, 4 * MEASURED_FRAMES, 8 * MEASURED_FRAMES):
        record_frames(rate, MEASURED_FRAMES, True, 0.06)
        assert rate.fps == 20
        record_frames(rate, frames - 1, False, 0.01)
        assert rate.fps == 20
        record_frames(rate, 1, False, 0.01)
        assert rate.fps == 25


def test_late_frame_starts_the_count_of_frames_in_time_again():
    rate = RateControl(25)
    record_frames(rate, MEASURED_FRAMES, True, 0.06)
    record_frames(rate, 2 * MEASURED_FRAMES - 1, False, 0.01)
    record_frames(rate, 1, True, 0.06)
    record_frames(rate, 2 * MEASURED_FRAMES - 1, False, 0.01)
    assert rate.fps == 20
