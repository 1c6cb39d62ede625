"""Shards of a data set and their merge."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module

from preprocess import merge, pipeline
from preprocess.__main__ import preprocess
from preprocess.ingest import find_videos
from preprocess.shards import check_shards, read_shard, select_sources
from tests.helpers.preprocess import DEADLY, StubDetector, make_chunked_job, noise, run_shard, write_video
from wav2lip.errors import InputError
from wav2lip.execution.shard import Shard
from wav2lip.synthetic import write_videos

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f"{number}/4" for number in range(1, 5)]


def contents(out):
    """Return the bytes of every file except the records, whose order depends on timing."""
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    return {path: (out / path).read_bytes() for path in files if path.parts[0] != ".stages"}


def records(out):
    """Return the records of all stages without the time and memory that they used."""
    lines = [(path.name, json.loads(line)) for path in out.glob(".stages/*.jsonl") for line in path.open()]
    return {(name, line["key"]): {k: v for k, v in line.items() if k != "usage"} for name, line in lines}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Six videos, one of several chunks, one unreadable and one a copy; and the data set of one run."""
    folder = tmp_path_factory.mktemp("videos")
    for n in range(3):
        levels = [40 + 20 * n + k % 60 for k in range(40)]
        write_video(folder / "in" / f"speaker{n}" / "talk.mkv", [k / 25 for k in range(40)], levels, noise(1.6, n))
    levels = [60 + k % 90 for k in range(120)]
    long_video = write_video(folder / "in/long/talk.mkv", [k / 25 for k in range(120)], levels, noise(4.8, 9))
    (folder / "in/copy").mkdir()
    (folder / "in/copy/talk.mkv").write_bytes(long_video.read_bytes())
    (folder / "in/bad.mp4").write_text("no video\n" * 50)
    pipeline.run(find_videos(folder / "in"), make_chunked_job(folder / "whole" / "out"))  # the report contains "out"
    return folder


def merge_shards(folders, out):
    merge.run([read_shard(folder) for folder in folders], make_chunked_job(out))


def test_merged_shards_equal_one_run(videos, tmp_path):
    for name in NAMES:
        run_shard(videos / "in", make_chunked_job(tmp_path / name[0]), name)
    out = tmp_path / "merged" / "out"
    merge_shards([tmp_path / name for name in "3142"], out)
    assert contents(out) == contents(videos / "whole" / "out")
    assert records(out) == records(videos / "whole" / "out")
    with pytest.raises(InputError, match="2/4, 4/4 missing"):
        check_shards([read_shard(tmp_path / name) for name in "13"])
    with pytest.raises(InputError, match="each of one number of shards once"):
        check_shards([read_shard(tmp_path / name) for name in "131"])
    # The merge reused all records, so a run on the whole folder has nothing to do.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name not in ("lock", "sources.json")}
    pipeline.run(find_videos(videos / "in"), make_chunked_job(out, detector=object()))
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_killed_shards_merge_to_same_data_set(videos, tmp_path):
    rng = np.random.default_rng(0)
    for name in NAMES:
        root = tmp_path / name[0]
        command = [sys.executable, "-m", "tests.helpers.preprocess_run", str(videos / "in"), str(root), name]
        process = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + 60
        while not (root / ".stages/probe.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 3.0))
        process.send_signal(signal.SIGKILL) if os.name == "posix" else process.kill()
        process.wait()
        time.sleep(0.5)  # its workers end themselves
        if not (root / ".stages/shard.json").exists():
            with pytest.raises(InputError, match="no finished shard"):
                read_shard(root)
        run_shard(videos / "in", make_chunked_job(root), name)
    merge_shards([tmp_path / name for name in "2413"], tmp_path / "merged" / "out")
    assert contents(tmp_path / "merged" / "out") == contents(videos / "whole" / "out")


def test_share_of_a_video_depends_on_its_content_only(videos, tmp_path):
    sources = find_videos(videos / "in")
    shares = {n: select_sources(sources, Shard(n, 4)) for n in range(1, 5)}
    assert sorted(source.name for share in shares.values() for source in share) == [source.name for source in sources]
    name = next(source.name for source in sources if source.name.startswith("speaker0"))
    (tmp_path / "moved.mkv").write_bytes((videos / "in" / name).read_bytes())
    write_video(tmp_path / "other.mkv", wav=noise(seed=5))
    number = next(n for n, share in shares.items() if name in [source.name for source in share])
    assert "moved.mkv" in [source.name for source in select_sources(find_videos(tmp_path), Shard(number, 4))]


def test_crash_of_a_shard_is_reported_by_the_merge(tmp_path):
    write_video(tmp_path / "in" / "a.mkv", levels=[DEADLY] * 25, wav=noise())
    write_video(tmp_path / "in" / "b.mkv", levels=[100] * 25, wav=noise(seed=1))
    job = make_chunked_job(tmp_path / "shard", StubDetector(is_fatal=True), workers=1)
    run_shard(tmp_path / "in", job, "1/1")
    dataset = merge.run([read_shard(tmp_path / "shard")], make_chunked_job(tmp_path / "out")).dataset
    outcomes = {entry["source"]: (entry["status"], entry["cause"]) for entry in dataset["inputs"]}
    assert outcomes == {"a.mkv": ("failed", "killed its worker"), "b.mkv": ("ok", "")}


def test_shard_without_its_stages_is_error(tmp_path):
    job = replace(make_chunked_job(tmp_path), stages=("report",))
    with pytest.raises(InputError, match=r"stages=report: must be among probe, .* with shard="):
        run_shard(tmp_path, job, "1/2")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "1/4/2"])
def test_invalid_shard_is_error(text):
    with pytest.raises(InputError, match=f"shard={text}: must be I/N"):
        Shard.parse(text)


@pytest.mark.slow
def test_commands_with_sync_give_the_same_data_set(tmp_path):
    write_videos(tmp_path / "videos", count=6, seconds=3.6)
    keys = ["detector=haar", "device=cpu", "workers=0", "min_clip_seconds=1.5", "max_clip_seconds=1.8"]
    common = [f"videos={tmp_path}/videos", *keys]

    def run(command, config, *overrides):
        with initialize_config_module("configs", version_base="1.3"):
            cfg = compose(config, list(overrides))
        if config == "preprocess":
            cfg.compat = "none"  # otherwise resolved from Hydra's runtime, which needs a running command
        command(cfg)

    run(preprocess, "preprocess", *common, f"out={tmp_path}/whole/out")
    for number in (1, 2):
        run(preprocess, "preprocess", *common, f"out={tmp_path}/{number}", f"shard={number}/2")
    shards = f"shards=[{tmp_path}/2,{tmp_path}/1]"
    run(merge.merge, "merge", f"out={tmp_path}/merged/out", shards, "workers=0")
    assert contents(tmp_path / "merged" / "out") == contents(tmp_path / "whole" / "out")
    dataset = json.loads((tmp_path / "merged/out/dataset.json").read_text())
    assert dataset["sync"]["agreement_found"] is not None  # the expert was bootstrapped
    assert dataset["totals"]["clips"] >= 6
