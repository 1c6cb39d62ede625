"""The window index against loops over frames, and random words against NumPy's Philox."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.helpers.training import index_for_syncnet
from train.data.index import CounterRNG, FrameRuns, WindowIndex, first_columns, from_position, last_audio_frame
from train.data.sources import ClipFolderSource
from wav2lip.audio.windows import first_column


@dataclass(frozen=True)
class FakeClip:
    """A clip that has frame numbers and mel columns, but no files."""

    frames: np.ndarray
    columns: int
    path: str = ""

    def mel_columns(self):
        return self.columns


def make_clips():
    """Clips with gaps, with little audio, without any complete window, and one long one."""
    rng = np.random.default_rng(5)
    gap_frames = [np.flatnonzero(rng.random(80) < share).astype(np.int32) for share in (0.6, 0.8, 0.9, 0.95, 0.97)]
    frames = [*gap_frames, np.arange(30), np.arange(0, 60, 2), np.arange(3, 400), np.arange(6)]
    return [FakeClip(f, columns) for f in frames for columns in (15, 90, 250, 2000)]


def complete_windows(clip):
    """First frames of all windows of five consecutive frames, by a loop."""
    frames = set(clip.frames.tolist())
    return sorted(f for f in frames if all(f + j in frames for j in range(5)))


def clips_and_frames(positions):
    clip, frame = from_position(positions)
    return list(zip(clip.tolist(), frame.tolist(), strict=True))


@pytest.mark.parametrize("min_offset", [1, 5, 20])
def test_index_equals_loop_over_frames(min_offset):
    clips = make_clips()
    runs = ClipFolderSource(clips).runs
    indexes = index_for_syncnet(runs, min_offset), WindowIndex.for_generator(runs)
    actual = [clips_and_frames(index.anchors) for index in indexes]
    expected = [[], []]
    for n, clip in enumerate(clips):
        windows = complete_windows(clip)
        for f in windows:
            if first_column(f) + 16 <= clip.columns and any(abs(f - other) >= min_offset for other in windows):
                expected[0].append((n, f))
            # audio of the five frames: each window starts a frame before its frame
            if f >= 1 and first_column(f + 3) + 16 <= clip.columns and len(windows) > 1:
                expected[1].append((n, f))
    assert actual == expected
    assert all(expected)


@pytest.mark.parametrize("min_offset", [1, 5, 20])
def test_draw_other_is_uniform_over_windows_far_enough(min_offset):
    clips = make_clips()
    index = index_for_syncnet(ClipFolderSource(clips).runs, min_offset)
    for clip, anchor in zip(*from_position(index.anchors[::97]), strict=True):
        candidates = [f for f in complete_windows(clips[clip]) if abs(f - int(anchor)) >= min_offset]
        words = torch.arange(3 * len(candidates))
        drawn = index.draw_other(clip.expand_as(words), anchor.expand_as(words), min_offset, words)
        assert drawn.tolist() == candidates * 3


def test_example_of_module_docstring():
    """Clip 0 has frames 0-6 and 10-14, clip 1 has frames 0-4."""
    runs = FrameRuns(*map(torch.tensor, ([0, 0, 1], [0, 10, 0], [7, 5, 5], [80, 80])))
    index = WindowIndex.for_syncnet(runs, 5)
    clip_frame = [
        list(zip(*(t.tolist() for t in from_position(p)), strict=True)) for p in (index.windows, index.anchors)
    ]
    assert clip_frame == [[(0, 0), (0, 1), (0, 2), (0, 10), (1, 0)], [(0, 0), (0, 1), (0, 2), (0, 10)]]
    clip, frame = index.draw_anchors(torch.tensor([[102, 55]]), uniform_clips=False)
    assert (clip.tolist(), frame.tolist()) == ([0], [2])  # 102 % 4 = 2
    assert index.draw_other(clip, frame, 5, torch.tensor([31])).tolist() == [10]


def test_draw_anchors_in_is_uniform_over_clip():
    index = index_for_syncnet(ClipFolderSource(make_clips()).runs)
    bounds = index.anchor_bounds.tolist()
    for clip in range(0, len(bounds) - 1, 3):
        own = from_position(index.anchors[bounds[clip] : bounds[clip + 1]])[1].tolist()
        if own:
            words = torch.arange(2 * len(own))
            assert index.draw_anchors_in(torch.full_like(words, clip), words).tolist() == own * 2


def test_longest_run_is_that_of_loop():
    index = WindowIndex.for_generator(ClipFolderSource(make_clips()).runs)
    clip, first, length = index.longest_run()
    assert (clip, first, length) == (31, 3, 393)  # frames 3 to 399 with 2000 columns of audio


def test_select_renumbers_clips():
    runs = ClipFolderSource(make_clips()).runs
    mask = torch.arange(len(runs.mel_columns)) % 3 == 1
    expected = ClipFolderSource([clip for clip, keep in zip(make_clips(), mask, strict=True) if keep]).runs
    actual = runs.select(mask)
    for name in ("clip", "first", "count", "mel_columns"):
        assert torch.equal(getattr(actual, name), getattr(expected, name))


def test_first_columns_equal_scalar_function():
    frames = torch.arange(-4, 200_000)
    assert first_columns(frames).tolist() == [first_column(f) for f in range(-4, 200_000)]


def test_last_audio_frame_is_last_complete_window():
    columns = torch.arange(600)
    expected = [max((f for f in range(200) if first_column(f) + 16 <= c), default=-1) for c in range(600)]
    assert last_audio_frame(columns).tolist() == expected


def test_counter_rng_draws_blocks_of_philox():
    philox = np.random.Philox(key=np.array([7, 2], np.uint64))
    raw = [int(word) >> 1 for word in philox.random_raw(4 * 50)]
    words = CounterRNG(7, stream=2).draw([49, 3, 0])
    assert words.tolist() == [raw[4 * n : 4 * n + 4] for n in (49, 3, 0)]


def test_counter_rng_does_not_depend_on_batch():
    rng = CounterRNG(3)
    batch = rng.draw([5, 10**9, 6])
    for row, number in enumerate([5, 10**9, 6]):
        assert torch.equal(rng.draw([number])[0], batch[row])


def test_counter_rng_words_are_uniform_and_uncorrelated():
    words = torch.cat([CounterRNG(seed, stream).draw(range(2000)) for seed in (0, 1) for stream in range(3)])
    shares = words.double() / 2**63
    assert words.min() >= 0 and len(words.unique()) == words.numel()
    assert torch.allclose(torch.histc(shares, 16) / words.numel(), torch.tensor(1 / 16).double(), atol=0.005)
    assert (torch.corrcoef(shares.T) - torch.eye(4)).abs().max() < 0.04
    assert abs(torch.corrcoef(torch.stack([shares[:-1, 0], shares[1:, 0]]))[0, 1]) < 0.04
