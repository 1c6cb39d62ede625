"""Validation windows of a run: fixed or redrawn, shared among processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models import SyncNet
from tests.helpers.trainers import run_trainer
from tests.helpers.training import cpu_fabric
from tests.helpers.validation import NumberExpert, index_for_syncnet, numbered_windows, open_expert_windows
from train.data.samples import SyncNetSamples
from train.loop import Loop
from train.validation.offset_curve import measure_curve
from train.validation.runner import Validator
from train.validation.syncnet import score_expert
from wav2lip.dataset.clip import ClipWriter
from wav2lip.errors import InputError


@pytest.fixture(scope="module")
def clips(noise_data, tmp_path_factory):
    """The three clips of noise, all for validation."""
    root = tmp_path_factory.mktemp("validation") / "data"
    shutil.copytree(noise_data, root)
    (root / "filelists" / "val.txt").write_text("".join(f"speaker{n}/00000\n" for n in range(3)))
    return root


def make_rank(rank, world_size):
    return SimpleNamespace(global_rank=rank, world_size=world_size, device=torch.device("cpu"))


def test_windows_are_the_same_each_time_and_for_any_seed(clips):
    validators = [Validator(make_rank(0, 1), open_expert_windows(clips, seed), 4, 10) for seed in (0, 1)]
    runs = [list(validators[0].batches(3)), list(validators[0].batches(6)), list(validators[1].batches(3))]
    assert [len(batch.label) for batch in runs[0]] == [4, 4, 2]
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            assert torch.equal(a.faces, b.faces)
            assert torch.equal(a.mel, b.mel)
            assert torch.equal(a.label, b.label)


@pytest.mark.parametrize(("compat", "is_fixed"), [("none", True), ("public", False)])
def test_upstream_redraws_its_validation_windows(compat, is_fixed, noise_data, tmp_path, monkeypatch):
    validations = []
    monkeypatch.setattr(
        Loop, "run", lambda loop: validations.extend(list(loop.validator.batches(step)) for step in (3, 6)) or 0
    )
    run_trainer("syncnet", noise_data, tmp_path, None, f"compat={compat}")
    first, second = validations
    assert len(first) == 2  # eight windows in batches of four
    assert all(torch.equal(a.faces, b.faces) for a, b in zip(first, second, strict=True)) == is_fixed


def test_processes_share_all_windows(clips):
    dataset = open_expert_windows(clips)
    all_mels = torch.cat([batch.mel for batch in Validator(make_rank(0, 1), dataset, 4, 14).batches(0)])
    mels_by_rank = [
        torch.cat([b.mel for b in Validator(make_rank(rank, 3), dataset, 4, 14).batches(0)]) for rank in range(3)
    ]
    assert [len(mels) for mels in mels_by_rank] == [5, 5, 4]
    for rank, mels in enumerate(mels_by_rank):
        assert torch.equal(mels, all_mels[rank::3])


def test_more_processes_than_windows_are_rejected(clips):
    with pytest.raises(InputError, match="2 windows, fewer than 3 processes"):
        Validator(make_rank(0, 3), open_expert_windows(clips), 4, 2)


def test_short_clips_have_no_curve_and_a_warning(caplog):
    dataset = numbered_windows(SyncNetSamples(5), index_for_syncnet, frames=30)
    validator = Validator(make_rank(0, 1), dataset, 4, 8)
    assert "0.6 s of audio" in caplog.text
    assert measure_curve(cpu_fabric(), NumberExpert(), validator.offset_batches()) is None


@pytest.mark.parametrize("trainer", ["syncnet", "wav2lip"])
def test_metric_of_a_missing_curve_cannot_be_monitored(trainer, expert, tmp_path):
    with ClipWriter(tmp_path, "speaker/0") as clip:
        for frame in range(30):
            clip.write_frame(frame, np.full((24, 20, 3), frame, np.uint8))
        clip.write_audio([np.zeros(19_200, np.float32)])
    (tmp_path / "filelists").mkdir()
    for split in ("train", "val"):
        (tmp_path / "filelists" / f"{split}.txt").write_text("speaker/0\n")
    with pytest.raises(InputError, match=r"monitor_metric=expert_confidence: "):
        run_trainer(trainer, tmp_path, tmp_path / "run", expert, "monitor_metric=expert_confidence", "max_steps=1")
    assert not list((tmp_path / "run").glob("*.pth"))


SCRIPT = """
import json, sys
from pathlib import Path
from lightning_fabric import Fabric
from tests.train.validation.test_runner import score
from train.distributed import leave_process_group

fabric = Fabric(accelerator="cpu", devices=int(sys.argv[3]))
fabric.launch()
scores = score(fabric, Path(sys.argv[1]))
if fabric.is_global_zero:
    Path(sys.argv[2]).write_text(json.dumps(scores))
leave_process_group()
"""


def score(fabric, root):
    """Score a thin untrained expert on 14 windows, and measure its offset curve."""
    torch.manual_seed(0)
    expert = SyncNet(width=0.125)
    validator = Validator(fabric, open_expert_windows(root), 4, 14)
    scores = score_expert(fabric, expert, validator.batches(0))
    curve = measure_curve(fabric, expert, ((batch.faces, batch.mel) for batch in validator.offset_batches()))
    return scores | {f"distance{n}": value for n, value in enumerate(curve.distance.tolist())}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which Windows builds of torch lack")
def test_processes_with_unequal_shares_have_the_scores_of_one(clips, tmp_path):
    script, result = tmp_path / "score.py", tmp_path / "scores.json"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=3", script, clips, result, "3"],
        capture_output=True, text=True, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert json.loads(result.read_text()) == pytest.approx(score(cpu_fabric(), clips), rel=1e-5)
