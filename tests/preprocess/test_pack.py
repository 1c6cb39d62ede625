"""Packing: killed or not the same bytes, nothing written twice, and every clip in its present form."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module

from preprocess.manifest import Manifest
from preprocess.pack import listed, pack, pack_command
from wav2lip.clips import Clip, ClipWriter
from wav2lip.errors import InputError
from wav2lip.packed import Pack

ROOT = Path(__file__).parents[2]
CLIPS = [f"speaker/{n}" for n in range(7)]
SHARD = 1 << 20  # bytes: 38 crops


def write_clip(root, name, seed=0, frames=range(20), samples=16_000):
    rng = np.random.default_rng(seed)
    with ClipWriter(root, name) as clip:
        for number in frames:
            clip.write_frame(number, cv2.resize(rng.integers(0, 255, (9, 8, 3), np.uint8), (120, 130)))
        clip.write_audio([rng.normal(0, 0.1, samples).astype(np.float32)])


@pytest.fixture
def root(tmp_path):
    for n, name in enumerate(CLIPS):
        write_clip(tmp_path, name, seed=n)
    return tmp_path


def files(folder):
    """Every file of a pack with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def crops_of(pack, clip):
    places = pack.places([clip])
    count = int(places.runs[:, 2].sum())
    return pack.crops.windows(torch.tensor(places.crops), count)[0].numpy()


@pytest.mark.parametrize("size", [96, 192])
def test_a_pack_holds_the_crops_and_the_mel_that_the_clip_gives(root, size):
    (done,) = pack(root, CLIPS, [size], shard_bytes=SHARD)
    packed = Pack.open(root / "packed" / str(size))
    assert (done.folder, done.clips, done.added, done.problems) == (packed.folder, 7, 7, {})
    assert done.seconds == pytest.approx(7 * 20 / 25)
    for name in CLIPS:
        clip, places = Clip.open(root / name), packed.places([name])
        np.testing.assert_array_equal(crops_of(packed, name), [clip.read(n, size) for n in clip.frames])
        mel = packed.mels.windows(torch.tensor(places.columns), int(places.lengths[0]))[0].T
        np.testing.assert_array_equal(mel, clip.mel())


def test_several_sizes_are_packed_in_one_call(root):
    assert [done.folder.name for done in pack(root, CLIPS, [96, 48])] == ["96", "48"]


def test_a_second_run_writes_nothing_and_more_clips_make_shards_of_their_own(root):
    pack(root, CLIPS[:4], shard_bytes=SHARD)
    before = files(root / "packed/96")
    assert len([name for name in before if name.endswith("crops.bin")]) == 2
    assert pack(root, CLIPS[:4], shard_bytes=SHARD)[0].added == 0
    assert files(root / "packed/96") == before
    stamps = {path: path.stat().st_mtime_ns for path in (root / "packed/96").glob("*/*")}
    assert pack(root, CLIPS, shard_bytes=SHARD)[0].added == 3
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    after = files(root / "packed/96")
    assert all(after[name] == content for name, content in before.items() if name != "pack.json")
    assert len([name for name in after if name.endswith("crops.bin")]) == 4


def test_a_clip_that_changed_is_packed_anew_and_the_rest_is_not(root):
    pack(root, CLIPS, shard_bytes=SHARD)
    before = files(root / "packed/96")
    write_clip(root, CLIPS[2], seed=99, frames=range(5, 30))
    (done,) = pack(root, CLIPS, shard_bytes=SHARD)
    assert (done.added, done.clips) == (1, 7)
    assert all(files(root / "packed/96")[name] == content for name, content in before.items() if name != "pack.json")
    clip = Clip.open(root / CLIPS[2])
    np.testing.assert_array_equal(crops_of(Pack.open(done.folder), CLIPS[2]), [clip.read(n, 96) for n in range(5, 30)])


def test_a_clip_no_longer_wanted_or_no_longer_there_is_dead_and_comes_back_without_being_packed_again(root):
    pack(root, CLIPS, shard_bytes=SHARD)
    (root / CLIPS[3]).rename(root / "away")
    (done,) = pack(root, CLIPS[1:])
    assert sorted(Pack.open(done.folder).entries) == [CLIPS[n] for n in (1, 2, 4, 5, 6)]
    (root / "away").rename(root / CLIPS[3])
    (done,) = pack(root, CLIPS)
    assert (done.added, sorted(Pack.open(done.folder).entries)) == (0, CLIPS)


def test_overwrite_leaves_the_bytes_of_a_first_run_over_what_is_there_now(root):
    first = pack(root, CLIPS[1:], shard_bytes=SHARD)[0]
    expected = files(first.folder)
    write_clip(root, CLIPS[0], seed=50)
    pack(root, CLIPS, shard_bytes=SHARD)
    assert set(files(first.folder)) > set(expected)
    (done,) = pack(root, CLIPS[1:], overwrite=True, shard_bytes=SHARD)
    assert files(done.folder) == expected
    assert done.bytes == sum(map(len, expected.values())) - len(expected["pack.json"])
    assert [path.name for path in (root / "packed").iterdir()] == ["96"]


def test_another_encoding_needs_overwrite(root):
    pack(root, CLIPS)
    with pytest.raises(InputError, match="is packed as raw; give encoding=raw, or overwrite=true"):
        pack(root, CLIPS, encoding="jpeg")
    (done,) = pack(root, CLIPS, encoding="jpeg", overwrite=True)
    assert done.bytes < 7 * 20 * 96 * 96 * 3 / 2
    crop = Clip.open(root / CLIPS[0]).read(0, 96).astype(int)
    assert np.abs(crops_of(Pack.open(done.folder), CLIPS[0])[0] - crop).mean() < 3


def test_a_damaged_picture_becomes_a_gap_and_a_clip_without_sound_a_note_that_is_not_tried_again(root, caplog):
    (root / CLIPS[0] / "7.jpg").write_bytes(b"not a picture")
    (root / CLIPS[1] / "audio.wav").write_bytes(b"")
    (done,) = pack(root, CLIPS)
    packed = Pack.open(done.folder)
    assert packed.places([CLIPS[0]]).runs.tolist() == [[0, 0, 7], [0, 8, 12]]
    assert f"{CLIPS[0]}/7.jpg" in caplog.text
    assert done.problems.keys() == {CLIPS[1]} and done.clips == 6
    assert re.match(rf"{CLIPS[1]}/audio\.wav: is empty", done.problems[CLIPS[1]])
    assert pack(root, CLIPS)[0].added == 0


def test_a_cut_shard_is_named_and_packed_again_once_it_is_removed(root):
    pack(root, CLIPS, shard_bytes=SHARD)
    expected = files(root / "packed/96")
    crops = root / "packed/96/000003/crops.bin"
    os.truncate(crops, 1000)
    with pytest.raises(InputError, match="000003: crops.bin has 1000 bytes instead of 552960; remove this folder"):
        pack(root, CLIPS, shard_bytes=SHARD)
    for file in crops.parent.iterdir():
        file.unlink()
    crops.parent.rmdir()
    assert pack(root, CLIPS, shard_bytes=SHARD)[0].added == 1
    assert files(root / "packed/96") == expected


KILLED = """
import os, random, signal, sys, threading
from pathlib import Path
import preprocess.pack
chance = random.Random(int(sys.argv[2]))
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def write_some(*arguments, crop=preprocess.pack._crop, left=[chance.randrange(60)]):
    left[0] -= 1  # after so many crops, and then at any moment of the next milliseconds
    if left[0] == 0:
        threading.Timer(chance.uniform(0, 0.02), kill).start()
    return crop(*arguments)
preprocess.pack._crop = write_some
preprocess.pack.pack(Path(sys.argv[1]), [f"speaker/{n}" for n in range(7)], overwrite=sys.argv[3] == "overwrite",
                     shard_bytes=1 << 20)
kill()  # at the end, if it came so far
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("kills", "how"), [
    (2, "append"),
    pytest.param(8, "append", marks=pytest.mark.slow),
    pytest.param(8, "overwrite", marks=pytest.mark.slow),
])  # fmt: skip
def test_killed_at_random_moments_and_started_again_the_bytes_are_those_of_one_run(root, tmp_path, kills, how):
    whole = tmp_path / "whole"
    for n, name in enumerate(CLIPS):
        write_clip(whole, name, seed=n)
    pack(whole, CLIPS, shard_bytes=SHARD)
    for kill in range(kills):
        command = [sys.executable, "-c", KILLED, str(root), str(kill), how]
        assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    pack(root, CLIPS, overwrite=how == "overwrite", shard_bytes=SHARD)
    assert files(root / "packed") == files(whole / "packed")


def write_lists(root, **lists):
    (root / "filelists").mkdir()
    for name, clips in lists.items():
        (root / "filelists" / f"{name}.txt").write_text("".join(f"{clip}\n" for clip in clips))


def run(root, *overrides):
    with initialize_config_module("configs", version_base="1.3"):
        pack_command(compose("pack", [f"data_root={root}", *overrides]))


def test_the_command_packs_the_clips_of_the_file_lists_each_once(root, capsys):
    write_lists(root, train=[CLIPS[4], CLIPS[0]], val=[CLIPS[0], CLIPS[2]], test=[])
    assert listed(root, root / "filelists") == [CLIPS[4], CLIPS[0], CLIPS[2]]
    run(root, "verify=true")
    assert list(Pack.open(root / "packed/96").entries) == [CLIPS[4], CLIPS[0], CLIPS[2]]
    assert re.search(r"packed/96: 3 clips, 3 of them new, .* GB an hour\), verified", capsys.readouterr().out)


def test_a_pack_waits_for_no_other_run_and_takes_nothing_from_it(root):
    write_lists(root, train=CLIPS)
    begun = root / "packed/96/.partial"  # what another run is writing
    with Manifest(root):
        begun.mkdir(parents=True)
        with pytest.raises(InputError, match="another run is writing there"):
            run(root)
        assert begun.exists()
    run(root)
    assert not begun.exists()
    run(root)  # the lock was let go


def test_verify_names_the_damaged_clip(root):
    write_lists(root, train=CLIPS)
    run(root)
    with (root / "packed/96/000000/crops.bin").open("rb+") as file:
        file.seek(30 * 96 * 96 * 3)
        file.write(b"\1\2\3")
    with pytest.raises(
        InputError, match=rf"the bytes of {CLIPS[1]} are not those that were written; remove this folder"
    ):
        run(root, "verify=true")


@pytest.mark.parametrize(("overrides", "sentence"), [
    (["data_root=/nowhere"], "/nowhere: no such folder"),
    ([], "no clip in train.txt, val.txt or test.txt"),
    (["filelists=/nowhere"], "/nowhere: no clip in train.txt"),
])  # fmt: skip
def test_a_command_without_clips_is_one_sentence(root, overrides, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        run(root, *overrides)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"encoding": "png"}, "encoding=png: is none of raw, jpeg"),
    ({"sizes": []}, "sizes=[]"),
    ({"sizes": [0]}, "sizes=[0]"),
    ({"workers": 0}, "workers=0"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(root, options, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        pack(root, CLIPS, **options)


def test_a_data_root_that_cannot_be_written_is_one_sentence(root):
    (root / "packed").write_text("in the way")
    with pytest.raises(InputError, match="packed.*: .*; the pack needs a disk with room"):
        pack(root, CLIPS)
