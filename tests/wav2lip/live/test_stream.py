"""Live streams: equal to the offline engine for any pieces of audio, interruptions, changes of rate."""

import numpy as np
import pytest

from tests.helpers.live import RATE, live_engine, prepare_noise, voice
from wav2lip.engine.prepared import PreparedFace
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSyncOptions
from wav2lip.lipsync.mouth_gate import stream_openness
from wav2lip.live import LipStream


@pytest.fixture(scope="module")
def engine():
    return live_engine()


@pytest.fixture(scope="module")
def face(engine, tmp_path_factory):
    return PreparedFace(prepare_noise(tmp_path_factory.mktemp("face") / "face.w2l", engine))


@pytest.fixture(scope="module")
def speech():
    """0.8 s of voice, 0.7 s of silence, 0.5 s of voice."""
    sound = voice(1.3)
    return np.concatenate([sound[:12_800], np.zeros(11_200, np.float32), sound[12_800:]])


def play(stream, samples, sizes, rate=RATE):
    frames, first = [], 0
    for size in sizes:
        stream.push(samples[first : first + size], rate)
        frames += stream.frames()
        first += size
    stream.push(samples[first:], rate)
    return frames + list(stream.frames()) + list(stream.finish())


@pytest.mark.parametrize("sizes", [(), (160,) * 190, (1, 5000, 37, 12_345, 800)])
def test_stream_equals_the_offline_engine(engine, face, speech, sizes):
    offline = list(engine.stream(face, (speech, RATE), LipSyncOptions()))
    frames = play(LipStream(face, engine.generator), speech, sizes)
    assert len(frames) == len(offline) == 50
    for frame, expected in zip(frames, offline, strict=True):
        assert np.abs(frame.image.astype(int) - expected).max() <= 1
    assert [float(frame.time) for frame in frames] == pytest.approx([n / 25 for n in range(50)])
    assert np.array_equal(np.concatenate([frame.audio for frame in frames]), speech)


def test_frame_needs_163_ms_of_audio_after_it(engine, face, speech):
    stream = LipStream(face, engine.generator)
    stream.push(speech[:2500], RATE)
    assert not list(stream.frames())
    stream.push(speech[2500:2700], RATE)  # mel column 11, whose 50 ms end at sample 2600, and voice decision 8 + 7
    assert len(list(stream.frames())) == 1


def test_mouth_gate_ignores_short_pauses_and_closes_in_long_ones():
    voice_steps = np.zeros(300, bool)
    voice_steps[50:100] = voice_steps[120:150] = True  # 0.5 to 1.0 s and 1.2 to 1.5 s
    speaking, openness = stream_openness(voice_steps, 75, 25)
    assert not openness[:10].any()
    assert (openness[16:43] == 1).all()  # open 0.12 s after 0.42 s, until 0.22 s after 1.5 s
    assert not openness[48:].any()
    assert speaking[11:43].all()
    assert not speaking[44:].any()
    assert np.abs(np.diff(openness)).max() < 0.6  # no jump


def test_interruption_closes_the_mouth_within_three_frames(engine, face, speech):
    stream = LipStream(face, engine.generator)
    stream.push(speech[:12_800], RATE)
    before = list(stream.frames())
    assert before[-1].is_speaking
    stream.interrupt()
    stream.push(np.zeros(9600, np.float32), RATE)
    after = list(stream.frames())
    assert after[0].time == before[-1].time + after[1].time - after[0].time
    assert not any(frame.audio.any() for frame in after)
    assert not any(frame.is_speaking for frame in after)
    closed = stream._gate.next(10.0, 0.04)  # far from any voice
    assert closed == (False, 0.0)


def test_change_of_rate_keeps_lips_and_audio_together(engine, face, speech):
    stream = LipStream(face, engine.generator)
    stream.push(speech[:16_000], RATE)
    first = list(stream.frames())
    stream.change_fps(20)
    stream.push(speech[16_000:], RATE)
    second = [*stream.frames(), *stream.finish()]
    assert {len(frame.audio) for frame in first} == {640}
    assert {len(frame.audio) for frame in second} == {800}
    audio = np.concatenate([frame.audio for frame in first + second])
    assert np.array_equal(audio[: len(speech)], speech)
    assert float(second[0].time) == len(first) / 25


def test_utterances_follow_each_other_on_the_frame_grid(engine, face, speech):
    stream = LipStream(face, engine.generator)
    frames = play(stream, speech[:1000], ()) + play(stream, speech[:640], ())
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.04, 0.08])
    assert np.array_equal(frames[2].audio, speech[:640])


def test_other_sample_rates_and_formats(engine, face):
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    stereo = (np.stack([tone, tone], axis=1) * 16384).astype(np.int16)
    stream = LipStream(face, engine.generator, audio_rate=24_000)
    frames = play(stream, stereo, (10_000,), 48_000)
    assert len(frames) == 25
    audio = np.concatenate([frame.audio for frame in frames])
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)
    assert np.abs(audio - expected)[500:-500].max() < 1e-3


@pytest.mark.parametrize(
    ("samples", "rate"),
    [(np.zeros((2, 2, 2), np.float32), RATE), (np.zeros(5, bool), RATE), (np.zeros(5, np.float32), 1),
     (np.full(5, np.nan, np.float32), RATE), (np.zeros(5, np.float32), 16_000.5)],
)  # fmt: skip
def test_unusable_audio_is_rejected(engine, face, samples, rate):
    with pytest.raises(InputError):
        LipStream(face, engine.generator).push(samples, rate)


def test_other_resolution_is_rejected(face):
    engine = live_engine()
    engine.generator.resolution = 192
    with pytest.raises(InputError, match="192"):
        LipStream(face, engine.generator)
