"""Every mode of python -m wav2lip.evaluate from media to report, on made-up talking heads."""

import json
import shutil

import cv2
import numpy as np
import pytest

from tests.conftest import tone
from wav2lip.errors import InputError
from wav2lip.evaluate import evaluate
from wav2lip.media import probe, read_frames
from wav2lip.sample import write_clip


def results(out):
    return json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)


def mean(out, system, metric):
    return results(out)["totals"][system][metric]["mean"]


@pytest.fixture(scope="module")
def spoilt(talking, tmp_path_factory):
    """The talking heads blurred, with one more that has no truth."""
    folder = tmp_path_factory.mktemp("spoilt")
    for name in ("a", "b/c"):
        frames = (cv2.GaussianBlur(frame, (0, 0), 3) for frame in read_frames(talking / f"{name}.mp4"))
        write_clip(folder / f"{name}.mp4", frames, tone(1.6).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def paired(talking, spoilt, expert_file, tmp_path_factory):
    """A finished run of mode pairs: its flags and its folder."""
    out = tmp_path_factory.mktemp("paired")
    flags = ["pairs", "--made", str(spoilt), "--truth", str(talking), "--out", str(out), "--detector", "haar"]
    flags += ["--expert", str(expert_file)]
    evaluate(flags)
    return flags, out


def test_pairs_are_measured_beside_the_real_videos(paired):
    _, out = paired
    found = results(out)
    assert [clip["clip"] for clip in found["clips"]["made"]] == ["a", "b/c"]
    assert found["totals"]["made"]["sharpness"]["mean"] < 0.5
    assert 0 < found["totals"]["made"]["ssim"]["low"] <= found["totals"]["made"]["ssim"]["mean"] < 0.95
    assert "ssim" not in found["totals"]["real"]
    assert found["totals"]["real"]["expert_distance"]["clips"] == 2
    assert [len(clip["curves"]["expert"]) for clip in found["clips"]["real"]] == [31, 31]
    assert all(clip["with_face"] == clip["frames"] == 40 for clip in found["clips"]["real"])


def test_what_was_not_computed_is_told_with_the_remedy_and_is_no_zero(paired):
    _, out = paired
    found = results(out)
    assert "syncnet_v2.model" in found["not_computed"]["lse_d"]
    assert "--fid_weights FILE" in found["not_computed"]["fid"]
    assert not {"lse_d", "fid", "lpips", "lmd", "identity"} & set(found["totals"]["made"])
    assert "| lse_d | SyncNet v2 is not given" in (out / "report.md").read_text()


def test_the_report_names_the_evaluator_and_the_page_needs_no_other_file(paired, expert_file):
    _, out = paired
    report, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert "expert.pth (sha256 " in report
    assert "| metric | better | real (2) | made (2) |" in report
    assert page.count("data:image/jpeg;base64,") == 4  # two clips of two systems
    assert page.count("<polyline") == 2
    assert not any(word in page for word in ("http://", "https://", "<script", 'src="/'))


def test_a_second_run_measures_nothing_again_and_says_the_same(paired):
    flags, out = paired
    before = {path: path.stat().st_mtime_ns for path in (out / "clips").rglob("*.json")}
    said = (out / "results.json").read_text()
    evaluate(flags)
    assert {path: path.stat().st_mtime_ns for path in (out / "clips").rglob("*.json")} == before
    assert (out / "results.json").read_text() == said
    assert len(before) == 4


def test_only_what_changed_is_measured_again_and_numbers_do_not_depend_on_the_run(paired, talking, tmp_path):
    flags, out = paired
    made = tmp_path / "made"
    shutil.copytree(flags[2], made)
    shutil.copy(talking / "a.mp4", made / "a.mp4")  # now equal to the truth
    anew = tmp_path / "out"
    shutil.copytree(out / "clips", anew / "clips")
    before = {path: path.stat().st_mtime_ns for path in (anew / "clips").rglob("*.json")}
    (anew / "clips/real/a.json").write_text("{")  # damaged
    evaluate(["pairs", "--made", str(made), *flags[3:6], str(anew), *flags[7:]])
    touched = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert touched == {"a.json"}
    clips = {clip["clip"]: clip["values"] for clip in results(anew)["clips"]["made"]}
    assert (clips["a"]["psnr"], clips["a"]["ssim"], clips["a"]["sharpness"]) == ("inf", 1, 1)
    assert results(anew)["clips"]["real"] == results(out)["clips"]["real"]


@pytest.mark.slow
def test_two_workers_find_the_same_numbers_to_the_last_digit(paired, tmp_path):
    flags, out = paired
    evaluate([*flags[:5], "--out", str(tmp_path / "out"), *flags[7:], "--workers", "2"])
    for part in ("clips", "totals"):
        assert results(tmp_path / "out")[part] == results(out)[part]


def test_a_checkpoint_is_given_each_clips_own_sound_and_anothers(data_root, generator_files, expert_file, tmp_path):
    evaluate(["checkpoint", "--checkpoint_path", str(generator_files[0]), "--data_root", str(data_root),
              "--out", str(tmp_path), "--expert", str(expert_file)])  # fmt: skip
    found = results(tmp_path)
    assert list(found["clips"]) == ["real", "generator_0", "generator_0 (shuffled sound)"]
    assert not any(clip["failed"] for some in found["clips"].values() for clip in some)
    assert found["totals"]["generator_0"]["ssim"]["mean"] < 0.99
    assert "ssim" not in found["totals"]["generator_0 (shuffled sound)"]
    assert found["totals"]["generator_0 (shuffled sound)"]["sharpness"]["clips"] == 2
    made = tmp_path / "made/generator_0"
    assert probe(made / "true/who/0.mp4").seconds == pytest.approx(50 / 25, abs=0.05)
    assert probe(made / "shuffled/who/0.mp4").seconds == pytest.approx(52 / 25, abs=0.05)  # frames 5 to 56 of who/1


@pytest.mark.slow
def test_two_checkpoints_are_told_apart(data_root, generator_files, tmp_path):
    first, second = generator_files
    evaluate(["compare", f"one={first}", f"two={second}", "--data_root", str(data_root), "--out", str(tmp_path)])
    found = results(tmp_path)
    assert list(found["clips"]) == ["real", "one", "two"]
    apart = {d["metric"]: d for d in found["differences"]}
    values = [[clip["values"]["ssim"] for clip in found["clips"][name]] for name in ("one", "two")]
    assert apart["ssim"]["mean"] == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    assert apart["ssim"]["clips"] == 2
    assert "| one - two | ssim |" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_a_list_of_the_paper_is_run_line_by_line_and_a_pair_it_leaves_out_is_told(
    talking, generator_files, expert_file, tmp_path
):
    long = tmp_path / "data/main/long.mp4"
    write_clip(long, list(read_frames(talking / "a.mp4")) * 2, tone(3.2).astype(np.float32))
    for name in ("a.mp4", "b/c.mp4"):
        (long.parent / name).parent.mkdir(exist_ok=True)
        shutil.copy(talking / name, long.parent / name)
    (tmp_path / "lrs2.txt").write_text("main/a main/b/c\nmain/long main/a\n")
    the_list = ["--filelist", str(tmp_path / "lrs2.txt"), "--protocol", "lrs2", "--data_root", str(tmp_path / "data"),
                "--out", str(tmp_path / "out"), "--detector", "haar", "--expert", str(expert_file)]  # fmt: skip
    evaluate(["compare", *(f"{file.stem}={file}" for file in generator_files), *the_list])
    found = results(tmp_path / "out")
    assert found["evaluators"]["lse_frames"] == "whole"
    assert [clip["clip"] for clip in found["clips"]["real"]] == ["main/b/c", "main/a"]
    assert list(found["clips"]) == ["real", "generator_0", "generator_1"]
    first, second = found["clips"]["generator_0"]
    assert (first["clip"], second["clip"]) == ("0", "1")
    assert first["values"]["sharpness"] > 0
    assert "the paper leaves such pairs out" in second["failed"]
    assert "the paper leaves such pairs out" in (tmp_path / "out/report.md").read_text()
    assert (tmp_path / "out/made/generator_0/0.mp4").is_file()
    evaluate(["filelist", "--checkpoint_path", str(generator_files[0]), *the_list])  # of one, measured already
    assert list(results(tmp_path / "out")["clips"]) == ["real", "generator_0"]
    assert results(tmp_path / "out")["clips"]["generator_0"] == found["clips"]["generator_0"]


def test_videos_by_themselves_have_sync_and_no_likeness_and_a_broken_one_does_not_stop_the_others(
    talking, expert_file, tmp_path
):
    made = tmp_path / "made"
    made.mkdir()
    shutil.copy(talking / "a.mp4", made / "a.mp4")
    (made / "broken.mp4").write_text("no video")
    evaluate(["videos", "--made", str(made), "--out", str(tmp_path / "out"), "--detector", "haar",
              "--expert", str(expert_file)])  # fmt: skip
    found = results(tmp_path / "out")
    assert set(found["clips"]) == {"made"}
    assert {"expert_distance", "flicker"} <= set(found["totals"]["made"])
    assert "give one" in found["not_computed"]["ssim"]
    failed = {clip["clip"]: clip["failed"] for clip in found["clips"]["made"]}
    assert failed["a"] is None
    assert "broken.mp4" in failed["broken"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["videos", "--made", "nowhere"], "nowhere: there is no video in it"),
        (["videos", "--made", ".", "--workers", "0"], "--workers is 0"),
        (["videos", "--made", ".", "--expert", "none.pth"], "--expert none.pth: no such file"),
        (["compare", "tuned"], "tuned: give NAME=PATH"),
        (["compare", "real=."], "real=.: real cannot be its name"),
        (["compare", "a=."], "give --truth"),
        (["compare", "a=.", "--truth", ".", "--filelist", "list.txt"], "--filelist: says nothing without --protocol"),
        (["compare", "a=.", "--data_root", ".", "--filelist", "list.txt", "--protocol", "lrs2"], "is a folder"),
        (
            ["filelist", "--checkpoint_path", "a", "--data_root", ".", "--protocol", "lrs2"],
            "lrs2: give --filelist FILE",
        ),
    ],
)
def test_a_wrong_flag_is_one_sentence(flags, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        evaluate([*flags, "--out", str(tmp_path / "out"), "--detector", "haar"])


def test_lips_that_move_in_silence_are_seen(talking, tmp_path):
    speech = np.concatenate([0.2 * np.random.default_rng(0).standard_normal(16_000), np.zeros(9_600)])
    frames = list(read_frames(talking / "a.mp4"))
    for name, shown in (("resting", [*frames[:25], *[frames[25]] * 15]), ("moving", frames)):
        write_clip(tmp_path / "made" / f"{name}.mp4", shown, speech.astype(np.float32))
    evaluate(["videos", "--made", str(tmp_path / "made"), "--out", str(tmp_path / "out"), "--detector", "haar"])
    motion = {clip["clip"]: clip["values"]["silence_motion"] for clip in results(tmp_path / "out")["clips"]["made"]}
    assert motion["resting"] < 0.3 < motion["moving"]
