"""Every mode of python -m wav2lip.evaluate, from media to report, on synthetic talking heads."""

import json
import shutil

import cv2
import numpy as np
import pytest

from tests.helpers.media import tone
from tests.helpers.talking_head import tiny_sadtalker
from wav2lip.errors import InputError
from wav2lip.evaluate import evaluate, report_failures
from wav2lip.evaluation.cache import CachedResult
from wav2lip.media import probe, read_frames
from wav2lip.synthetic import encode_video, write_wav


def read_results(out):
    return json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)


@pytest.fixture
def speech_file(tmp_path):
    """A recording of 3 s, longer than the clips."""
    file = tmp_path / "other words.wav"
    write_wav(file, tone(3.0).astype(np.float32))
    return file


@pytest.fixture(scope="module")
def blurred_heads(talking_heads, tmp_path_factory):
    """The talking heads, blurred."""
    folder = tmp_path_factory.mktemp("blurred")
    for name in ("a", "b/c"):
        frames = (cv2.GaussianBlur(frame, (0, 0), 3) for frame in read_frames(talking_heads / f"{name}.mp4"))
        encode_video(folder / f"{name}.mp4", frames, tone(1.6).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def pairs_run(talking_heads, blurred_heads, expert_file, tmp_path_factory):
    """A finished run of mode pairs: its flags and its folder."""
    out = tmp_path_factory.mktemp("paired")
    flags = [
        "pairs",
        "--generated",
        str(blurred_heads),
        "--truth",
        str(talking_heads),
        "--out",
        str(out),
        "--detector",
        "haar",
    ]
    flags += ["--expert", str(expert_file)]
    evaluate(flags)
    return flags, out


def test_pairs_are_measured_beside_the_real_videos(pairs_run):
    _, out = pairs_run
    contents = read_results(out)
    assert [clip["clip"] for clip in contents["clips"]["generated"]] == ["a", "b/c"]
    assert contents["summary"]["generated"]["sharpness"]["mean"] < 0.5
    assert (
        0 < contents["summary"]["generated"]["ssim"]["low"] <= contents["summary"]["generated"]["ssim"]["mean"] < 0.95
    )
    assert "ssim" not in contents["summary"]["real"]
    assert contents["summary"]["real"]["expert_distance"]["clips"] == 2
    assert [len(clip["curves"]["expert"]) for clip in contents["clips"]["real"]] == [31, 31]
    assert all(clip["frames_with_face"] == clip["frames"] == 40 for clip in contents["clips"]["real"])


def test_missing_metrics_are_reported_with_the_remedy(pairs_run):
    _, out = pairs_run
    contents = read_results(out)
    assert "syncnet_v2.model" in contents["not_computed"]["lse_d"]
    assert "--fid_weights FILE" in contents["not_computed"]["fid"]
    assert not {"lse_d", "fid", "lpips", "lmd", "identity"} & set(contents["summary"]["generated"])
    assert "| lse_d | --syncnet_v2 is not set" in (out / "report.md").read_text()


def test_report_names_the_evaluator_and_is_self_contained(pairs_run, expert_file):
    _, out = pairs_run
    report, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert "expert.pth (sha256 " in report
    assert "| metric | better | real (2) | generated (2) |" in report
    assert page.count("data:image/jpeg;base64,") == 4  # two clips of two systems
    assert page.count("<path") == 2
    assert not any(text in page for text in ("http://", "https://", "<script", 'src="/'))


def test_second_run_uses_the_cache(pairs_run):
    flags, out = pairs_run
    mtimes = {path: path.stat().st_mtime_ns for path in (out / "clips").rglob("*.json")}
    results_json = (out / "results.json").read_text()
    evaluate(flags)
    assert {path: path.stat().st_mtime_ns for path in (out / "clips").rglob("*.json")} == mtimes
    assert (out / "results.json").read_text() == results_json
    assert len(mtimes) == 4


def test_only_changed_inputs_are_measured_again(pairs_run, talking_heads, tmp_path):
    flags, out = pairs_run
    generated = tmp_path / "generated"
    shutil.copytree(flags[2], generated)
    shutil.copy(talking_heads / "a.mp4", generated / "a.mp4")  # now equal to the truth
    new_out = tmp_path / "out"
    shutil.copytree(out / "clips", new_out / "clips")
    mtimes = {path: path.stat().st_mtime_ns for path in (new_out / "clips").rglob("*.json")}
    (new_out / "clips/real/a.json").write_text("{")  # corrupt
    evaluate(["pairs", "--generated", str(generated), *flags[3:6], str(new_out), *flags[7:]])
    changed = {path.name for path, time in mtimes.items() if path.stat().st_mtime_ns != time}
    assert changed == {"a.json"}
    clips = {clip["clip"]: clip["values"] for clip in read_results(new_out)["clips"]["generated"]}
    assert (clips["a"]["psnr"], clips["a"]["ssim"], clips["a"]["sharpness"]) == ("inf", 1, 1)
    assert read_results(new_out)["clips"]["real"] == read_results(out)["clips"]["real"]


@pytest.mark.slow
def test_two_workers_give_identical_numbers(pairs_run, tmp_path):
    flags, out = pairs_run
    evaluate([*flags[:5], "--out", str(tmp_path / "out"), *flags[7:], "--workers", "2"])
    for part in ("clips", "summary"):
        assert read_results(tmp_path / "out")[part] == read_results(out)[part]


def test_checkpoint_runs_with_true_and_shuffled_audio(data_root, generator_files, expert_file, tmp_path):
    evaluate(["checkpoint", "--checkpoint_path", str(generator_files[0]), "--data_root", str(data_root),
              "--out", str(tmp_path), "--expert", str(expert_file)])  # fmt: skip
    contents = read_results(tmp_path)
    assert list(contents["clips"]) == ["real", "generator_0", "generator_0 (shuffled audio)"]
    assert not any(clip["error"] for clips in contents["clips"].values() for clip in clips)
    assert contents["summary"]["generator_0"]["ssim"]["mean"] < 0.99
    assert "ssim" not in contents["summary"]["generator_0 (shuffled audio)"]
    assert contents["summary"]["generator_0 (shuffled audio)"]["sharpness"]["clips"] == 2
    folder = tmp_path / "generated/generator_0"
    assert probe(folder / "true/speaker/0.mp4").seconds == pytest.approx(50 / 25, abs=0.05)
    assert probe(folder / "shuffled/speaker/0.mp4").seconds == pytest.approx(52 / 25, abs=0.05)  # frames 5-56 of 1


def test_checkpoint_runs_with_recordings(data_root, generator_files, expert_file, speech_file, tmp_path):
    evaluate(["checkpoint", "--checkpoint_path", str(generator_files[0]), "--data_root", str(data_root),
              "--out", str(tmp_path), "--expert", str(expert_file), "--audio", "true",
              "--speech", str(speech_file)])  # fmt: skip
    contents = read_results(tmp_path)
    assert list(contents["clips"]) == ["real", "generator_0", "generator_0 (other words.wav)"]
    summary = contents["summary"]["generator_0 (other words.wav)"]
    assert summary["expert_agreement"]["clips"] == summary["sharpness"]["clips"] == 2
    assert "ssim" not in summary
    video = tmp_path / "generated/generator_0/other words/speaker/0.mp4"
    assert probe(video).seconds == pytest.approx(3, abs=0.05)  # the clip of 2 s repeats


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["true.wav"], "the name true is taken"),
        (["a.wav", "b/a.wav"], "the name a is taken"),
        (["a.wav", "b/A.wav"], "the name A is taken"),
    ],
)
def test_recordings_need_names_of_their_own(names, message, data_root, generator_files, speech_file, tmp_path):
    files = [tmp_path / name for name in names]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        shutil.copyfile(speech_file, file)
    with pytest.raises(InputError, match=message):
        evaluate(["checkpoint", "--checkpoint_path", str(generator_files[0]), "--data_root", str(data_root),
                  "--out", str(tmp_path / "out"), "--speech", *map(str, files)])  # fmt: skip


@pytest.mark.slow
def test_two_checkpoints_are_compared(data_root, generator_files, tmp_path):
    first, second = generator_files
    evaluate(["compare", f"one={first}", f"two={second}", "--data_root", str(data_root), "--out", str(tmp_path)])
    contents = read_results(tmp_path)
    assert list(contents["clips"]) == ["real", "one", "two"]
    comparisons = {d["metric"]: d for d in contents["comparisons"]}
    values = [[clip["values"]["ssim"] for clip in contents["clips"][name]] for name in ("one", "two")]
    assert comparisons["ssim"]["mean"] == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    assert comparisons["ssim"]["clips"] == 2
    assert "| one - two | ssim |" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_filelist_runs_line_by_line_and_reports_skips(talking_heads, generator_files, expert_file, tmp_path):
    long = tmp_path / "data/main/long.mp4"
    encode_video(long, list(read_frames(talking_heads / "a.mp4")) * 2, tone(3.2).astype(np.float32))
    for name in ("a.mp4", "b/c.mp4"):
        (long.parent / name).parent.mkdir(exist_ok=True)
        shutil.copy(talking_heads / name, long.parent / name)
    (tmp_path / "lrs2.txt").write_text("main/a main/b/c\nmain/long main/a\n")
    list_flags = ["--filelist", str(tmp_path / "lrs2.txt"), "--protocol", "lrs2", "--data_root", str(tmp_path / "data"),
                "--out", str(tmp_path / "out"), "--detector", "haar", "--expert", str(expert_file)]  # fmt: skip
    evaluate(["compare", *(f"{file.stem}={file}" for file in generator_files), *list_flags])
    contents = read_results(tmp_path / "out")
    assert contents["evaluators"]["lse_frames"] == "whole"
    assert [clip["clip"] for clip in contents["clips"]["real"]] == ["main/b/c", "main/a"]
    assert list(contents["clips"]) == ["real", "generator_0", "generator_1"]
    first, second = contents["clips"]["generator_0"]
    assert (first["clip"], second["clip"]) == ("0", "1")
    assert first["values"]["sharpness"] > 0
    assert "the paper skips such pairs" in second["error"]
    assert "the paper skips such pairs" in (tmp_path / "out/report.md").read_text()
    assert (tmp_path / "out/generated/generator_0/0.mp4").is_file()
    evaluate(["filelist", "--checkpoint_path", str(generator_files[0]), *list_flags])  # one system, from the cache
    assert list(read_results(tmp_path / "out")["clips"]) == ["real", "generator_0"]
    assert read_results(tmp_path / "out")["clips"]["generator_0"] == contents["clips"]["generator_0"]


def test_videos_mode_reports_a_broken_video_and_continues(talking_heads, expert_file, tmp_path):
    generated = tmp_path / "generated"
    generated.mkdir()
    shutil.copy(talking_heads / "a.mp4", generated / "a.mp4")
    (generated / "broken.mp4").write_text("no video")
    evaluate(["videos", "--generated", str(generated), "--out", str(tmp_path / "out"), "--detector", "haar",
              "--expert", str(expert_file)])  # fmt: skip
    contents = read_results(tmp_path / "out")
    assert set(contents["clips"]) == {"generated"}
    assert {"expert_distance", "flicker"} <= set(contents["summary"]["generated"])
    assert "give one" in contents["not_computed"]["ssim"]
    errors = {clip["clip"]: clip["error"] for clip in contents["clips"]["generated"]}
    assert errors["a"] is None
    assert "broken.mp4" in errors["broken"]


def make_result(system, error=None):
    return CachedResult(system, "a", "f", {}, {}, {}, error=error)


def test_system_that_cannot_be_measured_ends_the_command(caplog):
    real, partly = [make_result("real")], [make_result("old"), make_result("old", "b.mp4: has no face")]
    report_failures({"real": real, "old": partly})
    assert "old: 1 of 2 videos could not be measured: b.mp4: has no face" in caplog.text
    unreadable = [make_result("new", "new.pth: is empty")] * 2
    with pytest.raises(InputError, match=r"new: none of its 2 videos could be measured: new\.pth: is empty"):
        report_failures({"real": real, "new": unreadable})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["checkpoint", "--checkpoint_path", "a", "--data_root", "b", "--speech", "none.wav"],
            "none.wav: no such file",
        ),
        (
            ["compare", "a=.", "--data_root", ".", "--speech", "none.wav"],
            "--speech: requires checkpoints",
        ),
        (["videos", "--generated", "nowhere"], "nowhere: no such folder or video"),
        (["videos", "--generated", ".", "--workers", "0"], "--workers=0"),
        (["videos", "--generated", ".", "--expert", "none.pth"], "--expert none.pth: no such file"),
        (["compare", "tuned"], "tuned: must be NAME=PATH"),
        (["compare", "real=."], "real=.: the name"),
        (["compare", "a=."], "--truth"),
        (["compare", "a=.", "--truth", ".", "--filelist", "list.txt"], "--filelist: requires --protocol"),
        (["compare", "a=.", "--data_root", ".", "--filelist", "list.txt", "--protocol", "lrs2"], "is a folder"),
        (
            ["filelist", "--checkpoint_path", "a", "--data_root", ".", "--protocol", "lrs2"],
            "lrs2: requires --filelist FILE",
        ),
    ],
)
def test_wrong_flag_is_rejected(flags, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        evaluate([*flags, "--out", str(tmp_path / "out"), "--detector", "haar"])


def test_lips_moving_in_silence_are_measured(talking_heads, tmp_path):
    speech = np.concatenate([0.2 * np.random.default_rng(0).standard_normal(16_000), np.zeros(9_600)])
    frames = list(read_frames(talking_heads / "a.mp4"))
    folder, out = tmp_path / "generated", tmp_path / "out"
    for name, images in (("resting", [*frames[:25], *[frames[25]] * 15]), ("moving", frames)):
        encode_video(folder / f"{name}.mp4", images, speech.astype(np.float32))
    evaluate(["videos", "--generated", str(folder), "--out", str(out), "--detector", "haar"])
    motion = {clip["clip"]: clip["values"]["silence_motion"] for clip in read_results(out)["clips"]["generated"]}
    assert motion["resting"] < 0.3 < motion["moving"]


def test_animated_photo_is_measured_as_any_video(talking_heads, expert_file, portrait, tmp_path):
    (tmp_path / "animated").mkdir()
    result = tiny_sadtalker()(portrait, talking_heads / "a.mp4", tmp_path / "animated" / "a.mp4")
    assert result.frames in (40, 41)  # the encoded audio is longer by up to a block of AAC
    flags = ["videos", "--generated", str(tmp_path / "animated"), "--out", str(tmp_path / "out"), "--detector", "haar"]
    evaluate([*flags, "--expert", str(expert_file)])
    (clip,) = read_results(tmp_path / "out")["clips"]["generated"]
    assert (clip["clip"], clip["frames"], clip["frames_with_face"]) == ("a", result.frames, result.frames)
    assert read_results(tmp_path / "out")["summary"]["generated"]["expert_distance"]["clips"] == 1
