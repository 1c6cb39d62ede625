"""Damage deep inside the run state of a checkpoint: a sentence, or a state with which the run goes on."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from tests.helpers.trainers import compose_config, run_trainer, tiny_overrides
from train.checkpoint import manager as manager_module
from train.generator_setup import build_generator_run
from train.setup import build_discriminator, build_fabric
from wav2lip.checkpoints import Checkpoint, load_checkpoint
from wav2lip.errors import InputError

RUN = [
    "checkpoint_interval=2",
    "max_steps=2",
    "eval_interval=1",
    "batch_size=1",
    "model.width=0.0625",
    "log_interval=1",
]
ODD = [None, "x", "${x}", -1, math.nan, True, [], [1, "x"], {}, {"x": 1}, {0: {}}, torch.tensor(0.5), torch.zeros(3)]


def paths(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the keys to every value; of tensors by name, of parameters, and of lists the first alone."""
    if isinstance(value, dict):
        is_repetitive = all(isinstance(each, torch.Tensor) for each in value.values()) or 0 in value
        for key in list(value)[: 1 if is_repetitive and len(path) < 3 else None]:
            yield (*path, key)
            yield from paths(value[key], (*path, key))
    if isinstance(value, list) and value:
        yield (*path, 0)
        yield from paths(value[0], (*path, 0))


def replaced(content: dict, path: tuple, value: Any) -> dict:
    """Return a copy in which one value is another."""
    if not path:
        return value
    result = copy.copy(content)
    result[path[0]] = replaced(content[path[0]], path[1:], value)
    return result


@pytest.fixture(scope="module")
def loop_and_checkpoint(noise_data, expert, tmp_path_factory):
    """A GAN run that has not begun, and the generator's checkpoint of one like it."""
    folder = run_trainer("wav2lip_gan", noise_data, tmp_path_factory.mktemp("gan"), expert, *RUN)
    new = tmp_path_factory.mktemp("new")
    cfg = compose_config("wav2lip_gan", *tiny_overrides("wav2lip_gan", noise_data, new, expert), *RUN)
    fabric = build_fabric(cfg)
    loop = build_generator_run(cfg, fabric, build_discriminator(fabric, instantiate(cfg.disc), cfg))
    return loop, load_checkpoint(folder / "checkpoint_step000000002.pth")


def test_damaged_state_is_refused_or_harmless(loop_and_checkpoint, monkeypatch):
    loop, checkpoint = loop_and_checkpoint
    manager = loop.manager
    model = manager.models[0]
    for parameter in model.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    content = {"optimizer": checkpoint.optimizer, "extras": checkpoint.extras}
    damaged: list[Checkpoint] = []
    monkeypatch.setattr(manager_module, "load_checkpoint", lambda path: damaged[-1])
    known = [path for path in paths(content) if len(path) > 1]
    assert len(known) > 60
    refused = 0
    for number, path in enumerate(known):
        for odd in ODD[number % 3 :: 3]:
            values = replaced(content, path, odd)
            damaged.append(Checkpoint(checkpoint.state_dict, values["optimizer"], 2, 0, values["extras"]))
            try:
                manager.restore(model, "a.pth")
            except InputError as error:
                message = str(error)
                assert message.startswith("a.pth: ") and "\n" not in message, (path, odd)
                refused += 1
            else:
                model.optimizer.step()
                manager.state.load_state_dict(manager.state.state_dict(), 2, 2)
    assert refused > len(damaged) / 3
    damaged.append(checkpoint)
    manager.restore(model, "a.pth")
    restored = manager.state.state_dict()
    assert restored == {key: checkpoint.extras[key] for key in restored}
