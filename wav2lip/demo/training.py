"""Training of the demo: two experts of different seeds and widths, then the generator, each through its trainer."""

from __future__ import annotations

from pathlib import Path

from wav2lip.demo.commands import path_override, run_command, run_together

EXPERT_STEPS, GENERATOR_STEPS = 600, 1500
WIDTH, SECOND_WIDTH = 0.25, 0.1875  # share of the published channels, of each expert
VALIDATIONS = 8  # per trainer; the sync loss is switched on after one of them
SECOND_SEED = 100  # added to the seed of the demo for the second expert

# A thin network and a high, decaying learning rate learn in minutes on two cores. Real runs use the defaults.
THIN_NETWORK_OVERRIDES = (
    f"model.width={WIDTH}", "learning_rate=1e-3", "lr_schedule=cosine", "num_workers=0", "log_interval=10",
)  # fmt: skip
EXPERT_OVERRIDES = ("batch_size=32", "eval_windows=256")
# One frame of 32 windows in three quarters of the steps, then five frames of 8; measured in docs/training.md.
GENERATOR_OVERRIDES = ("batch_size=32", "frames_without_sync=1", "sync_windows=8", "sync_start=0.75", "eval_windows=64")


def train_experts(out: Path, data: Path, steps: int, seed: int) -> tuple[Path, Path]:
    """Train two experts of different seeds and widths at the same time; return their last checkpoints."""
    folders = out / "expert", out / "second_expert"
    settings = zip(folders, (seed, seed + SECOND_SEED), (WIDTH, SECOND_WIDTH), strict=True)
    run_together([
        trainer_command("train.syncnet", data, folder, steps, each_seed, f"model.width={width}",
                        *EXPERT_OVERRIDES)
        for folder, each_seed, width in settings
    ])  # fmt: skip
    return folders[0] / "last.pth", folders[1] / "last.pth"


def train_generator(folder: Path, data: Path, experts: tuple[Path, Path], steps: int, seed: int) -> Path:
    """Train the generator against the first expert, scored by both; return its last checkpoint."""
    overrides = *GENERATOR_OVERRIDES, *expert_overrides(*experts)
    run_command(*trainer_command("train.wav2lip", data, folder, steps, seed, *overrides))
    return folder / "last.pth"


def expert_overrides(expert: Path, second: Path) -> tuple[str, str]:
    """Return the overrides of the training expert and of the one that only scores."""
    return (path_override("syncnet_checkpoint_path", expert),
            path_override("second_syncnet_checkpoint_path", second))  # fmt: skip


def trainer_command(module: str, data: Path, folder: Path, steps: int, seed: int, *overrides: str) -> list[str]:
    """Return the module and the overrides of a trainer with a thin network."""
    return [module, path_override("data_root", data), path_override("checkpoint_dir", folder), f"max_steps={steps}",
            f"eval_interval={max(1, steps // VALIDATIONS)}", f"checkpoint_interval={steps}", f"seed={seed}",
            *THIN_NETWORK_OVERRIDES, *overrides]  # fmt: skip
