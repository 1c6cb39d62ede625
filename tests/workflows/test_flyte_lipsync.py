"""The Flyte flow in one process: cache, retries, table of cost, and its deployment without a cluster."""

import json
import re
import shlex
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
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import InputError
from wav2lip.sadtalker import SadTalker

flyte = pytest.importorskip("flyte", reason="the extra [flyte] is not installed")
flow = pytest.importorskip("workflows.flyte_lipsync")

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture
def request_values(tmp_path, monkeypatch):
    """A request with two seconds of audio in segments of 0.32 s, and a cache of its own."""
    from flyte._persistence._db import LocalDB

    monkeypatch.setattr(LocalDB, "_get_cache_dir", staticmethod(lambda: tmp_path / "cache"))
    monkeypatch.setattr(LocalDB, "_conn", None)
    monkeypatch.setattr(LocalDB, "_conn_sync", None)
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "generator.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    frames = list(np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3), np.uint8))
    write_video(tmp_path / "face.mp4", frames)
    write_wav(tmp_path / "audio.wav", tone(0.9))
    (tmp_path / "prices.yaml").write_text(
        "date: 2026-11-01\ncurrency: USD\nclasses: {test: {cpu_hour: 1000, gib_hour: 0, gpu_hour: 0}}\n"
    )
    monkeypatch.setenv("WAV2LIP_HOST_CLASS", "test")
    names = {"face": "face.mp4", "audio": "audio.wav", "outfile": "out.mp4", "checkpoint": "generator.pth",
             "storage": "storage", "prices": "prices.yaml"}  # fmt: skip
    return {name: str(tmp_path / file) for name, file in names.items()} | {
        "flags": ("--box", "8", "56", "8", "56"), "device": "cpu", "segment_seconds": 0.3, "segments_per_task": 2,
        "detector": "haar",
    }  # fmt: skip


def run(values):
    """Run the flow; return cached and all tasks, and the cost, of the only row of its table."""
    flyte.init()
    table = flyte.with_runcontext(mode="local").run(flow.lipsync, flow.Request(**values).json).outputs()[0]
    row = table.splitlines()[1]
    cached, count = re.search(r"(\d+)/(\d+)", row).groups()
    return int(cached), int(count), re.search(r"(\d+\.\d{4})( \(\d+\.\d{4}\))?", row)[0]


def count_frames(path):
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


def test_tasks_are_cached_by_content(request_values, tmp_path):
    cached, count, cost = run(request_values)
    assert (cached, count) == (0, 6)  # audio, plan, three segments of 8 frames, join
    assert re.fullmatch(r"\d+\.\d{4}", cost)
    assert float(cost) > 0
    assert count_frames(tmp_path / "out.mp4") == 23
    cached, count, again = run(request_values)
    assert (cached, count) == (6, 6)
    assert again == f"0.0000 ({cost})"  # nothing this time; the original cost in brackets

    (tmp_path / "face.mp4").rename(tmp_path / "moved.mp4")
    assert run(request_values | {"face": str(tmp_path / "moved.mp4")})[:2] == (6, 6)
    write_wav(tmp_path / "audio.wav", tone(0.9, hertz=330.0))  # other bytes under the same path
    assert run(request_values | {"face": str(tmp_path / "moved.mp4")})[:2] == (0, 6)

    (tmp_path / "out.mp4").unlink()
    assert run(request_values | {"face": str(tmp_path / "moved.mp4")})[:2] == (5, 6)
    # Another name of the result: only the join runs, and all tasks are one row of the table.
    renamed = {"face": str(tmp_path / "moved.mp4"), "outfile": str(tmp_path / "other#1.mp4")}
    assert run(request_values | renamed)[:2] == (5, 6)
    assert count_frames(tmp_path / "out.mp4") == 23


def test_sadtalker_runs_by_name(request_values, tmp_path, monkeypatch):
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "photo.png")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "SadTalker_V0.0.2_256.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(SadTalker, "from_checkpoint", lambda *arguments, **others: tiny_sadtalker())
    values = request_values | {"engine": "sadtalker", "checkpoint": str(tmp_path / "checkpoints"),
                               "face": str(tmp_path / "photo.png"), "flags": ("--still",)}  # fmt: skip
    assert run(values)[:2] == (0, 2)  # audio, result
    assert count_frames(tmp_path / "out.mp4") == 23
    assert run(values)[:2] == (2, 2)
    assert run(values | {"flags": ("--still", "--seed", "1")})[:2] == (1, 2)


def test_failing_task_is_retried_and_bad_input_is_not(request_values, tmp_path, monkeypatch):
    calls = []
    original = flow.RenderSegment.__call__

    def fail_once(self, segment, context, progress):
        calls.append(segment.number)
        if len(calls) == 1:
            raise OSError("the disk is away")
        return original(self, segment, context, progress)

    monkeypatch.setattr(flow.RenderSegment, "__call__", fail_once)
    assert run(request_values)[:2] == (0, 6)
    assert calls == [0, 0, 1, 2]
    (tmp_path / "audio.wav").write_text("no audio")
    with pytest.raises(Exception, match="audio.wav"):
        run(request_values)


def test_unknown_engine_is_error(request_values):
    with pytest.raises(InputError, match="--engine other: must be one of wav2lip, sadtalker"):
        flow.Request.parse(flow.Request(**request_values, engine="other").json)


def test_dry_deployment_has_images_resources_retries_and_cache():
    flyte.init(endpoint="dns:///localhost:9", insecure=True, root_dir=ROOT)
    (deployment,) = flyte.deploy(flow.flow_env, dry_run=True)
    entities = [entity for env in deployment.envs.values() for entity in env.deployed_entities]
    tasks = {task.deployed_task.short_name: task.deployed_task.task_template for task in entities}
    assert set(tasks) == {"lipsync", "analyze_audio", "plan", "render", "render_whole", "join"}
    resources = {"lipsync": ["1", "1Gi"], "plan": ["12Gi", "4"], "render": ["12Gi", "4"],
                 "render_whole": ["12Gi", "4"]}  # fmt: skip
    for name, task in tasks.items():
        assert task.container.image == "wav2lip:cpu"
        requests = [entry.value for entry in task.container.resources.requests]
        assert sorted(requests) == resources.get(name, ["2", "4Gi"])
        if name != "lipsync":
            assert task.metadata.retries.retries == 2
            assert task.metadata.discovery_version == "lipsync-2"
            assert set(task.metadata.cache_ignore_input_vars) == {"request", "run_id"}


def test_documented_command_uses_existing_flags():
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m workflows\.flyte_lipsync (.*)$", text, flags=re.MULTILINE)
    flags = {word for word in shlex.split(line) if word.startswith("--")}
    assert flags <= {option for action in flow.build_parser()._actions for option in action.option_strings}
    assert json.loads(flow.Request("f", "a", "o", "c", "s").json)["engine"] == "wav2lip"
