"""Packs return what was written, and every corrupt byte is detected."""

import json
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch

from tests.helpers.clips import write_clip
from wav2lip.dataset.packed import Pack
from wav2lip.dataset.shards import (
    PackManifest,
    Shard,
    ShardWriter,
    encode_crop,
    find_runs,
    fingerprint_clip,
    pack_folder,
)
from wav2lip.errors import InputError

SIZE = 8
RNG = np.random.default_rng(0)
# name: frame numbers, mel columns; "b" comes twice and counts as it is the second time
CLIPS = [("a", [0, 1, 2, 5, 6], 40), ("b", [3], 30), ("c", list(range(10, 30)), 99), ("b", [1, 2, 3, 4], 31)]
CONTENT = [
    (name, np.array(frames), RNG.integers(0, 256, (len(frames), SIZE, SIZE, 3), np.uint8),
     RNG.normal(size=(80, columns)).astype(np.float32))
    for name, frames, columns in CLIPS
]  # fmt: skip


def write_pack(folder, encoding, clips_in_shards):
    for number, clips in enumerate(clips_in_shards):
        with ShardWriter(folder / f"{number:06d}", encoding) as writer:
            for name, frames, crops, mel in clips:
                writer.add(name, f"mark of {name}", frames, [encode_crop(crop, encoding) for crop in crops], mel)
    shards = [Shard.open(folder / f"{n:06d}", SIZE, encoding) for n in range(len(clips_in_shards))]
    PackManifest(SIZE, encoding, {shard.folder.name: shard.checksum for shard in shards}, []).write(folder)
    return folder


@pytest.fixture(params=["raw", "jpeg"])
def folder(request, tmp_path):
    return write_pack(pack_folder(tmp_path, SIZE), request.param, [CONTENT[:2], CONTENT[2:]])


def read_clip(pack, clip):
    """Frame numbers, crops and mel of a clip, row by row."""
    located = pack.locate_clips([clip])
    frames = np.concatenate([np.arange(first, first + count) for _, first, count in located.runs])
    crops = pack.crops.windows(located.first_crops[0] + torch.arange(len(frames)), 1)[:, 0]
    mel = pack.mels.windows(torch.tensor(located.first_columns), int(located.column_counts[0]))[0].T
    return frames, crops.numpy(), mel.numpy()


def test_pack_round_trip_with_latest_entry_of_a_clip(folder):
    pack = Pack.open(folder)
    assert list(pack.entries) == ["a", "b", "c"]
    for name, frames, crops, mel in (CONTENT[0], CONTENT[2], CONTENT[3]):
        actual = read_clip(pack, name)
        np.testing.assert_array_equal(actual[0], frames)
        np.testing.assert_array_equal(actual[2], mel)
        if pack.encoding == "raw":
            np.testing.assert_array_equal(actual[1], crops)
        else:
            expected = [
                cv2.imdecode(np.frombuffer(encode_crop(crop, "jpeg"), np.uint8), cv2.IMREAD_COLOR_RGB) for crop in crops
            ]
            np.testing.assert_array_equal(actual[1], expected)
    pack.verify()


def test_locate_clips_keeps_order(folder):
    located = Pack.open(folder).locate_clips(["c", "a"])
    assert located.runs.tolist() == [[0, 10, 20], [1, 0, 3], [1, 5, 2]]
    assert located.column_counts.tolist() == [99, 40]
    assert located.first_crops.tolist() == [6, 0]  # after the 5 of a and the first b
    assert located.first_columns.tolist() == [70, 0]


def test_windows_of_many_shards_equal_one_shard(tmp_path):
    single_shard = Pack.open(write_pack(tmp_path / "one", "raw", [CONTENT]))
    many_shards = Pack.open(write_pack(tmp_path / "many", "raw", [[clip] for clip in CONTENT]))
    first = torch.tensor([21, 0, 6, 11, 0, 20])
    assert torch.equal(single_shard.crops.windows(first, 5), many_shards.crops.windows(first, 5))
    columns = torch.tensor([150, 3, 75, 184, 14])
    assert torch.equal(single_shard.mels.windows(columns, 16), many_shards.mels.windows(columns, 16))


def test_removed_clip_is_not_in_index(folder):
    manifest = PackManifest.read(folder)
    PackManifest(manifest.size, manifest.encoding, manifest.shards, ["b"]).write(folder)
    assert list(Pack.open(folder).entries) == ["a", "c"]


def test_pickle_holds_folder_instead_of_bytes(folder):
    data = pickle.dumps(Pack.open(folder))
    assert len(data) < 500
    np.testing.assert_array_equal(read_clip(pickle.loads(data), "c")[2], CONTENT[2][3])


def test_failed_shard_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="power"), ShardWriter(tmp_path / "000000", "raw") as writer:
        writer.add(
            *CONTENT[0][:1], "mark", CONTENT[0][1], [encode_crop(crop, "raw") for crop in CONTENT[0][2]], CONTENT[0][3]
        )
        raise RuntimeError("power went")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["crops.bin", "mels.bin", "offsets.bin", "index.json"])
@pytest.mark.parametrize("corruption", ["truncated", "longer", "missing"])
def test_file_of_wrong_size_is_reported_when_opened(folder, name, corruption):
    file = folder / "000001" / name
    if not file.exists():
        pytest.skip("raw crops need no offsets")
    content = file.read_bytes()
    if corruption == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if corruption == "truncated" else content + b" ")
    with pytest.raises(InputError, match=rf"000001: {name} .*; .*preprocess\.pack"):
        Pack.open(folder)


def test_replaced_index_is_reported_when_opened(folder):
    file = folder / "000000" / "index.json"
    index = json.loads(file.read_text())
    index["clips"][0] = "x"
    file.write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"000000: index\.json does not match its checksum"):
        Pack.open(folder)


def test_missing_shard_and_corrupt_manifest_are_reported(folder):
    shutil.rmtree(folder / "000001")
    with pytest.raises(InputError, match="000001: index.json is missing"):
        Pack.open(folder)
    (folder / "pack.json").write_text('{"size": 8,')
    with pytest.raises(InputError, match=r"pack\.json: is truncated or corrupt"):
        Pack.open(folder)
    (folder / "pack.json").write_text('{"version": 99}')
    with pytest.raises(InputError, match=r"version 99, expected 2"):
        Pack.open(folder)
    (folder / "pack.json").unlink()
    with pytest.raises(
        InputError, match=rf"no complete pack; .*preprocess.pack data_root=\S+ sizes=\[{folder.name}\]$"
    ):
        Pack.open(folder)


CORRUPTIONS = [("crops.bin", 700, "a"), ("crops.bin", -1, "b"), ("mels.bin", 3, "a"), ("mels.bin", 40 * 320 + 12, "b"),
        ("offsets.bin", 17, "a")]  # fmt: skip


@pytest.mark.parametrize(("name", "position", "clip"), CORRUPTIONS)
def test_flipped_byte_is_detected_and_clip_named(tmp_path, name, position, clip):
    encoding = "jpeg" if name == "offsets.bin" else "raw"
    folder = write_pack(pack_folder(tmp_path, SIZE), encoding, [[CONTENT[0], CONTENT[3]]])
    content = bytearray((folder / "000000" / name).read_bytes())
    content[position] ^= 1
    (folder / "000000" / name).write_bytes(content)
    with pytest.raises(InputError, match=f"000000: {clip} does not match its checksum"):
        Pack.open(folder).verify()


def test_corruption_in_dead_entry_is_ignored(folder):
    content = bytearray((folder / "000000" / "mels.bin").read_bytes())
    content[-1] ^= 1  # of the first b
    (folder / "000000" / "mels.bin").write_bytes(content)
    Pack.open(folder).verify()


def test_fingerprint_covers_audio_and_crop_sizes_not_location(tmp_path):
    clip = write_clip(tmp_path, frames=[0, 1, 5])
    fingerprint = fingerprint_clip(clip)
    shutil.copytree(clip, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "wav2lip_mel.npy").write_bytes(b"a cache")
    assert fingerprint_clip(tmp_path / "elsewhere") == fingerprint
    audio = bytearray((clip / "audio.wav").read_bytes())
    audio[5000] ^= 1
    (tmp_path / "elsewhere" / "audio.wav").write_bytes(audio)
    assert fingerprint_clip(tmp_path / "elsewhere") != fingerprint
    (clip / "5.jpg").rename(clip / "6.jpg")
    assert fingerprint_clip(clip) != fingerprint


def test_find_runs_returns_first_numbers_and_lengths():
    assert find_runs(np.array([0, 1, 2, 7, 9, 10], np.int32)).tolist() == [[0, 3], [7, 1], [9, 2]]
    assert find_runs(np.array([4])).tolist() == [[4, 1]]
    assert find_runs(np.empty(0, np.int32)).shape == (0, 2)
