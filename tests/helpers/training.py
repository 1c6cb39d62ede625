"""Training batches, loss weights and data sets for tests."""

from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric

from tests.helpers.goldens import masked, tensor
from train.data.index import FrameRuns, WindowIndex
from train.data.samples import (
    GeneratorInputs,
    GeneratorSamples,
    SyncNetInputs,
    SyncNetSamples,
    WindowDataset,
    open_dataset,
)
from train.losses.weights import LossWeights, PiecewiseLinear

NOISE_CLIPS = [f"speaker/{n}" for n in range(6)]  # of the fixture noise_root


def index_for_syncnet(runs: FrameRuns, min_negative_offset: int = 5) -> WindowIndex:
    """Index for the expert."""
    return WindowIndex.for_syncnet(runs, min_negative_offset)


SAMPLES = {
    "syncnet": (SyncNetSamples(5), index_for_syncnet),
    "generator": (GeneratorSamples(), WindowIndex.for_generator),
}


def open_noise(root: Path, kind: str, data_source: str, **options) -> WindowDataset:
    """Open the fixture noise_root for a kind of SAMPLES."""
    samples, build_index = SAMPLES[kind]
    return open_dataset(root, root / "train.txt", build_index, samples, data_source=data_source, **options)


def cpu_fabric(precision: str = "32-true") -> Fabric:
    """Fabric on one CPU."""
    return Fabric(accelerator="cpu", devices=1, precision=precision)


def loss_weights(
    syncnet: float, syncnet_on: float | None = None, sync_threshold: float = 0.75, disc: float = 0.0, **options
) -> LossWeights:
    """Constant weights."""
    constant = partial(PiecewiseLinear.from_config, "a weight")
    on = constant(syncnet if syncnet_on is None else syncnet_on)
    return LossWeights(
        syncnet=constant(syncnet), syncnet_on=on, sync_threshold=sync_threshold, disc=constant(disc), **options
    )


def sync_batch(dtype: torch.dtype) -> SyncNetInputs:
    """Golden batch of the expert; the second and the fourth sample are mismatched."""
    labels = torch.tensor([[1.0], [0], [1], [0]], dtype=dtype)
    mel, faces = tensor(100002, (4, 1, 80, 16), -4, 4), tensor(100001, (4, 15, 48, 96))
    audio_position, face_position = torch.tensor([0, 100, 200, 300]), torch.tensor([0, 150, 200, 350])
    return SyncNetInputs(mel.to(dtype), faces.to(dtype), labels, audio_position, face_position)


def generator_batch(dtype: torch.dtype) -> GeneratorInputs:
    """Golden batch of the generator."""
    tensors = (
        masked(tensor(100010, (4, 6, 5, 96, 96))),
        tensor(100011, (4, 5, 1, 80, 16), -4, 4),
        tensor(100008, (4, 1, 80, 16), -4, 4),
        tensor(100009, (4, 3, 5, 96, 96)),
    )
    return GeneratorInputs(*(t.to(dtype) for t in tensors))
