"""Packs of clips: the same bytes after kills, and no clip written twice."""

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

from preprocess.pack import pack, pack_clips, read_filelists
from wav2lip.dataset.clip import Clip, ClipWriter
from wav2lip.dataset.packed import Pack
from wav2lip.errors import InputError
from wav2lip.execution.manifest import Manifest

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


def read_files(folder):
    """Return the bytes of every file of a pack, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_crops(pack, clip):
    located = pack.locate_clips([clip])
    count = int(located.runs[:, 2].sum())
    return pack.crops.windows(torch.tensor(located.first_crops), count)[0].numpy()


@pytest.mark.parametrize("size", [96, 192])
def test_pack_contains_crops_and_mel_of_clip(root, size):
    (result,) = pack_clips(root, CLIPS, [size], shard_bytes=SHARD)
    packed = Pack.open(root / "packed" / str(size))
    assert (result.folder, result.clips, result.added, result.problems) == (packed.folder, 7, 7, {})
    assert result.seconds == pytest.approx(7 * 20 / 25)
    for name in CLIPS:
        clip, located = Clip.open(root / name), packed.locate_clips([name])
        np.testing.assert_array_equal(read_crops(packed, name), [clip.read(n, size) for n in clip.frames])
        mel = packed.mels.windows(torch.tensor(located.first_columns), int(located.column_counts[0]))[0].T
        np.testing.assert_array_equal(mel, clip.mel())


def test_several_sizes_are_packed(root):
    assert [result.folder.name for result in pack_clips(root, CLIPS, [96, 48])] == ["96", "48"]


def test_second_run_adds_only_shards_of_new_clips(root):
    pack_clips(root, CLIPS[:4], shard_bytes=SHARD)
    before = read_files(root / "packed/96")
    assert len([name for name in before if name.endswith("crops.bin")]) == 2
    assert pack_clips(root, CLIPS[:4], shard_bytes=SHARD)[0].added == 0
    assert read_files(root / "packed/96") == before
    stamps = {path: path.stat().st_mtime_ns for path in (root / "packed/96").glob("*/*")}
    assert pack_clips(root, CLIPS, shard_bytes=SHARD)[0].added == 3
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    after = read_files(root / "packed/96")
    assert all(after[name] == content for name, content in before.items() if name != "pack.json")
    assert len([name for name in after if name.endswith("crops.bin")]) == 4


def test_only_changed_clip_is_repacked(root):
    pack_clips(root, CLIPS, shard_bytes=SHARD)
    before = read_files(root / "packed/96")
    write_clip(root, CLIPS[2], seed=99, frames=range(5, 30))
    (result,) = pack_clips(root, CLIPS, shard_bytes=SHARD)
    assert (result.added, result.clips) == (1, 7)
    assert all(
        read_files(root / "packed/96")[name] == content for name, content in before.items() if name != "pack.json"
    )
    clip = Clip.open(root / CLIPS[2])
    np.testing.assert_array_equal(
        read_crops(Pack.open(result.folder), CLIPS[2]), [clip.read(n, 96) for n in range(5, 30)]
    )


def test_removed_clip_returns_without_repacking(root):
    pack_clips(root, CLIPS, shard_bytes=SHARD)
    (root / CLIPS[3]).rename(root / "away")
    (result,) = pack_clips(root, CLIPS[1:])
    assert sorted(Pack.open(result.folder).entries) == [CLIPS[n] for n in (1, 2, 4, 5, 6)]
    (root / "away").rename(root / CLIPS[3])
    (result,) = pack_clips(root, CLIPS)
    assert (result.added, sorted(Pack.open(result.folder).entries)) == (0, CLIPS)


def test_overwrite_gives_bytes_of_first_run(root):
    first = pack_clips(root, CLIPS[1:], shard_bytes=SHARD)[0]
    expected = read_files(first.folder)
    write_clip(root, CLIPS[0], seed=50)
    pack_clips(root, CLIPS, shard_bytes=SHARD)
    assert set(read_files(first.folder)) > set(expected)
    (result,) = pack_clips(root, CLIPS[1:], overwrite=True, shard_bytes=SHARD)
    assert read_files(result.folder) == expected
    assert result.bytes == sum(map(len, expected.values())) - len(expected["pack.json"])
    assert [path.name for path in (root / "packed").iterdir()] == ["96"]


def test_other_encoding_needs_overwrite(root):
    pack_clips(root, CLIPS)
    with pytest.raises(InputError, match="raw; .*encoding=raw.*overwrite=true"):
        pack_clips(root, CLIPS, encoding="jpeg")
    (result,) = pack_clips(root, CLIPS, encoding="jpeg", overwrite=True)
    assert result.bytes < 7 * 20 * 96 * 96 * 3 / 2
    crop = Clip.open(root / CLIPS[0]).read(0, 96).astype(int)
    assert np.abs(read_crops(Pack.open(result.folder), CLIPS[0])[0] - crop).mean() < 3  # loss of JPEG


def test_corrupt_crop_is_gap_and_missing_audio_is_problem(root, caplog):
    (root / CLIPS[0] / "7.jpg").write_bytes(b"not an image")
    (root / CLIPS[1] / "audio.wav").write_bytes(b"")
    (result,) = pack_clips(root, CLIPS)
    packed = Pack.open(result.folder)
    assert packed.locate_clips([CLIPS[0]]).runs.tolist() == [[0, 0, 7], [0, 8, 12]]
    assert f"{CLIPS[0]}/7.jpg" in caplog.text
    assert result.problems.keys() == {CLIPS[1]} and result.clips == 6
    assert re.match(rf"{CLIPS[1]}/audio\.wav: is empty", result.problems[CLIPS[1]])
    assert pack_clips(root, CLIPS)[0].added == 0


def test_truncated_shard_is_named_and_repacked(root):
    pack_clips(root, CLIPS, shard_bytes=SHARD)
    expected = read_files(root / "packed/96")
    crops = root / "packed/96/000003/crops.bin"
    os.truncate(crops, 1000)
    with pytest.raises(InputError, match="000003: crops.bin .*1000.*552960"):
        pack_clips(root, CLIPS, shard_bytes=SHARD)
    for file in crops.parent.iterdir():
        file.unlink()
    crops.parent.rmdir()
    assert pack_clips(root, CLIPS, shard_bytes=SHARD)[0].added == 1
    assert read_files(root / "packed/96") == expected


KILLED = """
import os, random, signal, sys, threading
from pathlib import Path
import preprocess.pack
rng = random.Random(int(sys.argv[2]))
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def write_some(*arguments, crop=preprocess.pack._encode_crop, remaining=[rng.randrange(60)]):
    remaining[0] -= 1  # kill at a random time after that many crops
    if remaining[0] == 0:
        threading.Timer(rng.uniform(0, 0.02), kill).start()
    return crop(*arguments)
preprocess.pack._encode_crop = write_some
preprocess.pack.pack_clips(Path(sys.argv[1]), [f"speaker/{n}" for n in range(7)], overwrite=sys.argv[3] == "overwrite",
                     shard_bytes=1 << 20)
kill()  # after a complete run
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("kills", "mode"), [
    (2, "append"),
    pytest.param(8, "append", marks=pytest.mark.slow),
    pytest.param(8, "overwrite", marks=pytest.mark.slow),
])  # fmt: skip
def test_killed_runs_resume_to_same_bytes(root, tmp_path, kills, mode):
    uninterrupted = tmp_path / "whole"
    for n, name in enumerate(CLIPS):
        write_clip(uninterrupted, name, seed=n)
    pack_clips(uninterrupted, CLIPS, shard_bytes=SHARD)
    for kill in range(kills):
        command = [sys.executable, "-c", KILLED, str(root), str(kill), mode]
        assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    pack_clips(root, CLIPS, overwrite=mode == "overwrite", shard_bytes=SHARD)
    assert read_files(root / "packed") == read_files(uninterrupted / "packed")


def write_lists(root, **lists):
    (root / "filelists").mkdir()
    for name, clips in lists.items():
        (root / "filelists" / f"{name}.txt").write_text("".join(f"{clip}\n" for clip in clips))


def run(root, *overrides):
    with initialize_config_module("configs", version_base="1.3"):
        pack(compose("pack", [f"data_root={root}", *overrides]))


def test_command_packs_listed_clips_once(root, capsys):
    write_lists(root, train=[CLIPS[4], CLIPS[0]], val=[CLIPS[0], CLIPS[2]], test=[])
    assert read_filelists(root, root / "filelists") == [CLIPS[4], CLIPS[0], CLIPS[2]]
    run(root, "verify=true")
    assert list(Pack.open(root / "packed/96").entries) == [CLIPS[4], CLIPS[0], CLIPS[2]]
    assert re.search(r"packed/96: 3 clips, 3 of them new, .* GB per hour\), verified", capsys.readouterr().out)


def test_command_is_locked_out_by_other_run(root):
    write_lists(root, train=CLIPS)
    partial = root / "packed/96/.partial"  # partial shard of the other run
    with Manifest(root):
        partial.mkdir(parents=True)
        with pytest.raises(InputError, match="another run is writing there"):
            run(root)
        assert partial.exists()
    run(root)
    assert not partial.exists()
    run(root)  # the lock was released


def test_verify_names_corrupt_clip(root):
    write_lists(root, train=CLIPS)
    run(root)
    with (root / "packed/96/000000/crops.bin").open("rb+") as file:
        file.seek(30 * 96 * 96 * 3)
        file.write(b"\1\2\3")
    with pytest.raises(InputError, match=rf"{CLIPS[1]} does not match its checksum"):
        run(root, "verify=true")


@pytest.mark.parametrize(("overrides", "message"), [
    (["data_root=/nowhere"], "/nowhere: no such folder"),
    ([], "no clip in train.txt, val.txt or test.txt"),
    (["filelists=/nowhere"], "/nowhere: no clip in train.txt"),
])  # fmt: skip
def test_command_without_clips_is_error(root, overrides, message):
    with pytest.raises(InputError, match=re.escape(message)):
        run(root, *overrides)


@pytest.mark.parametrize(("options", "message"), [
    ({"encoding": "png"}, "encoding=png: must be one of raw, jpeg"),
    ({"sizes": []}, "sizes=[]"),
    ({"sizes": [0]}, "sizes=[0]"),
    ({"workers": 0}, "workers=0"),
])  # fmt: skip
def test_invalid_settings_are_errors(root, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        pack_clips(root, CLIPS, **options)


def test_unwritable_data_root_is_error(root):
    (root / "packed").write_text("in the way")
    with pytest.raises(InputError, match="packed.*: .*in the way|packed.*a part of the path is a file"):
        pack_clips(root, CLIPS)
