"""Samples are the public release's, are determined by their number, and bad clips are named."""

import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import train.data.feeding
from preprocess.pack import pack
from tests.reference import golden
from tests.wav2lip.test_clips import write_clip
from train.data.draws import ClipWindows, Words, first_columns, mix
from train.data.feeding import batches, loader
from train.data.samples import GeneratorSamples, Numbers, Picks, SyncNetSamples, open_windows
from train.data.sources import Folders
from wav2lip.audio import melspectrogram
from wav2lip.errors import InputError
from wav2lip.windows import first_column, frame_columns


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
        return cv2.resize(self.pictures[frame], (size, size))[..., ::-1].copy()

    def mel(self):
        return melspectrogram(self.wav)

    def mel_columns(self):
        return 129


def windows_in(clip, windows_of):
    """Whole windows and anchors of one clip, by their first frames."""
    windows = windows_of(Folders([clip]).runs)
    numbers = [torch.arange(int(count)) for count in (windows.clip_ends[-1], windows.anchors.sum())]
    return [at(n)[1].tolist() for at, n in zip((windows.whole_at, windows.anchor_at), numbers, strict=True)]


def for_syncnet(runs, min_shift=5):
    return ClipWindows.for_syncnet(runs, min_shift)


@pytest.mark.parametrize(("tag", "shape", "levels"), [("96", (96, 96), 0), ("120x101", (120, 101), 1)])
def test_samples_are_the_golden_ones(tag, shape, levels):
    expected = golden("samples")
    source = Folders([MemoryClip(golden_frames(*shape))])
    clip, seven, twenty = torch.tensor([[0], [7], [20]])
    x, frame_mels, mel, y = GeneratorSamples().gather(source, Picks(clip, seven, twenty)).inputs()
    for ours, name in ((x, f"gen_{tag}_x_u8"), (y, f"gen_{tag}_y_u8")):
        difference = np.abs(np.rint(ours[0].numpy() * 255) - expected[name].astype(float))
        assert difference.max() <= levels
    np.testing.assert_allclose(frame_mels[0], expected["gen_indiv_mels"], atol=1e-4)
    np.testing.assert_allclose(mel[0], expected["gen_mel"], atol=1e-4)
    for kind, shown in (("pos", seven), ("neg", twenty)):
        mel, faces, label, _, _ = SyncNetSamples(5).gather(source, Picks(clip, seven, shown)).inputs()
        difference = np.abs(np.rint(faces[0].numpy() * 255) - expected[f"sync_{tag}_{kind}_x_u8"].astype(float))
        assert difference.max() <= levels
        np.testing.assert_allclose(mel[0], expected[f"sync_mel_{kind}"], atol=1e-4)
        assert label.item() == expected[f"sync_label_{kind}"].item()


def test_windows_are_usable_where_the_release_accepts_them():
    expected = golden("samples")
    whole, for_generator = windows_in(MemoryClip(), ClipWindows.for_generator)
    _, for_expert = windows_in(MemoryClip(), lambda runs: for_syncnet(runs, min_shift=1))
    accepted = dict(zip(expected["gen_anchor_ids"].tolist(), expected["gen_anchor_ok"].tolist(), strict=True))
    references = dict(zip(expected["gen_anchor_ids"].tolist(), expected["gen_ref_ok"].tolist(), strict=True))
    right = dict(zip(expected["gen_anchor_ids"].tolist(), expected["sync_anchor_ok_pos"].tolist(), strict=True))
    assert any(accepted.values()) and not all(accepted.values())
    # 12 is the other frame there, so it is no anchor beside itself
    assert {f for f, ok in accepted.items() if ok} - {12} == set(for_generator) & set(accepted) - {12}
    assert {f for f, ok in references.items() if ok} - {12} == set(whole) & set(references) - {12}
    assert {f for f, ok in right.items() if ok} - {12} == set(for_expert) & set(right) - {12}


def test_a_window_over_a_gap_is_never_used():
    whole, _ = windows_in(MemoryClip(missing={17}), ClipWindows.for_generator)
    assert whole == [*range(13), *range(18, 36)]


@dataclass(frozen=True)
class Frames:
    """A clip of which only the numbers matter."""

    frames: np.ndarray
    columns: int
    path: str = ""

    def mel_columns(self):
        return self.columns


def some_clips():
    """Clips with gaps, with little sound, without any whole window, and one long one."""
    rng = np.random.default_rng(5)
    with_gaps = [np.flatnonzero(rng.random(80) < share).astype(np.int32) for share in (0.6, 0.8, 0.9, 0.95, 0.97)]
    frames = [*with_gaps, np.arange(30), np.arange(0, 60, 2), np.arange(3, 400), np.arange(6)]
    return [Frames(f, columns) for f in frames for columns in (15, 90, 250, 2000)]


@pytest.mark.parametrize("min_shift", [1, 5, 20])
def test_the_windows_of_many_clips_at_once_are_those_that_a_loop_over_their_frames_finds(min_shift):
    clips = some_clips()
    runs = Folders(clips).runs
    for_expert, for_generator = for_syncnet(runs, min_shift), ClipWindows.for_generator(runs)
    numbers = [torch.arange(int(windows.anchors.sum())) for windows in (for_expert, for_generator)]
    found = [for_expert.anchor_at(numbers[0]), for_generator.anchor_at(numbers[1])]
    found = [set(zip(clip.tolist(), frame.tolist(), strict=True)) for clip, frame in found]
    expected = [set(), set()]
    for n, clip in enumerate(clips):
        there = set(clip.frames.tolist())
        whole = [f for f in there if all(f + j in there for j in range(5))]
        for f in whole:
            if first_column(f) + 16 <= clip.columns and any(abs(f - other) >= min_shift for other in whole):
                expected[0].add((n, f))
            if f >= 1 and frame_columns(f + 4) + 16 <= clip.columns and len(whole) > 1:
                expected[1].add((n, f))
    assert found == expected
    assert all(expected)


@pytest.mark.parametrize("min_shift", [1, 5, 20])
def test_another_window_is_whole_and_far_enough_and_every_such_one_is_drawn_as_often(min_shift):
    clips = some_clips()
    windows = for_syncnet(Folders(clips).runs, min_shift)
    anchors = torch.arange(0, int(windows.anchors.sum()), 97)
    for clip, anchor in zip(*windows.anchor_at(anchors), strict=True):
        there = set(clips[clip].frames.tolist())
        whole = [f for f in there if all(f + j in there for j in range(5))]
        far = sorted(f for f in whole if abs(f - int(anchor)) >= min_shift)
        words = torch.arange(3 * len(far))
        drawn = windows.draw_other(clip.expand_as(words), anchor.expand_as(words), min_shift, words)
        assert drawn.tolist() == far * 3


def test_columns_of_a_tensor_of_frames_are_those_of_each_frame():
    frames = torch.arange(-4, 200_000)
    assert first_columns(frames).tolist() == [first_column(f) for f in range(-4, 200_000)]


def test_random_words_are_splitmix64s():
    golden_step = 0x9E3779B97F4A7C15 - 2**64
    states = torch.tensor(1234567) + golden_step * torch.arange(1, 6)
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
                 16408922859458223821]  # fmt: skip
    assert [word % 2**64 for word in mix(states).tolist()] == published


def test_random_words_of_neighbouring_numbers_and_attempts_are_spread_evenly_and_unrelated():
    words = torch.cat([Words(seed, 3).of(range(2000), attempt, 4) for seed in (0, 1) for attempt in range(3)])
    shares = words.double() / 2**63
    assert words.min() >= 0 and len(words.unique()) == words.numel()
    assert torch.allclose(torch.histc(shares, 16) / words.numel(), torch.tensor(1 / 16).double(), atol=0.005)
    assert (torch.corrcoef(shares.T) - torch.eye(4)).abs().max() < 0.04
    assert abs(torch.corrcoef(torch.stack([shares[:-1, 0], shares[1:, 0]]))[0, 1]) < 0.04


@pytest.fixture
def data_root(tmp_path):
    wav = golden("mel")["wav_voiced"].astype(np.float32) / 32768
    for n in range(3):
        write_clip(tmp_path, f"speaker/{n}", frames=range(60), wav=np.tile(wav, 2) * (n + 1) / 3)
    (tmp_path / "train.txt").write_text("".join(f"speaker/{n}\n" for n in range(3)))
    return tmp_path


def windows_of(root, seed=0, clips_equal=False, form="clips"):
    return open_windows(root, root / "train.txt", for_syncnet, SyncNetSamples(5), seed=seed, clips_equal=clips_equal,
                        form=form)  # fmt: skip


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
    labels = [windows_of(data_root, seed).__getitems__(range(64)).label for seed in (1, 2)]
    assert not torch.equal(*labels)
    assert all(16 < label.sum() < 48 for label in labels)


def test_ranks_share_the_samples_without_overlap():
    taken = [iter(Numbers(4, first_step=1, rank=rank, ranks=2)) for rank in range(2)]
    first = [[next(numbers) for _ in range(8)] for numbers in taken]
    assert first == [[8, 9, 10, 11, 16, 17, 18, 19], [12, 13, 14, 15, 20, 21, 22, 23]]
    # Turn by turn, and so step by step however many turns a step has, they are the batches of one process.
    of_one = iter(Numbers(8, first_step=1))
    for turn in range(2):
        together = [number for numbers in first for number in numbers[turn * 4 : turn * 4 + 4]]
        assert together == [next(of_one) for _ in range(8)]


def test_a_long_clip_is_drawn_by_its_length_unless_clips_are_to_be_equal(data_root):
    write_clip(data_root, "speaker/long", frames=range(500), wav=np.tile(golden("mel")["wav_voiced"] / 32768, 7))
    (data_root / "train.txt").write_text("speaker/0\nspeaker/long\n")

    def share_of_long(clips_equal):
        windows = windows_of(data_root, clips_equal=clips_equal)
        assert windows.clips[1].endswith("long")
        return windows.picks(range(4000)).clip.double().mean().item()

    assert share_of_long(clips_equal=True) == pytest.approx(0.5, abs=0.03)
    assert share_of_long(clips_equal=False) == pytest.approx(496 / 552, abs=0.02)  # 496 and 56 windows


def test_samples_that_stand_together_are_right_pairs_of_one_clip_and_every_window_is_drawn_as_often(data_root):
    write_clip(data_root, "speaker/long", frames=range(300), wav=np.tile(golden("mel")["wav_voiced"] / 32768, 5))
    (data_root / "train.txt").write_text("speaker/0\nspeaker/long\n")
    windows = open_windows(data_root, data_root / "train.txt", for_syncnet, SyncNetSamples(5, together=8), form="clips")
    picks = windows.picks(range(16_000))
    assert torch.equal(picks.anchor, picks.other)
    of_groups = picks.clip.view(-1, 8)
    assert (of_groups == of_groups[:, :1]).all() and 0 < of_groups[:, 0].sum() < 2000
    counts = torch.bincount(picks.clip * 1000 + picks.anchor)
    counts = counts[counts > 0].double()
    anchors = windows.windows.anchors
    assert len(counts) == anchors.sum()
    assert of_groups[:, 0].double().mean().item() == pytest.approx((anchors[1] / anchors.sum()).item(), abs=0.03)
    assert (counts - counts.mean()).abs().max() < 6 * counts.mean() ** 0.5
    assert all(torch.equal(a[8:16], b) for a, b in zip(picks, windows.picks(range(8, 16)), strict=True))


def test_a_sample_is_the_same_whatever_batch_it_comes_in(data_root):
    windows = windows_of(data_root)
    together = windows.__getitems__([5, 3, 900])
    for row, number in enumerate([5, 3, 900]):
        alone = windows.__getitems__([number])
        assert all(torch.equal(a[row : row + 1], b) for a, b in zip(together, alone, strict=True))


def test_one_damaged_picture_is_named_and_training_goes_on(data_root, caplog):
    (data_root / "speaker/1/30.jpg").write_bytes(b"not a picture")
    windows = windows_of(data_root)
    picks = windows.picks(range(100))
    hit = (picks.clip == 1) & (picks.other > 25) & (picks.other <= 30)
    assert 0 < hit.sum() < 20
    batch = windows.__getitems__(range(100))
    assert f"{data_root}/speaker/1/30.jpg" in caplog.text
    kept = windows.samples.gather(windows.source, Picks(*(part[~hit] for part in picks)))
    assert all(torch.equal(a[~hit], b) for a, b in zip(batch, kept, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_damage_ends_in_one_sentence_instead_of_a_hang(data_root, workers):
    for picture in data_root.rglob("*.jpg"):
        picture.write_bytes(b"")
    with pytest.raises(InputError, match=r"^10 draws in a row were damaged, the last: .*\.jpg: is not a whole picture"):
        next(batches(loader(windows_of(data_root), Numbers(4), 4, workers, False)))


def test_wrong_folders_and_short_clips_end_in_one_sentence_with_the_reason(data_root):
    with pytest.raises(InputError, match=r"none of its 3 clips .* no such clip folder"):
        open_windows(data_root / "elsewhere", data_root / "train.txt", for_syncnet, SyncNetSamples(5))
    for n in range(3):
        write_clip(data_root, f"speaker/{n}", frames=range(15))
    with pytest.raises(InputError, match="15 face crops, fewer than 16"):
        windows_of(data_root)


def test_a_bad_clip_is_named_and_the_others_are_used(data_root, caplog):
    (data_root / "speaker/0/audio.wav").write_bytes(b"")
    write_clip(data_root, "speaker/1", frames=range(0, 80, 2))  # no five in a row
    assert windows_of(data_root).clips == [str(data_root / "speaker/2")]
    assert "speaker/0/audio.wav: is empty" in caplog.text
    assert "speaker/1: has no window" in caplog.text


def test_sound_that_ends_before_its_header_says_and_a_frame_that_vanished_are_replaced_and_named(data_root, caplog):
    windows = windows_of(data_root)
    for clip in windows.clips[:2]:
        audio = Path(clip) / "audio.wav"
        audio.write_bytes(audio.read_bytes()[:60_000])
    for frame in range(20, 40):
        (data_root / "speaker/2" / f"{frame}.jpg").unlink()
    assert windows.__getitems__(range(60)).mel.shape == (60, 1, 80, 16)
    assert "its sound ends at mel column" in caplog.text
    assert "jpg: cannot be read" in caplog.text


IDS = [f"speaker/{n}" for n in range(6)]
SAMPLES = {"syncnet": (SyncNetSamples(5), for_syncnet), "generator": (GeneratorSamples(), ClipWindows.for_generator)}


def opened(root, kind, form, **options):
    samples, windows_of = SAMPLES[kind]
    return open_windows(root, root / "train.txt", windows_of, samples, form=form, **options)


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("clips_equal", [False, True])
@pytest.mark.parametrize("shard_bytes", [1 << 30, 1 << 20])
def test_batches_of_a_pack_are_bit_for_bit_those_of_the_clip_folders(kind, clips_equal, shard_bytes, noise_root):
    pack(noise_root, IDS, shard_bytes=shard_bytes)
    plain, packed = (opened(noise_root, kind, form, seed=7, clips_equal=clips_equal) for form in ("clips", "packed"))
    assert len(packed.source.pack.shards) == (1 if shard_bytes == 1 << 30 else 5)
    assert plain.clips == packed.clips and len(plain.clips) == 4
    for first in (0, 40, 1_000_000):
        numbers = range(first, first + 40)
        for a, b in zip(plain.__getitems__(numbers), packed.__getitems__(numbers), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_windows_come_at_the_size_asked_for_from_folders_and_from_the_pack_of_that_size(noise_root):
    pack(noise_root, IDS, sizes=[192])
    plain, packed = (opened(noise_root, "generator", form, size=192) for form in ("clips", "packed"))
    ours, theirs = plain.__getitems__(range(8)), packed.__getitems__(range(8))
    assert ours.target.shape == (8, 5, 192, 192, 3)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    shown = plain.picks([0])
    picture = cv2.imread(f"{plain.clips[int(shown.clip)]}/{int(shown.anchor)}.jpg")[..., ::-1]
    np.testing.assert_array_equal(ours.target[0, 0], cv2.resize(picture, (192, 192)))
    with pytest.raises(InputError, match=r"packed/288: holds no finished pack; run .*, with sizes=\[288\]"):
        opened(noise_root, "generator", "packed", size=288)


def test_batches_of_a_jpeg_pack_differ_by_what_jpeg_loses_alone(noise_root):
    pack(noise_root, IDS, encoding="jpeg", shard_bytes=1 << 20)
    plain, packed = (opened(noise_root, "generator", form).__getitems__(range(40)) for form in ("clips", "packed"))
    for a, b in zip(plain, packed, strict=True):
        if a.dtype == torch.uint8:
            assert (a.int() - b.int()).abs().float().mean() < 3
        else:
            assert torch.equal(a, b)


def test_workers_read_the_same_batches_from_a_pack(noise_root):
    pack(noise_root, IDS)
    packed = opened(noise_root, "generator", "packed")
    here, there = (
        [batch for _, batch in zip(range(4), batches(loader(packed, Numbers(5), 5, workers, False)), strict=False)]
        for workers in (0, 2)
    )
    for a, b in zip(here, there, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def form_read(root, caplog):
    caplog.clear()
    with caplog.at_level("INFO"):
        source = opened(root, "generator", "auto").source
    (line,) = [message for message in caplog.messages if message.startswith("reads ")]
    return type(source).__name__, line


def test_auto_reads_the_pack_while_it_has_the_clips_as_they_are_and_says_which_it_reads(noise_root, caplog):
    assert form_read(noise_root, caplog)[0] == "Folders"
    pack(noise_root, IDS)
    assert form_read(noise_root, caplog)[0] == "Packed"
    write_clip(noise_root, "speaker/2", frames=range(60))
    form, line = form_read(noise_root, caplog)
    assert form == "Folders" and "speaker/2 has changed since it was packed" in line
    with pytest.raises(InputError, match=r"speaker/2 has changed since it was packed; run python -m preprocess\.pack"):
        opened(noise_root, "generator", "packed")
    pack(noise_root, IDS[:-1])
    form, line = form_read(noise_root, caplog)
    assert form == "Folders" and "lacks speaker/5" in line
    with pytest.raises(InputError, match=r"lacks speaker/5; run python -m preprocess\.pack"):
        opened(noise_root, "generator", "packed")


def test_a_pack_is_enough_where_the_clip_folders_are_not(noise_root):
    plain = opened(noise_root, "generator", "clips").__getitems__(range(9))
    pack(noise_root, IDS)
    shutil.rmtree(noise_root / "speaker")
    packed = opened(noise_root, "generator", "auto").__getitems__(range(9))
    assert all(torch.equal(a, b) for a, b in zip(plain, packed, strict=True))


def test_what_a_pack_could_not_take_is_left_out_with_its_reason(noise_root, caplog):
    (noise_root / "speaker/0/audio.wav").write_bytes(b"")
    pack(noise_root, IDS)
    caplog.clear()
    used = opened(noise_root, "generator", "packed")
    assert used.clips == [str(noise_root / f"speaker/{n}") for n in (5, 2, 1)]
    assert "speaker/0/audio.wav: is empty" in caplog.text
    assert "speaker/3: has 15 face crops" in caplog.text


def test_a_damaged_crop_of_a_jpeg_pack_is_named_and_another_is_drawn(noise_root, caplog):
    pack(noise_root, IDS, encoding="jpeg")
    packed = opened(noise_root, "generator", "packed")
    crops = noise_root / "packed/96/000000/crops.bin"
    with crops.open("rb+") as file:
        file.seek(int(packed.source.pack.crops.offsets[0][20]))
        file.write(bytes(200))
    assert opened(noise_root, "generator", "packed").__getitems__(range(300)).target.shape[0] == 300
    assert f"{noise_root}/packed/96: a crop in it is damaged" in caplog.text


def test_an_unknown_form_is_refused(noise_root):
    with pytest.raises(InputError, match="data=fast: is none of auto, clips, packed, device"):
        opened(noise_root, "generator", "fast")


def idle_worker(ready):
    train.data.feeding.GRACE = 2
    train.data.feeding._begin_worker(0)
    ready.set()
    time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows sends no SIGTERM to workers")
def test_a_worker_told_to_end_stays_for_a_while_and_ends_then():
    processes = multiprocessing.get_context("spawn")
    ready = processes.Event()
    worker = processes.Process(target=idle_worker, args=[ready])
    worker.start()
    assert ready.wait(timeout=120)
    os.kill(worker.pid, signal.SIGINT)
    os.kill(worker.pid, signal.SIGTERM)
    time.sleep(1)
    assert worker.is_alive()
    worker.join(timeout=30)
    assert worker.exitcode == -signal.SIGALRM
