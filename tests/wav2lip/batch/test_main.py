"""The batch command: outcomes, resume, shards, segments, exit codes."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from models import Wav2Lip
from tests.helpers.media import tone, write_video, write_wav
from tests.helpers.talking_head import tiny_sadtalker
from wav2lip.batch.__main__ import batch
from wav2lip.batch.jobs import JobDefaults, pair_folders, read_jobs
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import InputError
from wav2lip.hashing import hash_file
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.live.prepare import prepare_face
from wav2lip.sadtalker import SadTalker

BOX = "8 56 8 56"


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """A thin checkpoint, two videos of ten frames, two audio files."""
    folder = tmp_path_factory.mktemp("media")
    torch.manual_seed(0)
    save_checkpoint(folder / "generator.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    rng = np.random.default_rng(0)
    for number, name in enumerate("ab"):
        write_video(folder / "faces" / f"{name}.mp4", list(rng.integers(0, 255, (10, 64, 64, 3), np.uint8)))
        (folder / "audio").mkdir(exist_ok=True)
        write_wav(folder / "audio" / f"{name}.wav", tone(0.4 + 0.04 * number))
    return folder


def run(media, out, *arguments):
    """Run jobs in this process; return the exit code."""
    words = [*map(str, arguments), "--checkpoint_path", str(media / "generator.pth"), "--out", str(out)]
    return batch([*words, "--device", "cpu", "--detector", "haar", "--workers", "0"])


def outcomes(text):
    lines = text.splitlines()
    return {line.split()[1]: line.split()[0] for line in lines[1 : lines.index("")]}


def last_records(out):
    records = {}
    for line in (out / "records" / "lipsync.jsonl").read_text().splitlines():
        record = json.loads(line)
        records[record["key"]] = record
    return records


def write_table(media, name, lines):
    (media / name).write_text("\n".join(lines) + "\n")
    return media / name


def count_frames(path):
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


def test_rows_are_done_or_rejected_with_reason(media, tmp_path, capsys):
    table = write_table(
        media, "jobs.csv",
        ["face,audio,outfile,box,fit,nosmooth,colour,user", f"faces/a.mp4,audio/a.wav,,{BOX},,true,,ann",
         f"faces/b.mp4,audio/b.wav,{tmp_path}/x/b.mkv,{BOX},trim,false,,", f"faces/a.mp4,audio/none.wav,,{BOX},,,,",
         f"faces/b.mp4,audio/a.wav,,{BOX},stretch,,,", f"faces/b.mp4,audio/a.wav,c.mp4,{BOX},,,red,",
         ",audio/a.wav,,,,,,", f"faces/b.mp4,audio/a.wav,{tmp_path}/x/b.mkv,{BOX},,,,",
         "faces/a.mp4,audio/b.wav,,,,,,"],
    )  # fmt: skip
    out = tmp_path / "out"
    assert run(media, out, table) == 1
    printed = outcomes(capsys.readouterr().out)
    assert [*printed.values()] == ["done", "done", *["rejected"] * 6]
    assert count_frames(out / "a_a.mp4") == count_frames(tmp_path / "x" / "b.mkv") == 10
    records = list(last_records(out).values())
    reasons = " | ".join(record["reason"] for record in records)
    for reason in ("none.wav: no such file", "line 5: argument --fit: invalid choice: 'stretch'", "line 7: has no face",
                   "line 6: unrecognized arguments: --colour=red", "outfile: is that of an earlier job",
                   "no face found"):  # fmt: skip
        assert reason in reasons
    (done,) = [record for record in records if record["key"] == "a_a.mp4"]
    assert done["data"] | {"bytes": 0} == {
        "face": "a.mp4", "audio": "a.wav", "parameters": "--box 8 56 8 56 --nosmooth", "user": "ann",
        "engine": "wav2lip", "frames": 10, "fps": 25.0, "bytes": 0, "has_cached_faces": False,
    }  # fmt: skip
    usage = done["usage"]
    assert usage["wall_s"] > 0
    assert usage["cpu_s"] > 0
    assert usage["peak_rss_mib"] > 50
    assert (usage["attempt"], usage["device"], done["status"]) == (1, "cpu", "ok")
    assert {"cpus", "memory_gib", "gpus", "host_class", "day"} < set(usage)
    # Nothing in a record names a path of this machine, except the outfile outside of --out as its name.
    assert str(media) not in json.dumps(done)

    assert run(media, out, table, "--max_failed", "0.75", "--report", tmp_path / "report.html") == 0
    again = outcomes(capsys.readouterr().out)
    assert [*again.values()] == ["cached", "cached", *["rejected"] * 6]
    assert "2 cached, 6 rejected" in (tmp_path / "report.html").read_text()


def test_changed_and_missing_results_are_done_again(media, tmp_path, capsys):
    rows = [{"face": "faces/a.mp4", "audio": f"audio/{n}.wav", "box": [8, 56, 8, 56]} for n in "ab"]
    table = write_table(media, "jobs.jsonl", [json.dumps(row) for row in rows])

    def done():
        assert run(media, tmp_path / "out", table) == 0
        lines = capsys.readouterr().out.splitlines()[1:3]
        return [line.startswith("done") for line in lines]

    assert done() == [True, True]
    assert done() == [False, False]
    (tmp_path / "out" / "a_a.mp4").unlink()
    assert done() == [True, False]
    write_wav(media / "audio" / "b.wav", tone(0.48))  # changed content under the same path
    assert done() == [False, True]
    assert count_frames(tmp_path / "out" / "a_b.mp4") == 12
    (media / "faces" / "a.mp4").rename(media / "faces" / "moved.mp4")  # moved content
    try:
        rows = [row | {"face": "faces/moved.mp4", "outfile": str(tmp_path / "out" / f"a_{n}.mp4")}
                for row, n in zip(rows, "ab", strict=True)]  # fmt: skip
        write_table(media, "jobs.jsonl", [json.dumps(row) for row in rows])
        assert done() == [False, False]
    finally:
        (media / "faces" / "moved.mp4").rename(media / "faces" / "a.mp4")


def test_failed_jobs_run_again_only_with_retry_failed(media, tmp_path, capsys):
    (media / "late.txt").write_text("no audio")
    table = write_table(media, "late.csv", ["face,audio,outfile,box", f"faces/a.mp4,late.txt,late.mp4,{BOX}"])
    assert run(media, tmp_path, table) == 1
    records = (tmp_path / "records" / "lipsync.jsonl").read_text().count("\n")
    assert run(media, tmp_path, table) == 1
    assert (tmp_path / "records" / "lipsync.jsonl").read_text().count("\n") == records
    assert run(media, tmp_path, table, "--retry-failed") == 1
    assert (tmp_path / "records" / "lipsync.jsonl").read_text().count("\n") == records + 1
    assert "rejected" in capsys.readouterr().out


def test_options_of_rows_are_parsed_by_their_kind(tmp_path):
    (tmp_path / "ann.png").touch()
    rows = [
        {"box": [8, 56, 8, 56]}, {"pads": "0 20 0 0"}, {"face_at": [1.5, 20, 30]}, {"face_like": "ann.png"},
        {"engine": "sadtalker", "input_yaw": "-20 30 10", "still": True}, {"engine": "sadtalker", "points": "p.txt"},
        {"engine": "musetalk"}, {"engine": "sadtalker", "fit": "trim"}, {"enhancer": "gfpgan"},
    ]  # fmt: skip
    lines = [json.dumps({"face": "f", "audio": "a", "outfile": f"{n}.mp4"} | row) for n, row in enumerate(rows)]
    (tmp_path / "jobs.jsonl").write_text("\n".join(lines))
    box, pads, point, like, yaw, points, *faulty = read_jobs(tmp_path / "jobs.jsonl", JobDefaults(tmp_path / "out"))
    assert (box.options.box, pads.options.pads) == ((8, 56, 8, 56), (0, 20, 0, 0))
    assert (point.options.face_at, like.options.face_like) == ((1.5, 20, 30), (tmp_path / "ann.png",))
    assert (yaw.options.input_yaw, yaw.options.still) == ((-20, 30, 10), True)
    assert points.options.points == tmp_path / "p.txt"
    reasons = ["engine=musetalk: must be one of wav2lip, sadtalker", "unrecognized arguments: --fit=trim",
               "gfpgan: GFPGANv1.4.pth is not in checkpoints"]  # fmt: skip
    assert all(reason in job.fault for reason, job in zip(reasons, faulty, strict=True))


def test_rows_of_both_engines_share_a_table(media, tmp_path, capsys, monkeypatch):
    Image.fromarray(skimage.data.astronaut()).save(media / "photo.png")
    (media / "sadtalker").mkdir()
    (media / "sadtalker" / "SadTalker_V0.0.2_256.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(SadTalker, "from_checkpoint", lambda *arguments, **others: tiny_sadtalker())
    table = write_table(
        media, "engines.csv",
        ["face,audio,engine,box,still", f"faces/a.mp4,audio/a.wav,,{BOX},", "photo.png,audio/a.wav,sadtalker,,true"],
    )  # fmt: skip
    for outcome in ("done", "cached"):
        # Results of SadTalker are not divided.
        assert run(media, tmp_path, table, "--checkpoint_dir", media / "sadtalker", "--segment_seconds", "0.1") == 0
        assert outcomes(capsys.readouterr().out) == {"a_a.mp4": outcome, "photo_a.mp4": outcome}
    assert count_frames(tmp_path / "photo_a.mp4") == 10
    data = last_records(tmp_path)["photo_a.mp4"]["data"]
    assert (data["engine"], data["parameters"]) == ("sadtalker", "--still")
    with pytest.raises(InputError, match="has no checkpoints of SadTalker"):
        run(media, tmp_path, table, "--checkpoint_dir", media)


def test_sadtalker_row_without_audio_is_idle(media, tmp_path, monkeypatch):
    Image.fromarray(skimage.data.astronaut()).save(media / "photo.png")
    (media / "sadtalker").mkdir(exist_ok=True)
    (media / "sadtalker" / "SadTalker_V0.0.2_256.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(SadTalker, "from_checkpoint", lambda *arguments, **others: tiny_sadtalker())
    table = write_table(media, "idle.csv", ["face,idle", "photo.png,0.4", "photo.png,"])
    run(media, tmp_path, table, "--engine", "sadtalker", "--checkpoint_dir", media / "sadtalker")
    assert count_frames(tmp_path / "photo.mp4") == 10
    done, rejected = (last_records(tmp_path)[key] for key in ("photo.mp4", "photo.mp4 (job 2)"))
    assert (done["status"], done["data"]["audio"], rejected["status"]) == ("ok", "", "rejected")
    reason = rejected["reason"]
    assert reason == "line 3: audio: is missing; give a file with speech, or --idle SECONDS"
    table = write_table(media, "both.csv", ["face,audio,idle", "photo.png,audio/a.wav,1"])
    (job,) = read_jobs(table, JobDefaults(tmp_path, "sadtalker"))
    assert job.fault == "line 2: --idle: makes a video without speech; remove audio or --idle"
    (job,) = read_jobs(write_table(media, "mute.csv", ["face,idle", "photo.png,1"]), JobDefaults(tmp_path))
    assert job.fault == "line 2: has no audio"


def test_a_shard_reads_its_own_files_only(media, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("wav2lip.batch.jobs.hash_file", lambda path: (read.append(path.name), hash_file(path))[1])
    rows = [f"faces/a.mp4,audio/none{n}.wav" for n in range(2)]
    table = write_table(media, "halves.csv", ["face,audio", *rows])
    shards = []
    for number in (1, 2):
        run(media, tmp_path, table, "--shard", f"{number}/2")
        shards.append(sorted(read))
        read.clear()
    assert sorted(shards) == [["a.mp4", "none0.wav"], ["a.mp4", "none1.wav"]]


def test_folders_are_paired_or_crossed_and_sharded(media, tmp_path, capsys):
    folders = ("--faces", media / "faces", "--audio", media / "audio")
    run(media, tmp_path / "paired", *folders)  # without --box there is no face
    assert set(outcomes(capsys.readouterr().out)) == {"a.mp4", "b.mp4"}
    names = set()
    for number in (1, 2):
        run(media, tmp_path / "crossed", *folders, "--cross", "--shard", f"{number}/2")
        shard = set(outcomes(capsys.readouterr().out))
        assert not shard & names
        names |= shard
        assert (tmp_path / "crossed" / f"records-{number}-of-2" / "lipsync.jsonl").exists() == bool(shard)
    assert names == {"a_a.mp4", "a_b.mp4", "b_a.mp4", "b_b.mp4"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_spreadsheets_are_read(tmp_path, encoding, separator):
    rows = [("face", "audio"), ("a.mp4", "a, b.wav" if separator != "," else "b.wav")]
    text = "".join(separator.join(row) + "\r\n" for row in rows)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    (job,) = read_jobs(tmp_path / "t.csv", JobDefaults(tmp_path))
    assert (job.face, job.audio) == (tmp_path / "a.mp4", tmp_path / rows[1][1])


def test_missing_table_is_not_called_unreadable(tmp_path):
    with pytest.raises(InputError, match=r"t\.csv: No such file or directory; check the path"):
        read_jobs(tmp_path / "t.csv", JobDefaults(tmp_path))


def test_hidden_and_system_files_are_no_faces(tmp_path):
    for name in ("faces/a.mp4", "faces/._a.mp4", "faces/.b.mp4", "faces/c.gif", "audio/._a.wav", "audio/a.oga"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    jobs = pair_folders(tmp_path / "faces", tmp_path / "audio", JobDefaults(tmp_path), cross=True)
    assert [job.key for job in jobs] == ["a_a.mp4", "c_a.mp4"]


def test_long_results_are_rendered_in_segments(media, tmp_path, capsys):
    write_wav(media / "audio" / "long.wav", tone(1.5))
    row = {"face": "faces/a.mp4", "box": [8, 56, 8, 56], "crf": 0, "preset": "ultrafast"}
    rows = [row | {"audio": f"audio/{name}.wav"} for name in ("long", "a")]
    table = write_table(media, "long.jsonl", [json.dumps(row) for row in rows])
    assert run(media, tmp_path / "whole", table) == 0
    assert run(media, tmp_path / "parts", table, "--segment_seconds", "0.4") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines() if ".mp4" in line} == {"done"}
    records = (tmp_path / "parts" / "records" / "segments.jsonl").read_text().splitlines()
    assert [json.loads(line)["data"]["frames"] for line in records] == [16, 16, 6]

    def frames(folder, name):
        with av.open(str(tmp_path / folder / name)) as file:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])

    for name in ("a_long.mp4", "a_a.mp4"):
        np.testing.assert_array_equal(frames("parts", name), frames("whole", name))
    assert not any((tmp_path / "parts" / "records" / "parts").iterdir())
    assert run(media, tmp_path / "parts", table, "--segment_seconds", "0.4") == 0
    assert "2 cached" in capsys.readouterr().out
    (media / "audio" / "long.wav").unlink()


def test_prepared_face_is_rendered_at_once_beside_segments(media, tmp_path, capsys):
    engine = LipSync.from_checkpoint(media / "generator.pth", "cpu", "haar")
    prepare_face(engine, media / "faces" / "a.mp4", media / "a.w2l", LipSyncOptions(box=(8, 56, 8, 56)))
    write_wav(media / "longer.wav", tone(1.5))
    table = write_table(media, "prepared.csv", ["face,audio", "a.w2l,longer.wav"])
    assert run(media, tmp_path, table, "--segment_seconds", "0.4") == 0
    assert outcomes(capsys.readouterr().out) == {"a_longer.mp4": "done"}
    assert count_frames(tmp_path / "a_longer.mp4") == 38


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("t.csv", ["video,audio", "a,b"], "line 1 must name the columns, among them face and audio"),
        ("t.csv", ["face,audio", "a,b", "a,b,c"], "line 3 has more cells than line 1"),
        ("t.csv", ["face,audio"], "has no jobs"),
        ("t.csv", ["face,audio", 'a,"b"c'], "line 2 is not CSV"),
        ("t.jsonl", ['{"face": "a", "audio": "b"}', "{face"], "line 2 is not JSON"),
        ("t.jsonl", ["[1]"], "line 1 is not a JSON object"),
    ],
)
def test_file_that_is_no_table_is_error(media, tmp_path, name, lines, message):
    with pytest.raises(InputError, match=message):
        run(media, tmp_path, write_table(media, name, lines))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "JOBS, or --faces and --audio"),
        (("--faces", "a"), "JOBS, or --faces and --audio"),
        (("--faces", "none", "--audio", "none"), "none: no such folder"),
        (("x.csv", "--max_failed", "2"), "--max_failed 2: must be from 0 to 1"),
        (("x.csv", "--segment_seconds", "0"), "--segment_seconds 0: must be above 0"),
        (("x.csv", "--shard", "3/2"), "--shard 3/2: must be I/N"),
        (("x.csv", "--checkpoint_path", "none.pth"), "none.pth: No such file or directory; check the path"),
    ],
)
def test_invalid_command_is_error(media, tmp_path, flags, message, monkeypatch):
    write_table(media, "x.csv", ["face,audio", "faces/a.mp4,audio/a.wav"])
    monkeypatch.chdir(media)
    words = ["--out", str(tmp_path), "--device", "cpu"]
    with pytest.raises(InputError, match=message):
        batch([*words, "--checkpoint_path", "generator.pth", *flags])
