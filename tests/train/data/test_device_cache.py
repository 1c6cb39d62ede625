"""The cache gives the same samples as the files, and is used where it is faster and fits."""

from pathlib import Path

import pytest
import torch

from preprocess.pack import pack_clips
from tests.helpers.trainers import compose_config
from tests.helpers.training import NOISE_CLIPS, SAMPLES, open_noise
from train import syncnet
from train.data import device_cache
from train.data.device_cache import CacheBudget, cache_bytes
from train.data.mixture import ReplayMixture
from train.data.sources import ReadCost
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError

CPU = torch.device("cpu")
MEMINFO = Path("/proc/meminfo")


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("storage", ["clips", "raw", "jpeg"])
@pytest.mark.parametrize("chunk_bytes", [32 << 20, 200_000])
def test_cached_samples_equal_files_bit_for_bit(kind, storage, chunk_bytes, noise_root, monkeypatch):
    monkeypatch.setattr(device_cache, "CHUNK_BYTES", chunk_bytes)  # 7 crops
    if storage != "clips":
        pack_clips(noise_root, NOISE_CLIPS, encoding=storage, shard_bytes=1 << 20)
    data_source = "clips" if storage == "clips" else "packed"
    files = open_noise(noise_root, kind, data_source, seed=7)
    cached = open_noise(noise_root, kind, "device", cache=CacheBudget(CPU), seed=7)
    assert files.source.read_cost is not ReadCost.CACHED
    assert cached.source.read_cost is ReadCost.CACHED
    assert cached.clips == files.clips and len(cached.clips) == 4
    for first in (0, 1_000_000):
        numbers = range(first, first + 60)
        for a, b in zip(files.__getitems__(numbers), cached.__getitems__(numbers), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_only_listed_clips_are_cached(noise_root):
    pack_clips(noise_root, NOISE_CLIPS)
    (noise_root / "train.txt").write_text("speaker/2\nspeaker/5\n")
    source = open_noise(noise_root, "generator", "device", cache=CacheBudget(CPU)).source
    assert source.store.crops.tensors[0].shape == (140, 96, 96, 3)  # 100 frames and 40
    assert source.store.mels.tensors[0].shape == (2 * 251, 80)  # 50 000 samples, one column per 200 and one more
    assert sum(rows.tensors[0].nbytes for rows in (source.store.crops, source.store.mels)) == cache_bytes(source)


def open_auto(caplog, root, cache):
    """Cost and log line of the source that data_source=auto chooses."""
    caplog.clear()
    with caplog.at_level("INFO"):
        cost = open_noise(root, "generator", "auto", cache=cache).read_cost
    return cost, next(line for line in caplog.messages if "the dataset" in line)


def test_auto_caches_what_must_be_decoded_and_fits(noise_root, caplog, monkeypatch):
    cost, line = open_auto(caplog, noise_root, CacheBudget(CPU))
    assert cost is ReadCost.CACHED
    assert line.startswith("caching the dataset on cpu (0.00")
    cost, line = open_auto(caplog, noise_root, CacheBudget(CPU, fraction=1e-6))
    assert cost is ReadCost.DECODED
    assert "device_cache_fraction=1e-06" in line
    monkeypatch.setattr(device_cache, "MAX_DECODED_CROPS", 200)
    cost, line = open_auto(caplog, noise_root, CacheBudget(CPU))
    assert cost is ReadCost.DECODED
    assert "264 crops" in line
    pack_clips(noise_root, NOISE_CLIPS)
    cost, line = open_auto(caplog, noise_root, CacheBudget(CPU))
    assert cost is ReadCost.MAPPED
    assert "raw pack" in line


def test_processes_share_the_budget(noise_root, monkeypatch):
    needed = cache_bytes(open_noise(noise_root, "generator", "clips").source)
    monkeypatch.setattr(CacheBudget, "free_bytes", lambda memory: 4 * needed)
    costs = [open_noise(noise_root, "generator", "auto", cache=CacheBudget(CPU, 0.5, n)).read_cost for n in (1, 2, 3)]
    assert costs == [ReadCost.CACHED, ReadCost.CACHED, ReadCost.DECODED]


def test_device_rejects_dataset_larger_than_memory(noise_root, monkeypatch):
    monkeypatch.setattr(CacheBudget, "free_bytes", lambda memory: 1_000_000)
    with pytest.raises(InputError, match=r"data_source=device: .*0\.00\d+ GB.* 0\.001 GB free"):
        open_noise(noise_root, "generator", "device", cache=CacheBudget(CPU))


def test_corrupt_image_disables_auto_and_fails_device(noise_root, caplog):
    (noise_root / "speaker/2/30.jpg").write_bytes(b"not an image")
    cost, line = open_auto(caplog, noise_root, CacheBudget(CPU))
    assert cost is ReadCost.DECODED
    assert "speaker/2/30.jpg: is corrupt" in line
    with pytest.raises(InputError, match=r"speaker/2/30\.jpg: is corrupt"):
        open_noise(noise_root, "generator", "device", cache=CacheBudget(CPU))


@pytest.mark.skipif(not MEMINFO.exists(), reason="only Linux reports free memory")
def test_free_ram_respects_container_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(device_cache, "CGROUP", tmp_path)
    lines = MEMINFO.read_text().split()
    total = int(lines[lines.index("MemTotal:") + 1]) * 1024
    assert 0 < device_cache.free_ram_bytes() < total
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    assert device_cache.free_ram_bytes() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert 3_000_000 < device_cache.free_ram_bytes() < total


def test_mixture_of_cache_and_files_gives_same_samples(noise_root):
    files, cached = (
        open_noise(noise_root, "generator", data_source, cache=CacheBudget(CPU), seed=3)
        for data_source in ("clips", "device")
    )
    plain, mixed = ReplayMixture(files, files, 0.4, seed=3), ReplayMixture(cached, files, 0.4, seed=3)
    assert mixed.read_cost is ReadCost.CACHED
    for a, b in zip(plain.__getitems__(range(30)), mixed.__getitems__(range(30)), strict=True):
        assert torch.equal(a, b)


def test_trainer_takes_same_steps_from_cache_as_from_files(noise_data, tmp_path):
    weights = []
    for data_source in ("clips", "device"):
        common = [f"data_root={noise_data}", f"checkpoint_dir={tmp_path / data_source}", "debug=tiny", "max_steps=3"]
        assert syncnet.run(compose_config("syncnet", *common, f"data_source={data_source}")) == 0
        weights.append(load_checkpoint(tmp_path / data_source / "checkpoint_step000000003.pth").state_dict)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("kind", SAMPLES)
def test_cached_batch_is_never_read_back_from_the_device(kind, noise_root):
    """Tensors on the meta device have no values: code that reads one, and so would wait for a GPU, fails."""
    meta = torch.device("meta")
    pack_clips(noise_root, NOISE_CLIPS, shard_bytes=1 << 20)
    cached, files = (
        open_noise(noise_root, kind, data_source, cache=CacheBudget(meta), seed=3)
        for data_source in ("device", "packed")
    )
    for samples in (cached, ReplayMixture(cached, cached, 0.5, seed=3), ReplayMixture(cached, files, 0.5, seed=3)):
        batch, expected = samples.__getitems__(range(9)), files.__getitems__(range(9))
        large = [part.device for part in batch if part.numel() > 100]
        assert large and set(large) == {meta}
        assert [part.shape for part in batch] == [part.shape for part in expected]
        inputs = type(batch)(*(part.to(meta) for part in batch)).inputs()
        assert {part.device for part in inputs} == {meta}
