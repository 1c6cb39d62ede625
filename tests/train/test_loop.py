"""The loop: gradient accumulation, stop requests, order of callbacks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.helpers.trainers import run_trainer
from tests.helpers.training import cpu_fabric
from train.callbacks.base import AbortRun, Callback, Stop
from train.checkpoint.manager import CheckpointManager
from train.checkpoint.state import RunningMeans, TrainState
from train.loop import Loop, Schedule
from train.trainable import TrainableModel
from wav2lip.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]


class SquaresStep:
    """Train a network without batch-norm to square its inputs."""

    def __init__(self, fabric, network):
        self.fabric, self.network = fabric, network

    def set_step(self, step):
        pass

    def backward(self, batch, scale):
        loss = (self.network(batch) - batch.square()).square().mean()
        self.fabric.backward(loss * scale)
        return {"loss": loss.detach()}

    def state_dict(self):
        return {}


def build_loop(folder, batch_size=12, grad_accum_steps=1, callbacks=None, **schedule):
    torch.manual_seed(0)
    fabric = cpu_fabric()
    network = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    wrapped, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters(), lr=0.01))
    samples = torch.rand(480, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = SquaresStep(fabric, wrapped)
    state = TrainState(step, RunningMeans(fabric), callbacks or {})
    manager = CheckpointManager(fabric, state, [TrainableModel(wrapped, optimizer, grad_clip_norm=0.1)], folder)
    return Loop(fabric, step, manager, lambda first: iter(samples.split(batch_size)[first:]), Schedule(**schedule),
                batch_size, grad_accum_steps, callbacks=callbacks or {})  # fmt: skip


def test_accumulated_gradients_equal_one_large_batch(tmp_path):
    large, accumulated = build_loop(tmp_path, 12, 1), build_loop(tmp_path, 4, 3)
    for loop in (large, accumulated):
        batches = loop.train_batches(0)
        for _ in range(4):
            loop.run_step(batches)
    states = [loop.manager.state for loop in (large, accumulated)]
    assert states[0].means.pop()["loss"] == pytest.approx(states[1].means.pop()["loss"], rel=1e-6)
    assert [(state.step, state.samples) for state in states] == [(4, 48)] * 2
    networks = [loop.manager.models[0].network for loop in (large, accumulated)]
    for expected, actual in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


class Recorder(Callback):
    """Record its hooks; stop or abort after a step."""

    def __init__(self, stop_at=None, abort_at=None):
        self.hooks, self.stop_at, self.abort_at = [], stop_at, abort_at

    def stop(self, state):
        return Stop("enough", exit_code=7) if state.step == self.stop_at else None

    def on_start(self, state):
        self.hooks.append("start")

    def on_step_start(self, state):
        self.hooks.append(f"before {state.step}")

    def on_step(self, state):
        self.hooks.append(f"after {state.step}")

    def on_log(self, state, means):
        self.hooks.append(f"log {sorted(means)}")
        if state.step == self.abort_at:
            raise AbortRun

    def on_save(self, state):
        self.hooks.append("save")

    def on_end(self):
        self.hooks.append("end")


def test_hooks_are_called_in_the_order_of_a_step(tmp_path):
    recorder = Recorder(stop_at=2)
    assert build_loop(tmp_path, callbacks={"recorder": recorder}, log_interval=2).run() == 7
    log = "log ['gradient_norm', 'loss']"
    assert recorder.hooks == ["start", "before 0", "after 1", "before 1", "after 2", log, "save", "end"]
    assert load_checkpoint(tmp_path / "last.pth").global_step == 2


def test_aborted_run_saves_nothing_and_closes_callbacks(tmp_path):
    recorder = Recorder(abort_at=2)
    assert build_loop(tmp_path, callbacks={"recorder": recorder}, log_interval=1, max_steps=5).run() == 1
    assert recorder.hooks[-1] == "end"
    assert not list(tmp_path.iterdir())


def test_run_past_its_end_changes_nothing(noise_data, expert, tmp_path, caplog):
    first = run_trainer("syncnet", noise_data, tmp_path / "first", expert, "max_steps=3")
    caplog.set_level("INFO", logger="train")
    folder = run_trainer("syncnet", noise_data, tmp_path / "again", expert, "max_steps=2",
                        f"checkpoint_path={first}/checkpoint_step000000003.pth")  # fmt: skip
    assert "nothing to do: step 3" in caplog.text
    assert not list(folder.glob("*.pth"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 0)])
def test_signal_saves_before_leaving(number, workers, noise_data, tmp_path):
    command = [sys.executable, "-m", "train.syncnet", f"data_root={noise_data}", f"checkpoint_dir={tmp_path}",
               "debug=tiny", "max_steps=1000000", "eval_interval=1000000", "checkpoint_interval=1000000",
               "data_source=clips", f"num_workers={workers}"]  # fmt: skip
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(command, stderr=file, cwd=ROOT, start_new_session=True)
    while "step 1/1000000 | loss" not in output.read_text() and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, number)  # as terminals and batch systems do, workers included
    process.wait(timeout=120)
    errors = output.read_text()
    assert process.returncode == 128 + number, errors
    (path,) = tmp_path.glob("checkpoint_step*.pth")
    assert load_checkpoint(path).global_step > 0
    assert f"stopped by {signal.Signals(number).name}" in errors
    assert f"saved {path}" in errors
    assert "Traceback" not in errors
