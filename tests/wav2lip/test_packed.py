"""A pack gives back what was put in, for as long as its bytes are those that were written."""

import json
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch

from tests.wav2lip.test_clips import write_clip
from wav2lip.errors import InputError
from wav2lip.packed import Pack
from wav2lip.shards import Head, Shard, ShardWriter, encode, fingerprint, pack_folder, runs_of

SIZE = 8
RNG = np.random.default_rng(0)
# name: frame numbers, mel columns; "b" comes twice and counts as it is the second time
CLIPS = [("a", [0, 1, 2, 5, 6], 40), ("b", [3], 30), ("c", list(range(10, 30)), 99), ("b", [1, 2, 3, 4], 31)]
CONTENT = [
    (name, np.array(frames), RNG.integers(0, 256, (len(frames), SIZE, SIZE, 3), np.uint8),
     RNG.normal(size=(80, columns)).astype(np.float32))
    for name, frames, columns in CLIPS
]  # fmt: skip


def write(folder, encoding, clips_in_shards):
    for number, clips in enumerate(clips_in_shards):
        with ShardWriter(folder / f"{number:06d}", encoding) as writer:
            for name, frames, crops, mel in clips:
                writer.add(name, f"mark of {name}", frames, [encode(crop, encoding) for crop in crops], mel)
    shards = [Shard.open(folder / f"{n:06d}", SIZE, encoding) for n in range(len(clips_in_shards))]
    Head(SIZE, encoding, {shard.folder.name: shard.checksum for shard in shards}, []).write(folder)
    return folder


@pytest.fixture(params=["raw", "jpeg"])
def folder(request, tmp_path):
    return write(pack_folder(tmp_path, SIZE), request.param, [CONTENT[:2], CONTENT[2:]])


def content_of(pack, clip):
    """Frame numbers, crops and mel, read back a row at a time."""
    places = pack.places([clip])
    frames = np.concatenate([np.arange(first, first + count) for _, first, count in places.runs])
    crops = pack.crops.windows(places.crops[0] + torch.arange(len(frames)), 1)[:, 0]
    mel = pack.mels.windows(torch.tensor(places.columns), int(places.lengths[0]))[0].T
    return frames, crops.numpy(), mel.numpy()


def test_clips_come_back_as_they_were_written_and_the_later_one_of_a_name_counts(folder):
    pack = Pack.open(folder)
    assert list(pack.entries) == ["a", "b", "c"]
    for name, frames, crops, mel in (CONTENT[0], CONTENT[2], CONTENT[3]):
        ours = content_of(pack, name)
        np.testing.assert_array_equal(ours[0], frames)
        np.testing.assert_array_equal(ours[2], mel)
        if pack.encoding == "raw":
            np.testing.assert_array_equal(ours[1], crops)
        else:
            once = [cv2.imdecode(np.frombuffer(encode(crop, "jpeg"), np.uint8), cv2.IMREAD_COLOR_RGB) for crop in crops]
            np.testing.assert_array_equal(ours[1], once)
    pack.verify()


def test_places_are_of_the_clips_asked_for_in_their_order(folder):
    places = Pack.open(folder).places(["c", "a"])
    assert places.runs.tolist() == [[0, 10, 20], [1, 0, 3], [1, 5, 2]]
    assert places.lengths.tolist() == [99, 40]
    assert places.crops.tolist() == [6, 0]  # after the 5 of a and the first b
    assert places.columns.tolist() == [70, 0]


def test_windows_over_many_shards_are_those_of_one(tmp_path):
    one = Pack.open(write(tmp_path / "one", "raw", [CONTENT]))
    many = Pack.open(write(tmp_path / "many", "raw", [[clip] for clip in CONTENT]))
    first = torch.tensor([21, 0, 6, 11, 0, 20])
    assert torch.equal(one.crops.windows(first, 5), many.crops.windows(first, 5))
    columns = torch.tensor([150, 3, 75, 184, 14])
    assert torch.equal(one.mels.windows(columns, 16), many.mels.windows(columns, 16))


def test_a_clip_that_is_gone_is_not_in_the_index(folder):
    head = Head.read(folder)
    Head(head.size, head.encoding, head.shards, ["b"]).write(folder)
    assert list(Pack.open(folder).entries) == ["a", "c"]


def test_another_process_is_sent_the_name_of_the_pack_and_not_its_bytes(folder):
    sent = pickle.dumps(Pack.open(folder))
    assert len(sent) < 500
    np.testing.assert_array_equal(content_of(pickle.loads(sent), "c")[2], CONTENT[2][3])


def test_a_shard_that_fails_half_way_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="power"), ShardWriter(tmp_path / "000000", "raw") as writer:
        writer.add(
            *CONTENT[0][:1], "mark", CONTENT[0][1], [encode(crop, "raw") for crop in CONTENT[0][2]], CONTENT[0][3]
        )
        raise RuntimeError("power went")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["crops.bin", "mels.bin", "offsets.bin", "index.json"])
@pytest.mark.parametrize("harm", ["cut", "longer", "missing"])
def test_a_file_that_is_cut_or_missing_is_noticed_at_opening(folder, name, harm):
    file = folder / "000001" / name
    if not file.exists():
        pytest.skip("raw crops need no offsets")
    whole = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[:-1] if harm == "cut" else whole + b" ")
    with pytest.raises(InputError, match=rf"000001: {name} .*; remove this folder and run python -m preprocess\.pack"):
        Pack.open(folder)


def test_an_index_that_is_whole_but_another_is_noticed_at_opening(folder):
    file = folder / "000000" / "index.json"
    index = json.loads(file.read_text())
    index["clips"][0] = "x"
    file.write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"000000: index\.json is not the one that was written"):
        Pack.open(folder)


def test_a_lost_shard_and_a_lost_or_damaged_head_are_named(folder):
    shutil.rmtree(folder / "000001")
    with pytest.raises(InputError, match="000001: index.json cannot be read"):
        Pack.open(folder)
    (folder / "pack.json").write_text('{"size": 8,')
    with pytest.raises(InputError, match=r"pack\.json: is not whole"):
        Pack.open(folder)
    (folder / "pack.json").write_text('{"version": 99}')
    with pytest.raises(InputError, match=r"is of version 99, not 1"):
        Pack.open(folder)
    (folder / "pack.json").unlink()
    with pytest.raises(InputError, match="holds no finished pack"):
        Pack.open(folder)


HARM = [("crops.bin", 700, "a"), ("crops.bin", -1, "b"), ("mels.bin", 3, "a"), ("mels.bin", 40 * 320 + 12, "b"),
        ("offsets.bin", 17, "a")]  # fmt: skip


@pytest.mark.parametrize(("name", "at", "clip"), HARM)
def test_one_changed_byte_is_found_and_the_clip_named(tmp_path, name, at, clip):
    encoding = "jpeg" if name == "offsets.bin" else "raw"
    folder = write(pack_folder(tmp_path, SIZE), encoding, [[CONTENT[0], CONTENT[3]]])
    content = bytearray((folder / "000000" / name).read_bytes())
    content[at] ^= 1
    (folder / "000000" / name).write_bytes(content)
    with pytest.raises(InputError, match=f"000000: the bytes of {clip} are not those that were written; remove this"):
        Pack.open(folder).verify()


def test_damage_in_what_is_dead_does_not_matter(folder):
    content = bytearray((folder / "000000" / "mels.bin").read_bytes())
    content[-1] ^= 1  # of the first b
    (folder / "000000" / "mels.bin").write_bytes(content)
    Pack.open(folder).verify()


def test_a_fingerprint_is_of_the_sound_and_of_the_sizes_of_the_crops_wherever_they_lie(tmp_path):
    clip = write_clip(tmp_path, frames=[0, 1, 5])
    mark = fingerprint(clip)
    shutil.copytree(clip, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "mel.npy").write_bytes(b"a cache")
    assert fingerprint(tmp_path / "elsewhere") == mark
    sound = bytearray((clip / "audio.wav").read_bytes())
    sound[5000] ^= 1
    (tmp_path / "elsewhere" / "audio.wav").write_bytes(sound)
    assert fingerprint(tmp_path / "elsewhere") != mark
    (clip / "5.jpg").rename(clip / "6.jpg")
    assert fingerprint(clip) != mark


def test_runs_are_first_numbers_and_counts():
    assert runs_of(np.array([0, 1, 2, 7, 9, 10], np.int32)).tolist() == [[0, 3], [7, 1], [9, 2]]
    assert runs_of(np.array([4])).tolist() == [[4, 1]]
    assert runs_of(np.empty(0, np.int32)).shape == (0, 2)
