"""Measurements of benchmarks.gpu, by group; each returns the values of a row."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_arithmetic import GPUS
from face_detection.adaptive_batch import AdaptiveBatcher
from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from train.data.samples import GeneratorInputs, SyncNetInputs
from train.devices import build_adam, compile_network, configure_device
from train.losses.weights import LossWeights, PiecewiseLinear
from train.steps.adversary import Adversary
from train.steps.generator import GeneratorStep
from train.steps.syncnet import SyncNetStep
from train.trainable import TrainableModel
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.demo.commands import path_override
from wav2lip.faces.tensors import generator_input_bytes
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.lipsync.backends.pytorch import TorchGenerator
from wav2lip.synthetic import write_videos

Row = dict[str, Any]
KINDS = ("expert", "generator", "gan")
FRAMES = 5  # per sample
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Size:
    """Amount of work."""

    width: float = 1.0  # share of the published channels
    resolutions: tuple[int, ...] = (96, 288)
    batch: tuple[int, int, int] = (64, 16, 16)  # of expert, generator and GAN at 96 pixels; a quarter at 288
    steps: int = 12  # timed, after the first three
    faces: int = 128  # per batch of the generator alone
    trainer_steps: int = 60
    videos: int = 4
    video_seconds: float = 4.0
    compiled: tuple[str, ...] = KINDS  # networks that are compiled

    @classmethod
    def thin(cls) -> Size:
        """Return the size that tests the program in a minute on a CPU."""
        return cls(0.0625, (96,), (4, 2, 2), 2, 4, 2, 2, 1.6, compiled=("expert",))


@dataclass(frozen=True)
class Setting:
    """Device, folder and size of a run."""

    device: torch.device
    folder: Path
    size: Size

    @cached_property
    def data(self) -> Path:
        """Data set of synthetic speakers, rendered and preprocessed when first needed."""
        root = self.folder / "data"
        if not (root / "filelists").is_dir():
            write_videos(self.folder / "videos", self.size.videos, self.size.video_seconds, seed=0)
            run_module("preprocess", path_override("videos", self.folder / "videos"), path_override("out", root),
                       "detector=haar", "test=0", "min_clip_seconds=1", "sync.enabled=false")  # fmt: skip
        return root

    @property
    def accelerator(self) -> str:
        """Value of the trainers' key `device`."""
        return self.device.type


Measurements = Iterator[tuple[str, Callable[[], Row]]]


def list_measurements(group: str, setting: Setting) -> Measurements:
    """Return the names and functions of a group, the most important first."""
    return {
        "agreement": agreement, "training": training, "resume": resume, "inference": inference, "compiled": compiled,
        "memory": memory, "restoration": restoration, "torchrun": torchrun,
    }[group](setting)  # fmt: skip


def agreement(setting: Setting) -> Measurements:
    """Compare the losses of the first step on the CPU and on the device, equal weights and batch."""
    for kind in KINDS:
        yield f"{kind}: loss of CPU and device", partial(compare_losses, setting, kind)


def compare_losses(setting: Setting, kind: str) -> Row:
    """Return both losses of a step in float32, and their relative difference."""
    losses = []
    for device in (CPU, setting.device):
        run = build_step(kind, device, setting.size.width, 96, 4, "32-true")
        losses.append(float(run.step.backward(run.batch)["loss"]))  # type: ignore[arg-type]
    return {"cpu": losses[0], "device": losses[1], "difference": abs(losses[1] / losses[0] - 1)}


def training(setting: Setting) -> Measurements:
    """Time training steps in every precision and memory layout, then a trainer with its loader."""
    yield "device", partial(describe_device, setting)
    for resolution in setting.size.resolutions:
        for kind in KINDS:
            for precision, channels_last in (("bf16-mixed", True), ("bf16-mixed", False), ("32-true", True)):
                layout = "channels-last" if channels_last else "contiguous"
                yield (f"{kind} {resolution}, {precision}, {layout}",
                       partial(time_steps, setting, kind, resolution, precision, channels_last, False))  # fmt: skip
    yield "train.wav2lip with its loader", partial(time_trainer, setting)


def compiled(setting: Setting) -> Measurements:
    """Time compiled training steps; the compilation takes most of the time."""
    for resolution in setting.size.resolutions:
        for kind in setting.size.compiled:
            yield (f"{kind} {resolution}, bf16-mixed, channels-last, compiled",
                   partial(time_steps, setting, kind, resolution, "bf16-mixed", True, True))  # fmt: skip


def describe_device(setting: Setting) -> Row:
    """Return the name and the software of the device."""
    name = torch.cuda.get_device_name(setting.device) if setting.device.type == "cuda" else setting.device.type
    return {"name": name, "torch": torch.__version__, "cuda": str(torch.version.cuda)}


@dataclass
class TrainingRun:
    """A trainer's step with its networks and one batch of noise."""

    fabric: Fabric
    step: SyncNetStep | GeneratorStep
    batch: SyncNetInputs | GeneratorInputs
    models: list[TrainableModel]

    def __call__(self) -> None:
        """Run one optimizer step."""
        self.step.backward(self.batch)  # type: ignore[arg-type]
        for model in self.models:
            model.optimizer_step(self.fabric)


def build_step(
    kind: str, device: torch.device, width: float, resolution: int, batch: int, precision: str,
    channels_last: bool = True, is_compiled: bool = False,
) -> TrainingRun:  # fmt: skip
    """Build a step with weights and batch of seed 0."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator=device.type, devices=1, precision=precision)  # type: ignore[arg-type]
    configure_device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def place(network: nn.Module) -> nn.Module:
        return compile_network(network.to(memory_format=layout), is_compiled, device)  # type: ignore[call-overload]

    def trainable(network: nn.Module) -> TrainableModel:
        network = place(network)
        wrapped, optimizer = fabric.setup(network, build_adam(network, 1e-4, (0.9, 0.999), precision))
        return TrainableModel(wrapped, optimizer)

    if kind == "expert":
        models = [trainable(SyncNet(width=width, resolution=resolution))]
        return TrainingRun(
            fabric, SyncNetStep(fabric, models[0].network), expert_batch(batch, resolution, device), models
        )
    models = [trainable(Wav2Lip(width=width, resolution=resolution))]
    if kind == "gan":
        models.append(trainable(VisualQualityDiscriminator(width=width, resolution=resolution)))
    expert = place(SyncNet(width=width, resolution=resolution)).to(device)
    sync, disc = (PiecewiseLinear.from_config(*weight) for weight in (("syncnet_wt", 0.03), ("disc_wt", 0.07)))
    weights = LossWeights(syncnet=sync, syncnet_on=sync, sync_threshold=0.0, disc=disc if kind == "gan" else None)
    adversary = Adversary(fabric, models[1].network) if kind == "gan" else None
    step = GeneratorStep(fabric, models[0].network, expert, weights, adversary=adversary)
    step.set_step(0)
    return TrainingRun(fabric, step, generator_batch(batch, resolution, device), models)


def expert_batch(size: int, resolution: int, device: torch.device) -> SyncNetInputs:
    """Return noise in the shape of the expert's batch."""
    mel, faces = torch.rand(size, 1, 80, 16), torch.rand(size, 3 * FRAMES, resolution // 2, resolution)
    label, positions = (torch.arange(size)[:, None] % 2).float(), torch.arange(size)
    return SyncNetInputs(*(tensor.to(device) for tensor in (mel, faces, label, positions, positions)))


def generator_batch(size: int, resolution: int, device: torch.device) -> GeneratorInputs:
    """Return noise in the shape of the generator's batch."""
    mels, faces = torch.rand(size, FRAMES, 1, 80, 16), torch.rand(size, 6, FRAMES, resolution, resolution)
    target = torch.rand(size, 3, FRAMES, resolution, resolution)
    return GeneratorInputs(*(tensor.to(device) for tensor in (faces, mels, mels[:, 1], target)))


def time_steps(
    setting: Setting, kind: str, resolution: int, precision: str, channels_last: bool, is_compiled: bool
) -> Row:
    """Time steps on noise: samples and TFLOP per second, share of the chip's peak, peak memory."""
    size, device = setting.size, setting.device
    batch = size.batch[KINDS.index(kind)] // (1 if resolution == 96 else 4) or 1
    run = build_step(kind, device, size.width, resolution, batch, precision, channels_last, is_compiled)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(3):  # compiles, and selects algorithms
        run()
    seconds = median_seconds(run, size.steps, device)
    row: Row = {"batch": batch, "samples/s": batch / seconds}
    if not is_compiled:  # the counter sees only eager operations
        with FlopCounterMode(display=False) as counter:
            run()
        row["TFLOP/s"] = counter.get_total_flops() / seconds / 1e12
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        peak = next((rates[0] for chip, rates in GPUS.items() if chip in name), None)
        if peak is not None and precision == "bf16-mixed":
            row["share of peak"] = row["TFLOP/s"] * 1e12 / peak
    if device.type == "cuda":
        row["peak GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
    return row


def median_seconds(run: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Return the median time of a call, until the device has finished it."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def time_trainer(setting: Setting) -> Row:
    """Train the generator through its entry point; return the rates that it logs."""
    folder = setting.folder / "trainer"
    run_trainer(setting, folder, f"device={setting.accelerator}", "compile=false")
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    last = {name: events.Scalars(f"train/{name}")[-1].value for name in ("samples_per_second", "data_wait")}
    return {"samples/s": last["samples_per_second"], "share of data wait": last["data_wait"]}


def run_trainer(setting: Setting, folder: Path, *overrides: str, launcher: tuple[str, ...] = ("-m",)) -> None:
    """Train a generator against an untrained expert."""
    size, expert = setting.size, setting.folder / "expert.pth"
    if not expert.is_file():
        torch.manual_seed(0)
        save_checkpoint(expert, Checkpoint(SyncNet(width=size.width).state_dict()))
    steps = size.trainer_steps
    run_module("train.wav2lip", path_override("data_root", setting.data), path_override("checkpoint_dir", folder),
               path_override("syncnet_checkpoint_path", expert), f"model.width={size.width}", f"max_steps={steps}",
               f"log_interval={max(1, steps // 4)}", f"eval_interval={steps}", f"checkpoint_interval={steps // 2}",
               "eval_windows=16", "preview_seconds=0", "diagnose_after=0", f"batch_size={size.batch[1]}", *overrides,
               launcher=launcher)  # fmt: skip


def resume(setting: Setting) -> Measurements:
    """Resume on the device from a checkpoint that was written on a CPU."""
    yield "resume of a CPU checkpoint", partial(resume_from_cpu, setting)


def resume_from_cpu(setting: Setting) -> Row:
    """Train half of the steps on the CPU and the rest on the device."""
    folder, half = setting.folder / "resumed", max(1, setting.size.trainer_steps // 2)
    thin = ("model.width=0.125", "batch_size=2", "compile=false", f"checkpoint_interval={half}")
    run_trainer(setting, folder, *thin, f"max_steps={half}", "device=cpu")
    run_trainer(setting, folder, *thin, "resume=true", f"device={setting.accelerator}")
    return {"steps on the CPU": half, "steps in all": setting.size.trainer_steps,
            "complete": (folder / "last.pth").is_file()}  # fmt: skip


def inference(setting: Setting) -> Measurements:
    """Time the generator alone in each precision, then a whole video."""
    for precision in ("bf16", "fp16", "fp32"):
        yield f"generator alone, {precision}", partial(time_generator, setting, precision)
    yield "lip-sync of a video, MTCNN", partial(time_video, setting)


def time_generator(setting: Setting, precision: str) -> Row:
    """Time batches of faces of 96 pixels."""
    rng, count = np.random.default_rng(0), setting.size.faces
    torch.manual_seed(0)
    generator = TorchGenerator(Wav2Lip(width=setting.size.width).eval(), setting.device, precision)
    crops = rng.integers(0, 256, (count, 96, 96, 3), np.uint8)
    mels, faces = rng.uniform(-4, 4, (count, 1, 80, 16)).astype(np.float32), generator_input_bytes(crops, crops)
    generator(mels, faces)
    return {"frames/s": count / median_seconds(lambda: generator(mels, faces), setting.size.steps, setting.device)}


def time_video(setting: Setting) -> Row:
    """Lip-sync a synthetic video from file to file, after one run that loads everything."""
    checkpoint = setting.folder / "random.pth"
    torch.manual_seed(0)
    save_checkpoint(checkpoint, Checkpoint(Wav2Lip(width=setting.size.width).state_dict()))
    _ = setting.data
    video = next((setting.folder / "videos").glob("*/*.mp4"))
    lipsync = LipSync.from_checkpoint(checkpoint, str(setting.device), "mtcnn")
    options, outfile = LipSyncOptions(cache=False), setting.folder / "result.mp4"
    lipsync(video, video, outfile, options)
    start = time.perf_counter()
    result = lipsync(video, video, outfile, options)
    return {"frames/s": result.frames / (time.perf_counter() - start), "frames": result.frames}


def memory(setting: Setting) -> Measurements:
    """Halve the batch where the device runs out of memory."""
    yield "halving of a batch that exceeds the memory", partial(halve_batch, setting)


def halve_batch(setting: Setting) -> Row:
    """Generate more faces at once than fit; without a GPU the error is raised by hand."""
    device, count = setting.device, 64
    limit = 0.02 if device.type == "cuda" else None  # share of the memory
    if limit is not None:
        torch.cuda.set_per_process_memory_fraction(limit, device)
    network = Wav2Lip(width=setting.size.width).eval().to(device)
    faces = 65536 if limit is not None else count
    batcher = AdaptiveBatcher(faces, str(device), "faces")

    @torch.inference_mode()
    def generate(batch: slice) -> int:
        size = batch.stop - batch.start
        if limit is None and size > count // 4:
            raise torch.OutOfMemoryError("by hand")
        network(torch.zeros(size, 1, 80, 16, device=device), torch.zeros(size, 6, 96, 96, device=device))
        return size

    done = batcher(faces if limit is None else 4096, generate)
    return {"faces at once, tried": faces, "faces at once, in the end": batcher.size, "faces": sum(done)}


def restoration(setting: Setting) -> Measurements:
    """Time a face restorer of GFPGAN's architecture with random weights."""
    yield "GFPGAN, faces of 512 pixels", partial(time_restorer, setting)


def time_restorer(setting: Setting) -> Row:
    """Time the network alone, in the precision of the device."""
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    small = {"out_size": 64, "channel_multiplier": 1, "narrow": 0.125} if setting.size.width < 1 else {}
    network = GFPGAN(**small).eval().to(setting.device)  # type: ignore[arg-type]
    side = small.get("out_size", 512)
    face = torch.rand(1, 3, int(side), int(side), device=setting.device)

    @torch.inference_mode()
    def restore() -> None:
        network(face)

    restore()
    return {"frames/s": 1 / median_seconds(restore, setting.size.steps, setting.device)}


def torchrun(setting: Setting) -> Measurements:
    """Train with torchrun and one process."""
    yield "torchrun with one process", partial(run_with_torchrun, setting)


def run_with_torchrun(setting: Setting) -> Row:
    """Train a thin generator."""
    folder = setting.folder / "torchrun"
    run_trainer(setting, folder, "model.width=0.125", "batch_size=2", "compile=false", f"device={setting.accelerator}",
                launcher=("-m", "torch.distributed.run", "--nproc_per_node=1", "-m"))  # fmt: skip
    return {"complete": (folder / "last.pth").is_file()}


def run_module(module: str, *arguments: str, launcher: tuple[str, ...] = ("-m",)) -> None:
    """Run a module in a process of its own; its output appears only if it fails."""
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, *launcher, module, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr)
