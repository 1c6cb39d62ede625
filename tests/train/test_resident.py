"""Clips held in memory give the samples that their files give, and are held where that pays and they fit."""

from pathlib import Path

import pytest
import torch

from preprocess.pack import pack
from tests.train.conftest import config
from tests.train.test_data import IDS, SAMPLES
from train import syncnet
from train.data import resident
from train.data.mixture import Mixture
from train.data.resident import Memory, bytes_of
from train.data.samples import open_windows
from train.data.sources import Reading
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError

CPU = torch.device("cpu")
MEMINFO = Path("/proc/meminfo")


def opened(root, kind, form, memory=None, **options):
    samples, windows_of = SAMPLES[kind]
    return open_windows(root, root / "train.txt", windows_of, samples, form=form, memory=memory, **options)


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("stored", ["clips", "raw", "jpeg"])
@pytest.mark.parametrize("piece_bytes", [32 << 20, 200_000])
def test_samples_from_memory_are_bit_for_bit_those_of_the_files(kind, stored, piece_bytes, noise_root, monkeypatch):
    monkeypatch.setattr(resident, "PIECE_BYTES", piece_bytes)  # 7 crops
    if stored != "clips":
        pack(noise_root, IDS, encoding=stored, shard_bytes=1 << 20)
    form = "clips" if stored == "clips" else "packed"
    files = opened(noise_root, kind, form, seed=7)
    held = opened(noise_root, kind, "device", Memory(CPU), seed=7)
    assert files.source.reading is not Reading.HELD
    assert held.source.reading is Reading.HELD
    assert held.clips == files.clips and len(held.clips) == 4
    for first in (0, 1_000_000):
        numbers = range(first, first + 60)
        for a, b in zip(files.__getitems__(numbers), held.__getitems__(numbers), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_only_the_clips_of_the_list_are_held_once_each(noise_root):
    pack(noise_root, IDS)
    (noise_root / "train.txt").write_text("speaker/2\nspeaker/5\n")
    source = opened(noise_root, "generator", "device", Memory(CPU)).source
    assert source.pack.crops.parts[0].shape == (140, 96, 96, 3)  # 100 frames and 40
    assert source.pack.mels.parts[0].shape == (2 * 251, 80)  # 50 000 samples, a column for 200 and one more
    assert sum(rows.parts[0].nbytes for rows in (source.pack.crops, source.pack.mels)) == bytes_of(source)


def told(caplog, *arguments):
    caplog.clear()
    with caplog.at_level("INFO"):
        reading = opened(*arguments).reading
    return reading, next(line for line in caplog.messages if "them" in line)


def test_auto_holds_what_must_be_decoded_and_fits_and_says_what_it_chose_and_why(noise_root, caplog, monkeypatch):
    reading, line = told(caplog, noise_root, "generator", "auto", Memory(CPU))
    assert reading is Reading.HELD
    assert line.startswith("holds them in the memory of cpu: 0.00")
    reading, line = told(caplog, noise_root, "generator", "auto", Memory(CPU, share=1e-6))
    assert reading is Reading.DECODED
    assert "more than data_memory=1e-06 allows" in line
    monkeypatch.setattr(resident, "DECODED_AT_MOST", 200)
    reading, line = told(caplog, noise_root, "generator", "auto", Memory(CPU))
    assert reading is Reading.DECODED
    assert "to decode 264 crops first would take minutes; data=device does so" in line
    pack(noise_root, IDS)
    reading, line = told(caplog, noise_root, "generator", "auto", Memory(CPU))
    assert reading is Reading.GATHERED
    assert "a raw pack is shared memory already" in line


def test_processes_that_share_a_memory_share_what_may_be_taken_of_it(noise_root, monkeypatch):
    needed = bytes_of(opened(noise_root, "generator", "clips").source)
    monkeypatch.setattr(Memory, "free", lambda memory: 4 * needed)
    readings = [opened(noise_root, "generator", "auto", Memory(CPU, 0.5, n)).reading for n in (1, 2, 3)]
    assert readings == [Reading.HELD, Reading.HELD, Reading.DECODED]


def test_more_than_there_is_room_for_is_refused_if_asked_for_by_name(noise_root, monkeypatch):
    monkeypatch.setattr(Memory, "free", lambda memory: 1_000_000)
    with pytest.raises(InputError, match=r"data=device: the clips take 0.00\d+ GB and cpu has 0.001 GB free; choose"):
        opened(noise_root, "generator", "device", Memory(CPU))


def test_a_damaged_picture_is_met_as_from_files_by_auto_and_is_named_if_memory_was_asked_for(noise_root, caplog):
    (noise_root / "speaker/2/30.jpg").write_bytes(b"not a picture")
    reading, line = told(caplog, noise_root, "generator", "auto", Memory(CPU))
    assert reading is Reading.DECODED
    assert "speaker/2/30.jpg: is not a whole picture" in line
    with pytest.raises(InputError, match=r"speaker/2/30\.jpg: is not a whole picture"):
        opened(noise_root, "generator", "device", Memory(CPU))


@pytest.mark.skipif(not MEMINFO.exists(), reason="only Linux tells what memory is free")
def test_what_is_free_is_what_the_system_tells_within_the_limit_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "GROUPS", tmp_path)
    lines = MEMINFO.read_text().split()
    total = int(lines[lines.index("MemTotal:") + 1]) * 1024
    assert 0 < resident.free_ram() < total
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert resident.free_ram() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert 3_000_000 < resident.free_ram() < total


def test_a_mixture_of_held_clips_and_files_gives_the_same_samples(noise_root):
    files, held = (opened(noise_root, "generator", form, Memory(CPU), seed=3) for form in ("clips", "device"))
    plain, mixed = Mixture(files, files, 0.4, seed=3), Mixture(held, files, 0.4, seed=3)
    assert mixed.reading is Reading.HELD
    for a, b in zip(plain.__getitems__(range(30)), mixed.__getitems__(range(30)), strict=True):
        assert torch.equal(a, b)


def test_a_trainer_takes_the_same_steps_from_memory_as_from_files(noise_data, tmp_path):
    weights = []
    for form in ("clips", "device"):
        common = [f"data_root={noise_data}", f"checkpoint_dir={tmp_path / form}", "debug=tiny", "max_steps=3"]
        assert syncnet.train(config("syncnet", *common, f"data={form}")) == 0
        weights.append(load_checkpoint(tmp_path / form / "checkpoint_step000000003.pth").state_dict)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("kind", SAMPLES)
def test_nothing_of_a_batch_is_read_back_from_the_device_that_makes_it(kind, noise_root):
    """Tensors of the meta device have no values: code that asked for one, and so waited for a GPU, would fail."""
    meta = torch.device("meta")
    pack(noise_root, IDS, shard_bytes=1 << 20)
    held, files = (opened(noise_root, kind, form, Memory(meta), seed=3) for form in ("device", "packed"))
    for samples in (held, Mixture(held, held, 0.5, seed=3), Mixture(held, files, 0.5, seed=3)):
        batch, expected = samples.__getitems__(range(9)), files.__getitems__(range(9))
        large = [part.device for part in batch if part.numel() > 100]
        assert large and set(large) == {meta}
        assert [part.shape for part in batch] == [part.shape for part in expected]
        inputs = type(batch)(*(part.to(meta) for part in batch)).inputs()
        assert {part.device for part in inputs} == {meta}
