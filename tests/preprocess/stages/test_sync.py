"""The sync stage on synthetic talking heads."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models import SyncNet
from preprocess.curation.clip_inputs import find_clips, inspect_clips
from preprocess.curation.curate import CurationSettings, curate
from preprocess.stages.sync import run_sync
from preprocess.sync.__main__ import main
from preprocess.sync.decide import SyncSettings
from tests.helpers.commands import run_main
from wav2lip.audio import load_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.dataset.clip import ClipWriter, read_info
from wav2lip.errors import InputError
from wav2lip.execution.local import ProcessExecutor
from wav2lip.execution.manifest import OK, REJECTED, Manifest
from wav2lip.execution.stage_runner import StageRunner
from wav2lip.synthetic import Speaker, render, speak

OFFSETS = {"s1/0": 6, "s3/0": -5, "s4/0": 9}  # frames
SWAPPED = ("s2/1", "s5/0")


@pytest.fixture(scope="session")
def talkers(tmp_path_factory) -> Path:
    """Twelve synthetic clips of six speakers, all in sync."""
    root = tmp_path_factory.mktemp("talkers")
    for speaker_id in range(6):
        speaker = Speaker.from_seed(speaker_id)
        for take in range(2):
            speech = speak(4.0, speaker, 10 * speaker_id + take)
            with ClipWriter(root, f"s{speaker_id}/{take}") as clip:
                for number, frame in enumerate(render(speech, speaker, 10 * speaker_id + take)):
                    clip.write_frame(number, frame[47:221, 62:188])
                clip.write_audio([speech.wav[:64_000].astype(np.float32)])
    return root


def replace_audio(root, clip, wav):
    folder = root / clip
    with ClipWriter(root, "x/x") as writer:
        writer.write_audio([wav])
    os.replace(root / "x/x/audio.wav", folder / "audio.wav")
    (folder / "wav2lip_mel.npy").unlink(missing_ok=True)
    shutil.rmtree(root / "x")


def delay(wav, shift):
    shifted = np.roll(wav, shift * 640)
    shifted[: shift * 640] = 0 if shift > 0 else shifted[: shift * 640]
    return shifted


@pytest.fixture
def corrupted(talkers, tmp_path):
    """The same clips, three of them shifted and two with swapped audio."""
    root = tmp_path / "broken"
    shutil.copytree(talkers, root)
    for clip, shift in OFFSETS.items():
        replace_audio(root, clip, delay(load_wav(talkers / clip / "audio.wav"), shift))
    for clip, other in zip(SWAPPED, SWAPPED[::-1], strict=True):
        replace_audio(root, clip, load_wav(talkers / other / "audio.wav"))
    return root


def run(root, *, stages=("sync",), overwrite=False, **options):
    with Manifest(root) as manifest, ProcessExecutor(0) as executor:
        inputs, unreadable = inspect_clips(root, find_clips(root), executor, "sync")
        assert not unreadable
        runner = StageRunner(manifest, executor, stages, overwrite)
        return run_sync(root, inputs, SyncSettings(**options), runner)


def test_shifted_clips_are_corrected_and_swapped_rejected(talkers, corrupted):
    records, summary = run(corrupted)
    assert {clip for clip, record in records.items() if record.status == REJECTED} == set(SWAPPED)
    assert {c: r.data["offset"] for c, r in records.items() if r.data["offset"] and r.status == OK} == OFFSETS
    assert (summary["agreement_found"], summary["corrected"], summary["uncertain"]) == (True, 3, 2)
    assert load_wav(corrupted / "s1/0/audio.wav")[:50_000] == pytest.approx(
        load_wav(talkers / "s1/0/audio.wav")[:50_000]
    )

    files = read_files(corrupted)
    assert run(corrupted) == (records, summary)
    assert read_files(corrupted) == files


def test_killed_run_resumes_to_same_records(corrupted, tmp_path):
    shutil.copytree(corrupted, tmp_path / "other")
    run(corrupted, correct=False)
    records_file = corrupted / ".stages/sync.jsonl"
    records_file.write_bytes(records_file.read_bytes()[:5000])  # some records, the last one incomplete
    assert run(corrupted)[0] == run(tmp_path / "other")[0]
    assert (corrupted / "s1/0/audio.wav").read_bytes() == (tmp_path / "other/s1/0/audio.wav").read_bytes()


def test_swapped_audio_gives_no_agreement(talkers, tmp_path):
    shutil.copytree(talkers, tmp_path / "all")
    swap_audio(talkers, tmp_path / "all")
    records, summary = run(tmp_path / "all")
    assert summary["conclusion"].startswith("no agreement found")
    assert all(record.status == REJECTED for record in records.values())


def swap_audio(talkers, root):
    clips = find_clips(talkers)
    for number, clip in enumerate(clips):
        replace_audio(root, clip, load_wav(talkers / clips[(number + 5) % len(clips)] / "audio.wav"))


def test_duplicates_do_not_create_agreement(talkers, tmp_path):
    root = tmp_path / "all"
    shutil.copytree(talkers, root)
    swap_audio(talkers, root)
    clips = find_clips(root)
    for number, clip in enumerate(clips):
        for shift, copy in enumerate("xy", start=1):  # another order, which alone would assign other folds
            shutil.copytree(root / clip, root / copy / f"{(number + shift) % len(clips):02}")
    process = run_main(main, f"data_root='{root}'", "workers=0", "correct=false")
    assert process.returncode == 0
    assert "no agreement found" in process.stdout


def test_disabled_stage_needs_records_and_shifts_no_audio(corrupted):
    with pytest.raises(InputError, match=r"12 clips .*add sync to stages="):
        run(corrupted, stages=())
    run(corrupted, correct=False)
    before = read_files(corrupted)
    records, summary = run(corrupted, stages=())
    assert read_files(corrupted) == before
    assert (records["s1/0"].data["offset"], records["s1/0"].data["applied"], summary["corrected"]) == (6, 0, 0)
    run(corrupted)
    records, summary = run(corrupted, stages=())
    assert (records["s1/0"].data["applied"], summary["corrected"]) == (6, 3)


def curate_clips(root, *stages):
    with Manifest(root) as manifest, ProcessExecutor(0) as executor:
        return curate(root, find_clips(root), CurationSettings(), StageRunner(manifest, executor, stages))


def test_quality_is_not_measured_again_after_correction(corrupted):
    first = curate_clips(corrupted, "quality", "sync")
    assert read_info(corrupted / "s1/0")["sync_applied"] == 6
    assert curate_clips(corrupted, "splits").qualities == first.qualities  # this run measures nothing


def test_curate_without_sync_stage_shifts_no_audio(corrupted):
    before = {clip: (corrupted / clip / "audio.wav").read_bytes() for clip in find_clips(corrupted)}
    with pytest.raises(InputError, match="add sync to stages="):
        curate_clips(corrupted, "quality")
    assert {clip: (corrupted / clip / "audio.wav").read_bytes() for clip in before} == before


def test_overwrite_measures_again_with_same_result(corrupted):
    first, _ = run(corrupted)
    lines = (corrupted / ".stages/sync.jsonl").read_text().count("\n")
    second, _ = run(corrupted, overwrite=True)
    assert (corrupted / ".stages/sync.jsonl").read_text().count("\n") >= lines + 12
    assert {c: r.data["applied"] for c, r in second.items()} == {c: r.data["applied"] for c, r in first.items()}


def test_backup_of_killed_run_is_recovered_and_measured(talkers, tmp_path):
    root = tmp_path / "killed"
    shutil.copytree(talkers, root)
    backup = root / ".stages/sync/backup/s1"
    backup.mkdir(parents=True)
    os.replace(root / "s1/0", backup / "0")
    assert run_main(main, f"data_root='{root}'", "workers=0").returncode == 0
    with Manifest(root) as manifest:
        assert set(manifest.records("sync")) == set(find_clips(talkers))


def test_folder_without_clips_is_error(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        process = run_main(main, f"data_root='{folder}'")
        assert process.returncode == 2 and "contains no clip" in process.stderr
    assert not list(tmp_path.iterdir())


def test_bootstrap_on_sample_measures_other_clips(talkers, tmp_path):
    shutil.copytree(talkers, tmp_path / "all")
    records, _ = run(tmp_path / "all", bootstrap_minutes=0.5)  # seven of the twelve clips
    assert all(record.status == OK and record.data["offset"] == 0 for record in records.values())


def test_correct_false_changes_no_clip(corrupted):
    before = read_files(corrupted)
    records, _ = run(corrupted, correct=False)
    after = {name: data for name, data in read_files(corrupted).items() if not name.startswith(".stages")}
    assert after == before
    assert records["s1/0"].data["applied"] == 0


def test_too_few_clips_are_kept_unmeasured(talkers, tmp_path):
    shutil.copytree(talkers / "s0", tmp_path / "few/s0")
    records, summary = run(tmp_path / "few")
    assert [record.status for record in records.values()] == [OK, OK]
    assert summary["agreement_found"] is None
    assert "not measured" in summary["conclusion"]


def test_untrained_expert_finds_no_agreement(talkers, tmp_path):
    shutil.copytree(talkers, tmp_path / "all")
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "untrained.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    records, summary = run(tmp_path / "all", expert=str(tmp_path / "untrained.pth"))
    assert summary["expert"] == "untrained.pth"
    assert summary["conclusion"].startswith("no agreement found with this expert")
    assert all(record.status == REJECTED for record in records.values())
    assert (tmp_path / "all/s0/0/audio.wav").read_bytes() == (talkers / "s0/0/audio.wav").read_bytes()


def test_records_are_json(corrupted):
    run(corrupted)
    lines = (corrupted / ".stages/sync.jsonl").read_text().splitlines()
    assert len(lines) == 12
    assert len(json.loads(lines[0])["data"]["curve"]) == 31


def read_files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
