"""Samples are the public release's, are determined by their number, and bad clips are named."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

import train.data
from tests.reference import golden
from tests.wav2lip.test_clips import write_clip
from train.data import (
    ClipWindows,
    GeneratorSamples,
    Numbers,
    SyncNetSamples,
    Windows,
    batches,
    loader,
    open_windows,
)
from wav2lip.audio import melspectrogram
from wav2lip.errors import InputError
from wav2lip.windows import whole_windows


def golden_frames(height, width):
    """Frame t at (y, x, c) is (3y + 2x + 70c + 13t) mod 256, in BGR."""
    t, y, x, c = np.ogrid[:40, :height, :width, :3]
    return ((3 * y + 2 * x + 70 * c + 13 * t) % 256).astype(np.uint8)


class MemoryClip:
    """A clip whose frames and sound are the goldens', without the JPEG in between."""

    path = "golden"

    def __init__(self, frames=None, missing=()):
        self.pictures = golden_frames(96, 96) if frames is None else frames
        self.frames = np.array([n for n in range(40) if n not in missing], np.int32)
        self.wav = golden("mel")["wav_voiced"][:25_600].astype(np.float32) / 32768

    def read(self, frame, size):
        import cv2

        return cv2.resize(self.pictures[frame], (size, size))[..., ::-1].copy()

    def mel(self):
        return melspectrogram(self.wav)

    def mel_columns(self):
        return 129


def batched(sample):
    return type(sample)(*(part[None] for part in sample))


@pytest.mark.parametrize(("tag", "shape", "levels"), [("96", (96, 96), 0), ("120x101", (120, 101), 1)])
def test_samples_are_the_golden_ones(tag, shape, levels):
    expected = golden("samples")
    clip = MemoryClip(golden_frames(*shape))
    windows = ClipWindows.for_generator(clip)
    x, frame_mels, mel, y = batched(GeneratorSamples().assemble(windows, anchor=7, reference=20)).inputs()
    for ours, name in ((x, f"gen_{tag}_x_u8"), (y, f"gen_{tag}_y_u8")):
        difference = np.abs(np.rint(ours[0].numpy() * 255) - expected[name].astype(float))
        assert difference.max() <= levels
    np.testing.assert_allclose(frame_mels[0], expected["gen_indiv_mels"], atol=1e-4)
    np.testing.assert_allclose(mel[0], expected["gen_mel"], atol=1e-4)
    for kind, shown in (("pos", 7), ("neg", 20)):
        mel, faces, label = batched(SyncNetSamples.pair(windows, heard=7, shown=shown)).inputs()
        difference = np.abs(np.rint(faces[0].numpy() * 255) - expected[f"sync_{tag}_{kind}_x_u8"].astype(float))
        assert difference.max() <= levels
        np.testing.assert_allclose(mel[0], expected[f"sync_mel_{kind}"], atol=1e-4)
        assert label.item() == expected[f"sync_label_{kind}"].item()


def test_windows_are_usable_where_the_release_accepts_them():
    expected = golden("samples")
    generator = ClipWindows.for_generator(MemoryClip())
    syncnet = ClipWindows.for_syncnet(MemoryClip(), min_shift=1)
    accepted = dict(zip(expected["gen_anchor_ids"].tolist(), expected["gen_anchor_ok"].tolist(), strict=True))
    references = dict(zip(expected["gen_anchor_ids"].tolist(), expected["gen_ref_ok"].tolist(), strict=True))
    right = dict(zip(expected["gen_anchor_ids"].tolist(), expected["sync_anchor_ok_pos"].tolist(), strict=True))
    assert any(accepted.values()) and not all(accepted.values())
    # 12 is the other frame there, so it is no anchor beside itself
    assert {f for f, ok in accepted.items() if ok} - {12} == set(generator.anchors.tolist()) & set(accepted) - {12}
    assert {f for f, ok in references.items() if ok} - {12} == set(generator.whole.tolist()) & set(references) - {12}
    assert {f for f, ok in right.items() if ok} - {12} == set(syncnet.anchors.tolist()) & set(right) - {12}


def test_a_window_over_a_gap_is_never_used():
    windows = ClipWindows.for_generator(MemoryClip(missing={17}))
    assert set(range(13, 18)) & set(windows.whole.tolist()) == set()
    assert {12, 18} <= set(windows.whole.tolist())
    assert whole_windows(np.array([1, 2, 3, 4])).tolist() == []


def test_a_wrong_window_is_far_enough_and_every_one_is_drawn():
    windows = ClipWindows.for_syncnet(MemoryClip(), min_shift=5)
    rng = np.random.default_rng(0)
    drawn = {windows.draw_other(20, 5, rng) for _ in range(2000)}
    assert drawn == set(range(16)) | set(range(25, 36))


@pytest.fixture
def data_root(tmp_path):
    wav = golden("mel")["wav_voiced"].astype(np.float32) / 32768
    for n in range(3):
        write_clip(tmp_path, f"speaker/{n}", frames=range(60), wav=np.tile(wav, 2) * (n + 1) / 3)
    (tmp_path / "train.txt").write_text("".join(f"speaker/{n}\n" for n in range(3)))
    return tmp_path


def windows_of(root, seed=0, clips_equal=False):
    clips = open_windows(root, root / "train.txt", for_syncnet)
    return Windows(clips, SyncNetSamples(5), seed, clips_equal)


def for_syncnet(clip):
    return ClipWindows.for_syncnet(clip, 5)


def first_batches(root, workers, count=3, first_step=0):
    numbers = Numbers(4, first_step)
    return list(zip(range(count), batches(loader(windows_of(root), numbers, 4, workers, False)), strict=False))


def test_samples_do_not_depend_on_the_number_of_workers_and_go_on_after_a_resume(data_root):
    here, workers = first_batches(data_root, 0), first_batches(data_root, 2)
    resumed = first_batches(data_root, 0, count=1, first_step=2)
    for (_, ours), (_, theirs) in zip(here, workers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(here[2][1], resumed[0][1], strict=True))


def test_another_seed_gives_other_samples_and_both_labels_come_up(data_root):
    labels = [windows_of(data_root, seed=1)[n].label.item() for n in range(64)]
    assert labels != [windows_of(data_root, seed=2)[n].label.item() for n in range(64)]
    assert 16 < sum(labels) < 48


def test_ranks_share_the_samples_without_overlap():
    taken = [iter(Numbers(4, first_step=1, rank=rank, ranks=2)) for rank in range(2)]
    first = [[next(numbers) for _ in range(8)] for numbers in taken]
    assert first == [[8, 9, 10, 11, 16, 17, 18, 19], [12, 13, 14, 15, 20, 21, 22, 23]]


def test_a_long_clip_is_drawn_by_its_length_unless_clips_are_to_be_equal(data_root):
    write_clip(data_root, "speaker/long", frames=range(500), wav=np.tile(golden("mel")["wav_voiced"] / 32768, 7))
    (data_root / "train.txt").write_text("speaker/0\nspeaker/long\n")

    def share_of_long(clips_equal):
        windows = windows_of(data_root, clips_equal=clips_equal)
        drawn = [windows._draw(np.random.default_rng(n))[0] for n in range(600)]
        return sum(clip.clip.path.name == "long" for clip in drawn) / 600

    assert share_of_long(clips_equal=True) == pytest.approx(0.5, abs=0.08)
    assert share_of_long(clips_equal=False) == pytest.approx(496 / 552, abs=0.05)  # 496 and 56 windows


def test_one_damaged_picture_is_named_and_training_goes_on(data_root, caplog):
    (data_root / "speaker/1/30.jpg").write_bytes(b"not a picture")
    windows = windows_of(data_root)
    for n in range(100):
        windows[n]
    assert "speaker/1/30.jpg" in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_damage_ends_in_one_sentence_instead_of_a_hang(data_root, workers):
    for picture in data_root.rglob("*.jpg"):
        picture.write_bytes(b"")
    with pytest.raises(InputError, match=r"^10 draws in a row were damaged, the last: .*\.jpg: is not a whole picture"):
        next(batches(loader(windows_of(data_root), Numbers(4), 4, workers, False)))


def test_wrong_folders_and_short_clips_end_in_one_sentence_with_the_reason(data_root):
    with pytest.raises(InputError, match=r"none of its 3 clips .* no such clip folder"):
        open_windows(data_root / "elsewhere", data_root / "train.txt", for_syncnet)
    for n in range(3):
        write_clip(data_root, f"speaker/{n}", frames=range(15))
    with pytest.raises(InputError, match="15 face crops, fewer than 16"):
        open_windows(data_root, data_root / "train.txt", for_syncnet)


def test_a_bad_clip_is_named_and_the_others_are_used(data_root, caplog):
    (data_root / "speaker/0/audio.wav").write_bytes(b"")
    write_clip(data_root, "speaker/1", frames=range(0, 80, 2))  # no five in a row
    used = open_windows(data_root, data_root / "train.txt", for_syncnet)
    assert [windows.clip.path.name for windows in used] == ["2"]
    assert "speaker/0/audio.wav: is empty" in caplog.text
    assert "speaker/1: has no window" in caplog.text


def test_sound_that_ends_before_its_header_says_and_a_frame_that_vanished_are_replaced_and_named(data_root, caplog):
    windows = windows_of(data_root)
    for clip in windows.clips[:2]:
        audio = clip.clip.path / "audio.wav"
        audio.write_bytes(audio.read_bytes()[:60_000])
    for frame in range(20, 40):
        (data_root / "speaker/2" / f"{frame}.jpg").unlink()
    shapes = {windows[n].mel.shape for n in range(60)}
    assert shapes == {(1, 80, 16)}
    assert "its sound ends at mel column" in caplog.text
    assert "jpg: cannot be read" in caplog.text


def idle_worker():
    train.data.GRACE = 2
    train.data._begin_worker(0)
    time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows sends no SIGTERM to workers")
def test_a_worker_told_to_end_stays_for_a_while_and_ends_then():
    worker = multiprocessing.get_context("spawn").Process(target=idle_worker)
    worker.start()
    time.sleep(8)  # until it is set up
    os.kill(worker.pid, signal.SIGINT)
    os.kill(worker.pid, signal.SIGTERM)
    time.sleep(1)
    assert worker.is_alive()
    worker.join(timeout=30)
    assert worker.exitcode == -signal.SIGALRM
