"""Sources: folders, packs and caches give the same samples; `auto` chooses and logs its choice."""

import shutil

import cv2
import numpy as np
import pytest
import torch

from preprocess.pack import pack_clips
from tests.helpers.clips import write_clip
from tests.helpers.training import NOISE_CLIPS, SAMPLES, open_noise
from train.data.checks import warn_if_copied
from train.data.index import WindowIndex
from train.data.loader import build_loader, iterate
from train.data.samples import GeneratorSamples, ResumableSampler, open_dataset
from wav2lip.errors import InputError


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("uniform_clips", [False, True])
@pytest.mark.parametrize("shard_bytes", [1 << 30, 1 << 20])
def test_pack_equals_clip_folders_bit_for_bit(kind, uniform_clips, shard_bytes, noise_root):
    pack_clips(noise_root, NOISE_CLIPS, shard_bytes=shard_bytes)
    from_folders, packed = (
        open_noise(noise_root, kind, data_source, seed=7, uniform_clips=uniform_clips)
        for data_source in ("clips", "packed")
    )
    assert len(packed.source.store.shards) == (1 if shard_bytes == 1 << 30 else 5)
    assert from_folders.clips == packed.clips and len(from_folders.clips) == 4
    for first in (0, 40, 1_000_000):
        numbers = range(first, first + 40)
        for a, b in zip(from_folders.__getitems__(numbers), packed.__getitems__(numbers), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_size_is_that_of_resized_image_in_both_sources(noise_root):
    pack_clips(noise_root, NOISE_CLIPS, sizes=[192])
    from_folders, packed = (
        open_noise(noise_root, "generator", data_source, size=192) for data_source in ("clips", "packed")
    )
    expected, actual = from_folders.__getitems__(range(8)), packed.__getitems__(range(8))
    assert expected.target.shape == (8, 5, 192, 192, 3)
    assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))
    first = from_folders.indices([0])
    image = cv2.imread(f"{from_folders.clips[int(first.clip)]}/{int(first.anchor)}.jpg")[..., ::-1]
    np.testing.assert_array_equal(expected.target[0, 0], cv2.resize(image, (192, 192)))
    with pytest.raises(InputError, match=r"packed/288: no complete pack; .*sizes=\[288\]"):
        open_noise(noise_root, "generator", "packed", size=288)


def test_jpeg_pack_differs_by_compression_alone(noise_root):
    pack_clips(noise_root, NOISE_CLIPS, encoding="jpeg", shard_bytes=1 << 20)
    from_folders, packed = (
        open_noise(noise_root, "generator", data_source).__getitems__(range(40)) for data_source in ("clips", "packed")
    )
    for a, b in zip(from_folders, packed, strict=True):
        if a.dtype == torch.uint8:
            assert (a.int() - b.int()).abs().float().mean() < 3
        else:
            assert torch.equal(a, b)


def test_pack_batches_are_equal_with_workers(noise_root):
    pack_clips(noise_root, NOISE_CLIPS)
    packed = open_noise(noise_root, "generator", "packed")
    main_process, worker_process = (
        [
            batch
            for _, batch in zip(
                range(4), iterate(build_loader(packed, ResumableSampler(5), 5, workers, False)), strict=False
            )
        ]
        for workers in (0, 2)
    )
    for a, b in zip(main_process, worker_process, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def open_auto(root, caplog):
    caplog.clear()
    with caplog.at_level("INFO"):
        source = open_noise(root, "generator", "auto").source
    (line,) = [message for message in caplog.messages if message.startswith("reading ")]
    return type(source).__name__, line


def test_auto_reads_pack_while_it_matches_the_clips(noise_root, caplog):
    assert open_auto(noise_root, caplog)[0] == "ClipFolderSource"
    pack_clips(noise_root, NOISE_CLIPS)
    assert open_auto(noise_root, caplog)[0] == "PackedSource"
    write_clip(noise_root, "speaker/2", frames=range(60))
    source, line = open_auto(noise_root, caplog)
    assert source == "ClipFolderSource" and "speaker/2 has changed since it was packed" in line
    with pytest.raises(InputError, match=r"speaker/2 has changed since it was packed; run python -m preprocess\.pack"):
        open_noise(noise_root, "generator", "packed")
    pack_clips(noise_root, NOISE_CLIPS[:-1])
    source, line = open_auto(noise_root, caplog)
    assert source == "ClipFolderSource" and "lacks speaker/5" in line
    with pytest.raises(InputError, match=r"lacks speaker/5; run python -m preprocess\.pack"):
        open_noise(noise_root, "generator", "packed")


def test_pack_works_without_clip_folders(noise_root):
    from_folders = open_noise(noise_root, "generator", "clips").__getitems__(range(9))
    pack_clips(noise_root, NOISE_CLIPS)
    shutil.rmtree(noise_root / "speaker")
    packed = open_noise(noise_root, "generator", "auto").__getitems__(range(9))
    assert all(torch.equal(a, b) for a, b in zip(from_folders, packed, strict=True))


def test_clips_rejected_by_pack_are_skipped_with_reason(noise_root, caplog):
    (noise_root / "speaker/0/audio.wav").write_bytes(b"")
    pack_clips(noise_root, NOISE_CLIPS)
    caplog.clear()
    dataset = open_noise(noise_root, "generator", "packed")
    assert dataset.clips == [str(noise_root / f"speaker/{n}") for n in (5, 2, 1)]
    assert "speaker/0/audio.wav: is empty" in caplog.text
    assert "speaker/3: has 15 face crops" in caplog.text


def test_corrupt_crop_of_jpeg_pack_is_logged_and_replaced(noise_root, caplog):
    pack_clips(noise_root, NOISE_CLIPS, encoding="jpeg")
    packed = open_noise(noise_root, "generator", "packed")
    crops = noise_root / "packed/96/000000/crops.bin"
    with crops.open("rb+") as file:
        file.seek(int(packed.source.store.crops.offsets[0][20]))
        file.write(bytes(200))
    assert open_noise(noise_root, "generator", "packed").__getitems__(range(300)).target.shape[0] == 300
    assert f"{noise_root}/packed/96: contains a corrupt crop" in caplog.text


@pytest.mark.parametrize("listed", ["{n}", "{root}/{n}", "speaker/{n}"])
def test_layout_one_level_off_is_explained(noise_root, listed):
    (noise_root / "up").mkdir()
    root = {"{n}": noise_root, "speaker/{n}": noise_root / "speaker"}.get(listed, noise_root / "up")
    (noise_root / "list.txt").write_text("".join(f"{listed.format(n=n, root='speaker')}\n" for n in (0, 1)))
    right = noise_root / "speaker" if listed == "{n}" else noise_root
    with pytest.raises(InputError, match=f"set data_root={right}$"):
        open_dataset(root, noise_root / "list.txt", WindowIndex.for_generator, GeneratorSamples(), data_source="clips")


def test_skipped_clips_are_named_with_list_and_line(noise_root, caplog):
    open_noise(noise_root, "generator", "clips")
    assert f"{noise_root}/train.txt:6: {noise_root}/speaker/3: has 15 face crops" in caplog.text


def test_copied_validation_clips_are_logged(noise_root, caplog):
    shutil.copytree(noise_root / "speaker/0", noise_root / "copy/0")
    clips = [str(noise_root / clip) for clip in NOISE_CLIPS]
    warn_if_copied(clips[:3], clips[3:])
    assert not caplog.text
    warn_if_copied(clips[:3], [*clips[3:], str(noise_root / "copy/0"), str(noise_root / "moved")])
    assert "1 of 5 sampled validation clips have the audio of a training clip" in caplog.text


def test_unknown_data_source_is_rejected(noise_root):
    with pytest.raises(InputError, match="data_source=fast: must be one of"):
        open_noise(noise_root, "generator", "fast")
