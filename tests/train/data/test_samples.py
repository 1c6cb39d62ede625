"""Samples equal upstream's, depend on their number alone, and corrupt clips are reported."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.helpers.clips import write_clip
from tests.helpers.goldens import golden
from tests.helpers.training import index_for_syncnet
from train.data.index import WindowIndex, from_position
from train.data.loader import build_loader, iterate
from train.data.samples import GeneratorSamples, ResumableSampler, SampleIndices, SyncNetSamples, open_dataset
from train.data.sources import ClipFolderSource
from wav2lip.audio import melspectrogram
from wav2lip.errors import InputError


def golden_frames(height, width):
    """Frame t at (y, x, c) is (3y + 2x + 70c + 13t) mod 256, in BGR."""
    t, y, x, c = np.ogrid[:40, :height, :width, :3]
    return ((3 * y + 2 * x + 70 * c + 13 * t) % 256).astype(np.uint8)


class MemoryClip:
    """A clip with the golden frames and audio in memory, without JPEG in between."""

    path = "golden"

    def __init__(self, frames=None, missing=()):
        self.images = golden_frames(96, 96) if frames is None else frames
        self.frames = np.array([n for n in range(40) if n not in missing], np.int32)
        self.wav = golden("mel")["wav_voiced"][:25_600].astype(np.float32) / 32768

    def read(self, frame, size):
        return cv2.resize(self.images[frame], (size, size))[..., ::-1].copy()

    def mel(self):
        return melspectrogram(self.wav)

    def mel_columns(self):
        return 129


@pytest.mark.parametrize(("tag", "shape", "levels"), [("96", (96, 96), 0), ("120x101", (120, 101), 1)])
def test_samples_equal_upstreams(tag, shape, levels):
    expected = golden("samples")
    source = ClipFolderSource([MemoryClip(golden_frames(*shape))])
    clip, anchor, other_frame = torch.tensor([[0], [7], [20]])
    x, frame_mels, mel, y = GeneratorSamples().read(source, SampleIndices(clip, anchor, other_frame)).inputs()
    for actual, name in ((x, f"gen_{tag}_x_u8"), (y, f"gen_{tag}_y_u8")):
        difference = np.abs(np.rint(actual[0].numpy() * 255) - expected[name].astype(float))
        assert difference.max() <= levels
    np.testing.assert_allclose(frame_mels[0], expected["gen_indiv_mels"], atol=1e-4)
    np.testing.assert_allclose(mel[0], expected["gen_mel"], atol=1e-4)
    for kind, faces_at in (("pos", anchor), ("neg", other_frame)):
        mel, faces, label, _, _ = SyncNetSamples(5).read(source, SampleIndices(clip, anchor, faces_at)).inputs()
        difference = np.abs(np.rint(faces[0].numpy() * 255) - expected[f"sync_{tag}_{kind}_x_u8"].astype(float))
        assert difference.max() <= levels
        np.testing.assert_allclose(mel[0], expected[f"sync_mel_{kind}"], atol=1e-4)
        assert label.item() == expected[f"sync_label_{kind}"].item()


def first_frames(clip, build_index):
    """First frames of the windows and of the anchors of one clip."""
    index = build_index(ClipFolderSource([clip]).runs)
    return [from_position(positions)[1].tolist() for positions in (index.windows, index.anchors)]


def test_index_accepts_the_windows_that_upstream_accepts():
    expected = golden("samples")
    windows, for_generator = first_frames(MemoryClip(), WindowIndex.for_generator)
    _, for_expert = first_frames(MemoryClip(), lambda runs: index_for_syncnet(runs, 1))
    accepted = dict(zip(expected["gen_anchor_ids"].tolist(), expected["gen_anchor_ok"].tolist(), strict=True))
    references = dict(zip(expected["gen_anchor_ids"].tolist(), expected["gen_ref_ok"].tolist(), strict=True))
    matching = dict(zip(expected["gen_anchor_ids"].tolist(), expected["sync_anchor_ok_pos"].tolist(), strict=True))
    assert any(accepted.values()) and not all(accepted.values())
    # The golden pairs use frame 12 as the other frame, so it cannot be an anchor.
    assert {f for f, ok in accepted.items() if ok} - {12} == set(for_generator) & set(accepted) - {12}
    assert {f for f, ok in references.items() if ok} - {12} == set(windows) & set(references) - {12}
    assert {f for f, ok in matching.items() if ok} - {12} == set(for_expert) & set(matching) - {12}


def test_window_across_gap_is_not_in_index():
    windows, _ = first_frames(MemoryClip(missing={17}), WindowIndex.for_generator)
    assert windows == [*range(13), *range(18, 36)]


@pytest.fixture
def data_root(tmp_path):
    wav = golden("mel")["wav_voiced"].astype(np.float32) / 32768
    for n in range(3):
        write_clip(tmp_path, f"speaker/{n}", frames=range(60), wav=np.tile(wav, 2) * (n + 1) / 3)
    (tmp_path / "train.txt").write_text("".join(f"speaker/{n}\n" for n in range(3)))
    return tmp_path


def open_expert(root, windows_per_clip=1, **options):
    samples = SyncNetSamples(5, windows_per_clip)
    return open_dataset(root, root / "train.txt", index_for_syncnet, samples, data_source="clips", **options)


def first_batches(root, workers, count=3, first_step=0):
    numbers = ResumableSampler(4, first_step)
    return list(zip(range(count), iterate(build_loader(open_expert(root), numbers, 4, workers, False)), strict=False))


def test_samples_do_not_depend_on_workers_or_resume(data_root):
    main_process, workers = first_batches(data_root, 0), first_batches(data_root, 2)
    resumed = first_batches(data_root, 0, count=1, first_step=2)
    for (_, expected), (_, actual) in zip(main_process, workers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(main_process[2][1], resumed[0][1], strict=True))


def test_seed_changes_samples_and_labels_are_balanced(data_root):
    labels = [open_expert(data_root, seed=seed).__getitems__(range(64)).label for seed in (1, 2)]
    assert not torch.equal(*labels)
    assert all(16 < label.sum() < 48 for label in labels)


def test_resumable_sampler_splits_samples_over_ranks():
    samplers = [iter(ResumableSampler(4, first_step=1, rank=rank, world_size=2)) for rank in range(2)]
    first = [[next(numbers) for _ in range(8)] for numbers in samplers]
    assert first == [[8, 9, 10, 11, 16, 17, 18, 19], [12, 13, 14, 15, 20, 21, 22, 23]]
    # The union of the ranks equals the batches of one process, for any gradient accumulation.
    single = iter(ResumableSampler(8, first_step=1))
    for batch in range(2):
        batch = [number for numbers in first for number in numbers[batch * 4 : batch * 4 + 4]]
        assert batch == [next(single) for _ in range(8)]


def test_clips_are_drawn_by_length_unless_uniform(data_root):
    write_clip(data_root, "speaker/long", frames=range(500), wav=np.tile(golden("mel")["wav_voiced"] / 32768, 7))
    (data_root / "train.txt").write_text("speaker/0\nspeaker/long\n")

    def measure_long_share(uniform_clips):
        dataset = open_expert(data_root, uniform_clips=uniform_clips)
        assert dataset.clips[1].endswith("long")
        return dataset.indices(range(4000)).clip.double().mean().item()

    assert measure_long_share(uniform_clips=True) == pytest.approx(0.5, abs=0.03)
    assert measure_long_share(uniform_clips=False) == pytest.approx(496 / 552, abs=0.02)  # 496 and 56 windows


def test_windows_per_clip_groups_pairs_and_stays_uniform(data_root):
    write_clip(data_root, "speaker/long", frames=range(300), wav=np.tile(golden("mel")["wav_voiced"] / 32768, 5))
    (data_root / "train.txt").write_text("speaker/0\nspeaker/long\n")
    dataset = open_expert(data_root, windows_per_clip=8)
    indices = dataset.indices(range(16_000))
    assert torch.equal(indices.anchor, indices.other)
    groups = indices.clip.view(-1, 8)
    assert (groups == groups[:, :1]).all() and 0 < groups[:, 0].sum() < 2000
    counts = torch.bincount(indices.clip * 1000 + indices.anchor)
    counts = counts[counts > 0].double()
    anchors = dataset.index.anchors_per_clip
    assert len(counts) == anchors.sum()
    assert groups[:, 0].double().mean().item() == pytest.approx((anchors[1] / anchors.sum()).item(), abs=0.03)
    assert (counts - counts.mean()).abs().max() < 6 * counts.mean() ** 0.5
    assert all(torch.equal(a[8:16], b) for a, b in zip(indices, dataset.indices(range(8, 16)), strict=True))


def test_sample_does_not_depend_on_its_batch(data_root):
    dataset = open_expert(data_root)
    batch = dataset.__getitems__([5, 3, 900])
    for row, number in enumerate([5, 3, 900]):
        single = dataset.__getitems__([number])
        assert all(torch.equal(a[row : row + 1], b) for a, b in zip(batch, single, strict=True))


def test_corrupt_image_is_logged_and_replaced(data_root, caplog):
    (data_root / "speaker/1/30.jpg").write_bytes(b"not an image")
    dataset = open_expert(data_root)
    indices = dataset.indices(range(100))
    corrupt = (indices.clip == 1) & (indices.other > 25) & (indices.other <= 30)
    assert 0 < corrupt.sum() < 20
    batch = dataset.__getitems__(range(100))
    assert f"{data_root}/speaker/1/30.jpg" in caplog.text
    valid_samples = dataset.samples.read(dataset.source, SampleIndices(*(column[~corrupt] for column in indices)))
    assert all(torch.equal(a[~corrupt], b) for a, b in zip(batch, valid_samples, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_all_corrupt_samples_raise_instead_of_hanging(data_root, workers):
    for image in data_root.rglob("*.jpg"):
        image.write_bytes(b"")
    with pytest.raises(InputError, match=r"^10 samples in a row .*\.jpg: is corrupt"):
        next(iterate(build_loader(open_expert(data_root), ResumableSampler(4), 4, workers, False)))


def test_missing_folders_and_short_clips_are_reported(data_root):
    with pytest.raises(InputError, match=r"none of its 3 clips .* no such clip folder"):
        open_dataset(data_root / "elsewhere", data_root / "train.txt", index_for_syncnet, SyncNetSamples(5))
    for n in range(3):
        write_clip(data_root, f"speaker/{n}", frames=range(15))
    with pytest.raises(InputError, match="15 face crops, fewer than 16"):
        open_expert(data_root)


def test_unusable_clip_is_logged_and_skipped(data_root, caplog):
    (data_root / "speaker/0/audio.wav").write_bytes(b"")
    write_clip(data_root, "speaker/1", frames=range(0, 80, 2))  # no five in a row
    assert open_expert(data_root).clips == [str(data_root / "speaker/2")]
    assert "speaker/0/audio.wav: is empty" in caplog.text
    assert "speaker/1: has no window" in caplog.text


def test_truncated_audio_and_deleted_frame_are_replaced(data_root, caplog):
    dataset = open_expert(data_root)
    for clip in dataset.clips[:2]:
        audio = Path(clip) / "audio.wav"
        audio.write_bytes(audio.read_bytes()[:60_000])
    for frame in range(20, 40):
        (data_root / "speaker/2" / f"{frame}.jpg").unlink()
    assert dataset.__getitems__(range(60)).mel.shape == (60, 1, 80, 16)
    assert "its audio ends at mel column" in caplog.text
    assert "jpg: is missing; preprocess its video" in caplog.text
