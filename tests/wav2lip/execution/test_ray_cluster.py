"""Ray: results equal those of local processes; nodes, workers and drivers that die cost at most one input."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from models import Wav2Lip
from tests.helpers.media import tone, write_wav
from tests.helpers.media import write_video as write_frames
from tests.helpers.preprocess import make_chunked_job, noise, write_video
from wav2lip.batch.__main__ import batch
from wav2lip.checkpoints import Checkpoint, save_checkpoint

ray = pytest.importorskip("ray", reason="the extra [ray] is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

from dataclasses import replace  # noqa: E402

from preprocess import pipeline  # noqa: E402
from preprocess.ingest import find_videos  # noqa: E402
from wav2lip.errors import InputError  # noqa: E402
from wav2lip.execution import ray_cluster  # noqa: E402
from wav2lip.execution.build import ExecutorSettings  # noqa: E402
from wav2lip.execution.interface import Crash  # noqa: E402
from wav2lip.execution.ray_cluster import RayExecutor  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Square:
    """Square a number; the poison kills its worker, and slow inputs take a while."""

    poison: int | None = None
    victim: str | None = None  # file that is created by the first attempt at input 5, which dies
    delay_seconds: float = 0.0

    def __call__(self, value, context, progress):
        if value == self.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.victim is not None and value == 5 and not Path(self.victim).exists():
            Path(self.victim).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.delay_seconds)
        return value * value


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of one CPU in one process group."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_poison_and_killed_worker_cost_one_input(cluster, tmp_path):
    inputs = list(range(1000))
    with RayExecutor(3, "auto") as executor:
        results = dict(executor.map(Square(poison=500, victim=str(tmp_path / "died")), inputs))
    crash = results.pop(500)
    assert isinstance(crash, Crash)
    assert (crash.cause, crash.attempts) == ("killed its worker", 3)
    assert results == {n: n * n for n in inputs if n != 500}
    assert (tmp_path / "died").exists()


@dataclass(frozen=True)
class FailLater:
    """Kill the worker after 0.6 s at the first attempt, and fail at the second."""

    victim: str

    def __call__(self, value, context, progress):
        if not Path(self.victim).exists():
            Path(self.victim).touch()
            time.sleep(0.6)
            os.kill(os.getpid(), signal.SIGKILL)
        raise ZeroDivisionError("simulated fault")


def test_time_of_all_attempts_counts(cluster, tmp_path):
    with RayExecutor(1, "auto") as executor:
        ((_, crash),) = executor.map(FailLater(str(tmp_path / "died")), [1])
    assert (crash.cause, crash.attempts) == ("program fault", 2)
    assert "simulated fault" in crash.reason
    assert crash.seconds >= 0.6


def test_worker_without_memory_is_replaced(cluster, monkeypatch):
    get, killed, errors = ray.get, [], [ray.exceptions.OutOfMemoryError("the node is low on memory")]
    monkeypatch.setattr(ray, "kill", lambda actor, kill=ray.kill: (killed.append(actor), kill(actor)))

    def run_out_of_memory_once(reference):
        result = get(reference)
        if result is not None and errors:  # None: an actor is ready
            raise errors.pop()
        return result

    monkeypatch.setattr(ray, "get", run_out_of_memory_once)
    with RayExecutor(1, "auto") as executor:
        assert dict(executor.map(Square(), [2, 3])) == {2: 4, 3: 9}
        assert len(killed) == 1  # nothing else would end it: it may still work on the input


class UnableActor:
    """An actor on a node where the project cannot be imported."""

    def __init__(self, index, grant):
        raise ImportError("No module named 'wav2lip'")

    def ready(self):
        pass


def test_worker_that_never_starts_is_error(cluster, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_Actor", UnableActor)
    with (
        RayExecutor(1, "auto") as executor,
        pytest.raises(InputError, match="died at its start 3 times.*No module named 'wav2lip'"),
    ):
        list(executor.map(Square(), [1]))


class PartlyUnableActor(ray_cluster._Actor):
    """An actor that cannot start in the place of the first worker."""

    def __init__(self, index, grant):
        if index == 0:
            raise ImportError("No module named 'wav2lip'")
        super().__init__(index, grant)


def test_worker_that_never_starts_leaves_its_inputs_to_the_others(cluster, monkeypatch, caplog):
    monkeypatch.setattr(ray_cluster, "_Actor", PartlyUnableActor)
    with RayExecutor(3, "auto") as executor:
        assert dict(executor.map(Square(delay_seconds=0.3), list(range(60)))) == {n: n * n for n in range(60)}
    assert caplog.text.count("died at its start 3 times") == 1


def test_removed_node_costs_no_input(cluster):
    node = cluster.add_node(num_cpus=1)
    results = {}
    with RayExecutor(4, "auto") as executor:
        for value, result in executor.map(Square(delay_seconds=0.2), list(range(40))):
            results[value] = result
            if len(results) == 8:
                cluster.remove_node(node, allow_graceful=False)
    assert results == {n: n * n for n in range(40)}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Short videos, and the data set of a run in this process."""
    folder = tmp_path_factory.mktemp("ray")
    for n in range(4):
        levels = [40 + 20 * n + k % 60 for k in range(40)]
        write_video(folder / "in" / f"speaker{n}" / "talk.mkv", [k / 25 for k in range(40)], levels, noise(1.6, n))
    pipeline.run(find_videos(folder / "in"), make_chunked_job(folder / "serial" / "out"))
    return folder


def contents(out):
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    return {path: (out / path).read_bytes() for path in files if path.parts[0] != ".stages"}


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_data_set_of_an_executor_equals_that_of_one_process(cluster, videos, tmp_path, kind):
    job = replace(make_chunked_job(tmp_path / "out"), executor=ExecutorSettings(kind, 2))
    pipeline.run(find_videos(videos / "in"), job)
    assert contents(tmp_path / "out") == contents(videos / "serial" / "out")


def test_batch_on_a_cluster_equals_local_processes(cluster, tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "generator.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    write_frames(tmp_path / "face.mp4", list(np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3), np.uint8)))
    write_wav(tmp_path / "short.wav", tone(0.4))
    write_wav(tmp_path / "long.wav", tone(1.3))
    (tmp_path / "jobs.csv").write_text(
        "face,audio,box\nface.mp4,short.wav,8 56 8 56\nface.mp4,long.wav,8 56 8 56\nface.mp4,none.wav,\n"
    )
    common = [str(tmp_path / "jobs.csv"), "--checkpoint_path", str(tmp_path / "generator.pth"), "--device", "cpu",
              "--workers", "2", "--segment_seconds", "0.4", "--max_failed", "0.5"]  # fmt: skip
    for kind in ("local", "ray"):
        assert batch([*common, "--executor", kind, "--out", str(tmp_path / kind)]) == 0
    for name in ("face_short.mp4", "face_long.mp4"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


DRIVER = """
import sys
from dataclasses import replace
from pathlib import Path
from preprocess.ingest import find_videos
from preprocess.pipeline import run
from tests.helpers.preprocess import StubDetector, make_chunked_job
from wav2lip.execution.build import ExecutorSettings
videos, out, address = sys.argv[1:]
job = make_chunked_job(Path(out), StubDetector(delay_seconds=0.1))
run(find_videos(videos), replace(job, executor=ExecutorSettings("ray", 2, address)))
"""


def test_killed_driver_is_resumed_from_records(cluster, videos, tmp_path):
    command = [sys.executable, "-c", DRIVER, str(videos / "in"), str(tmp_path / "out"), cluster.address]
    process = subprocess.Popen(command, cwd=ROOT)
    faces = tmp_path / "out/.stages/faces.jsonl"
    deadline = time.monotonic() + 60
    while not (faces.exists() and faces.read_bytes()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = faces.read_text().count("\n")
    assert 1 <= done < 4
    job = replace(make_chunked_job(tmp_path / "out"), executor=ExecutorSettings("ray", 2))
    pipeline.run(find_videos(videos / "in"), job)
    assert contents(tmp_path / "out") == contents(videos / "serial" / "out")
    assert faces.read_text().count("\n") == 4
