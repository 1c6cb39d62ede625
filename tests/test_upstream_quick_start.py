"""The five command lines of upstream's quick start, as they stand except for the names of the programs."""

import os
import sys
from pathlib import Path

import av
import pytest

import preprocess.__main__
import train.syncnet
import train.wav2lip
import train.wav2lip_gan
from wav2lip import infer
from wav2lip.checkpoints import load_checkpoint
from wav2lip.synthetic.__main__ import write_samples

SECONDS = 1.6
THIN = {  # added to each command line, to run it in seconds
    "preprocess": "detector=haar sync.enabled=false workers=0 min_clip_seconds=1 val=0.5 test=0",
    "syncnet": "debug=tiny max_steps=3",
    "wav2lip": "debug=tiny max_steps=3 preview_seconds=0",
    "wav2lip_gan": "debug=tiny max_steps=5 preview_seconds=0",  # two steps after those of wav2lip
    "infer": "--detector haar --device cpu",
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    write_samples(folder / "data_root", 4, SECONDS)
    return folder


def run_line(main, line: str, thin: str, monkeypatch) -> None:
    """Run a command line in this process; it must succeed."""
    monkeypatch.setattr(sys, "argv", ["command", *line.split(), *thin.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, line


def test_quick_start_of_upstream_runs(workspace, monkeypatch, caplog):
    monkeypatch.chdir(workspace)
    assert sorted(path.name for path in Path("data_root/main").iterdir()) == ["00000", "00001"]

    run_line(
        preprocess.__main__.main, "--data_root data_root/main --preprocessed_root lrs2_preprocessed/ --batch_size 8",
        THIN["preprocess"], monkeypatch,
    )  # fmt: skip
    assert "flags read as keys: videos=data_root/main out=lrs2_preprocessed batch_size=8" in caplog.messages
    assert len(list(Path("lrs2_preprocessed").glob("*/*/audio.wav"))) >= 2

    run_line(train.syncnet.main, "--data_root lrs2_preprocessed/ --checkpoint_dir expert", THIN["syncnet"], monkeypatch)
    expert = "expert/checkpoint_step000000003.pth"  # upstream's name

    run_line(
        train.wav2lip.main, "--data_root lrs2_preprocessed/ --checkpoint_dir checkpoints/wav2lip "
        f"--syncnet_checkpoint_path {expert}", THIN["wav2lip"], monkeypatch,
    )  # fmt: skip
    run_line(
        train.wav2lip_gan.main, "--data_root lrs2_preprocessed/ --checkpoint_dir checkpoints/gan "
        f"--syncnet_checkpoint_path {expert} --checkpoint_path checkpoints/wav2lip/last.pth",
        THIN["wav2lip_gan"], monkeypatch,
    )  # fmt: skip
    assert load_checkpoint("checkpoints/gan/last.pth").global_step == 5

    os.rename("checkpoints/gan/last.pth", "checkpoints/wav2lip_gan.pth")
    run_line(
        infer.main, "--checkpoint_path checkpoints/wav2lip_gan.pth --face data_root/photo.png --audio "
        "data_root/speech.wav", THIN["infer"], monkeypatch,
    )  # fmt: skip
    with av.open("results/result_voice.mp4") as video:
        assert video.duration / av.time_base == pytest.approx(SECONDS, abs=0.1)
