"""The offset of a clip, from vectors made by hand and from the linear expert."""

import numpy as np
import pytest

from wav2lip.clips import Clip, ClipWriter
from wav2lip.linear_expert import BANDS, LOWER_HALF, MOMENTS, LinearExpert, Views
from wav2lip.sync import Embedded, agreement, measure

RNG = np.random.default_rng(0)
OTHERS = [RNG.normal(size=(200, 64)).astype(np.float32) for _ in range(4)]


def spoken(frames, late=0, noise=0.0, seed=1):
    """Lips and sound with a vector for each moment, the sound so many frames late."""
    rng = np.random.default_rng(seed)
    moments = rng.normal(size=(frames + 40, 64)).astype(np.float32)
    lips = moments[20 : 20 + frames - 4]
    sound = moments[20 - late : 20 - late + frames]
    return Embedded(np.arange(frames - 4), lips + noise * rng.normal(size=lips.shape).astype(np.float32), sound)


@pytest.mark.parametrize("late", [-12, -3, 0, 1, 7, 14])
def test_the_offset_is_by_how_much_the_sound_is_late(late):
    found = measure(spoken(100, late, noise=1.0), OTHERS)
    assert found.offset == late
    assert found.confidence > 10
    assert not found.at_edge


def test_sound_of_another_clip_has_no_confidence():
    lips, other = spoken(100, seed=1), spoken(100, seed=2)
    assert measure(Embedded(lips.firsts, lips.lips, other.sound), OTHERS).confidence < 4


def test_sound_that_is_later_than_the_search_reaches_peaks_at_its_edge():
    moments = np.repeat(RNG.normal(size=(20, 64)), 8, axis=0).astype(np.float32)  # alike over 8 frames
    found = measure(Embedded(np.arange(100), moments[20:120], moments[:100]), OTHERS)
    assert found.offset == 15
    assert found.at_edge


def test_agreement_by_hand():
    lips = np.eye(30, dtype=np.float32)
    curve = agreement(np.arange(30), lips, np.roll(lips, 2, axis=0), reach=3)[0]
    assert curve.tolist() == pytest.approx([0, 0, 0, 0, 0, 1, 0])  # sound 2 frames late


def test_shifts_with_hardly_any_windows_are_not_judged():
    lips = np.eye(22, dtype=np.float32)
    curve = agreement(np.arange(22), lips, lips, reach=3)[0]
    assert np.isnan(curve).tolist() == [True, False, False, False, False, False, True]


def test_frames_that_are_missing_leave_the_offset_as_it_is():
    whole = spoken(150, late=5)
    there = np.r_[0:40, 60:90, 100:140]
    assert measure(Embedded(whole.firsts[there], whole.lips[there], whole.sound), OTHERS).offset == 5


def test_a_peak_between_two_frames_is_told_to_a_part_of_a_frame():
    def at(times):
        return np.exp(-0.5 * ((times[:, None] - np.arange(-20, 140, 2)) / 2) ** 2).astype(np.float32)

    found = measure(
        Embedded(np.arange(100), at(np.arange(100.0)), at(np.arange(100) - 3.5)), [o[:, :80] for o in OTHERS_80]
    )
    assert found.peak == pytest.approx(3.5, abs=0.1)


OTHERS_80 = [RNG.normal(size=(200, 80)).astype(np.float32) for _ in range(4)]


def test_a_clip_that_is_too_short_is_not_judged():
    assert measure(spoken(30), OTHERS) is None


def test_without_other_sounds_nothing_is_judged():
    assert measure(spoken(100), []) is None


@pytest.fixture(scope="module")
def noise_clip(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    with ClipWriter(root, "a/0") as clip:
        for frame in (*range(3, 30), *range(33, 60)):
            clip.write_frame(frame, RNG.integers(0, 255, (96, 96, 3), np.uint8))
        clip.write_audio([RNG.normal(0, 0.1, 60 * 640).astype(np.float32)])
    return Clip.open(root / "a/0")


def talking(late, seed, frames=150):
    """A face whose mouth is bright while its sound is loud."""
    rng = np.random.default_rng(seed)
    loud = np.convolve(rng.normal(size=frames + 60), np.ones(3) / 3, "same")
    width, height = LOWER_HALF
    pictures = rng.normal(120, 4, (frames, height, width))
    pictures[:, 8:16, 18:30] += 25 * loud[30 : 30 + frames, None, None] + rng.uniform(-30, 30)
    sound = np.stack([np.roll(loud, late)[28 + m : 28 + m + frames] for m in range(MOMENTS)], axis=1)  # from 2 before
    sound = np.tile(sound + rng.normal(0, 0.3, sound.shape), BANDS)
    return Views(np.arange(frames), pictures.clip(0, 255).astype(np.uint8), sound.astype(np.float16))


def test_a_linear_expert_finds_the_offset_of_a_face_it_never_saw():
    expert = LinearExpert.fit([talking(0, seed) for seed in range(6)], [0] * 6)
    others = [expert.judge(talking(0, seed)).sound for seed in range(6)]
    found = measure(expert.judge(talking(7, 99)), others)
    assert found.offset == 7
    assert found.confidence > 8


def test_a_linear_expert_learns_from_clips_with_their_offsets():
    clips = [talking(late, seed) for seed, late in enumerate((5, -4, 9, 0, -8, 3))]
    expert = LinearExpert.fit(clips, [5, -4, 9, 0, -8, 3])
    assert measure(expert.judge(talking(-6, 99)), [expert.judge(clip).sound for clip in clips]).offset == -6


def test_views_of_a_clip_hold_a_row_of_sound_for_each_frame(noise_clip):
    views = Views.of(noise_clip)
    assert views.frames.tolist() == noise_clip.frames.tolist()  # from frame 0 on, as frame 3 lies within reach
    assert views.firsts.tolist() == [*range(3, 26), *range(33, 56)]
    assert views.sound.shape == (60 - 4, BANDS * MOMENTS)  # the last 0.2 s begin with frame 55
