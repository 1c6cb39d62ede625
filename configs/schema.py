"""Types and ranges of all config keys: a frozen dataclass for each entry point.

The YAML files hold the defaults and explain the keys. Types and ranges are in the annotations here, combinations of
keys in `__post_init__`; configs.type_checks checks a composed config against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from configs.type_checks import Range, format_value
from wav2lip.errors import InputError

Natural = Annotated[int, Range(minimum=0)]
Count = Annotated[int, Range(minimum=1)]
NonNegative = Annotated[float, Range(minimum=0)]
Positive = Annotated[float, Range(above=0)]
Fraction = Annotated[float, Range(above=0, below=1)]
LossWeight = float | list[tuple[int, float]]  # constant, or points [step, weight]
Encoding = Literal["raw", "jpeg"]


@dataclass(frozen=True)
class NetworkConfig:
    """A network of models/."""

    _target_: str
    resolution: Count
    width: Positive


@dataclass(frozen=True)
class DiscriminatorConfig(NetworkConfig):
    """Group disc."""

    spectral_norm: bool
    init: Literal["he", "pytorch"]


@dataclass(frozen=True)
class OptimizationRecipe:
    """Optimization of a network."""

    learning_rate: NonNegative
    lr_schedule: Literal["auto", "constant", "cosine"]
    warmup_steps: Natural
    ema_decay: Fraction | None
    grad_clip_norm: Positive | None


@dataclass(frozen=True)
class ExpertRecipe(OptimizationRecipe):
    """Optimization and objective of the expert."""

    windows_per_clip: Count
    infonce_wt: NonNegative


@dataclass(frozen=True)
class GeneratorRecipe(OptimizationRecipe):
    """Optimization and objective of the generator."""

    mouth_weight: Positive
    teacher_wt: LossWeight
    disc_init: Literal["he", "pytorch"]
    r1_wt: NonNegative


@dataclass(frozen=True)
class RecipeConfig:
    """Group recipe."""

    reset_optimizer: bool
    expert: ExpertRecipe
    generator: GeneratorRecipe


@dataclass(frozen=True)
class CompatConfig:
    """Group compat: upstream's quirks, each on or off."""

    expert_training_mode: bool
    random_validation: bool
    min_negative_offset: Count
    sample_clips_uniformly: bool
    save_first: bool
    resume_lr_from_checkpoint: bool
    resume_sync_weight: bool


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """Early stopping by monitor_metric."""

    patience: Count | None
    threshold: float | None


@dataclass(frozen=True)
class HealthConfig:
    """Detection of divergence."""

    action: Literal["warn", "stop", "rollback"]
    patience: Count
    sync_rise_factor: Annotated[float, Range(above=1)]
    max_rollbacks: Natural
    lr_backoff: Fraction


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Keys of all three trainers."""

    model: NetworkConfig
    compat: CompatConfig
    recipe: RecipeConfig
    data_root: Path
    data_source: Literal["auto", "clips", "packed", "device"]
    device_cache_fraction: Annotated[float, Range(above=0, maximum=1)]
    filelists: Path | None
    replay_root: Path | None
    replay_fraction: Fraction
    box_jitter: Annotated[float, Range(minimum=0, below=0.5)]
    flip: Annotated[float, Range(minimum=0, maximum=1)]
    color_jitter: Annotated[float, Range(minimum=0, below=1)]
    augmentation_start: Annotated[float, Range(minimum=0, below=1)]
    mel_shift: Annotated[int, Range(minimum=0, maximum=20)]
    num_workers: Natural | Literal["auto"]
    prefetch_batches: Count
    seed: Natural
    checkpoint_dir: Path
    checkpoint_path: Path | None
    resume: bool
    keep_last_n: Count | None
    reset_optimizer: bool
    freeze: list[str]
    nepochs: int
    max_steps: int | None
    grad_accum_steps: Count
    log_interval: Count
    diagnose_after: Natural
    overfit_batches: Natural
    overfit_max_steps: Count
    early_stopping: EarlyStoppingConfig
    health: HealthConfig
    device: str
    devices: int | Literal["auto"] | list[int]
    num_nodes: int
    sync_batchnorm: bool
    compile: bool | Literal["auto"]
    precision: str | int
    batch_size: Count
    learning_rate: NonNegative
    lr_schedule: Literal["auto", "constant", "cosine"]
    warmup_steps: Natural
    grad_clip_norm: Positive | None
    ema_decay: Fraction | None
    betas: list[float]
    eval_interval: Count
    eval_windows: int | Literal["all"]
    monitor_metric: str
    validate_first: bool
    checkpoint_interval: Count

    def __post_init__(self) -> None:
        if self.compat.expert_training_mode and self.batch_size == 1:
            raise InputError(
                "batch_size=1: must be at least 2, as an expert in training mode normalizes over a batch; or set "
                "compat.expert_training_mode=false"
            )
        if self.reset_optimizer and not self.checkpoint_path:
            raise InputError("reset_optimizer=true: needs weights to start from; add checkpoint_path=FILE")
        if self.lr_schedule == "cosine" and self.max_steps is None:
            raise InputError("lr_schedule=cosine: needs the step at which the rate reaches 0; add max_steps=...")
        if self.augmentation_start and not self.max_steps:
            raise InputError(
                f"augmentation_start={self.augmentation_start}: is a share of max_steps; set that too, or "
                "augmentation_start=0"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                f"betas={format_value(self.betas)}: must be two numbers from 0 to below 1, for example [0.9,0.999]"
            )


@dataclass(frozen=True, kw_only=True)
class SyncNetConfig(TrainingConfig):
    """Keys of train.syncnet."""

    windows_per_clip: Count
    infonce_wt: NonNegative
    infonce_temperature: Positive

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise InputError("batch_size=1: must be at least 2, for the expert's batch-norm")
        if self.infonce_wt and self.windows_per_clip == 1:
            raise InputError(f"infonce_wt={self.infonce_wt}: needs several windows of a clip; add windows_per_clip=8")


@dataclass(frozen=True, kw_only=True)
class Wav2LipConfig(TrainingConfig):
    """Keys of train.wav2lip."""

    syncnet_checkpoint_path: Path
    second_syncnet_checkpoint_path: Path | None
    syncnet_wt: LossWeight
    syncnet_wt_on: LossWeight
    sync_threshold: float
    sync_start: Annotated[float, Range(minimum=0, below=1)]
    sync_ramp_steps: Natural
    mouth_weight: Positive
    frames_without_sync: Annotated[int, Range(minimum=1, maximum=5)]
    sync_windows: Count | None
    teacher_checkpoint_path: Path | None
    teacher_wt: LossWeight
    teacher_attention: NonNegative
    vgg_wt: LossWeight
    vgg_weights: Path | None
    vgg_layers: list[str]
    lpips_backbone: Path | None
    lpips_weights: Path | None
    fid_weights: Path | None
    fid_network: Path | None
    preview_seconds: NonNegative

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sync_start and not self.max_steps:
            raise InputError(f"sync_start={self.sync_start}: is a share of max_steps; set that too, or sync_start=0")
        if self.teacher_attention and self.teacher_checkpoint_path is None:
            raise InputError(
                f"teacher_attention={self.teacher_attention}: needs a teacher; add recipe=distill "
                "teacher_checkpoint_path=wav2lip.pth"
            )


@dataclass(frozen=True, kw_only=True)
class Wav2LipGANConfig(Wav2LipConfig):
    """Keys of train.wav2lip_gan."""

    disc_checkpoint_path: Path | None
    disc_learning_rate: NonNegative | None
    disc_wt: LossWeight
    disc_warmup_steps: Natural
    disc_loss: Literal["bce", "hinge"]
    disc_spectral_norm: bool
    disc_init: Literal["he", "pytorch"]
    r1_wt: NonNegative
    r1_interval: Count
    feature_matching_wt: LossWeight
    disc: DiscriminatorConfig  # after disc_spectral_norm and disc_init, which an error then names


@dataclass(frozen=True)
class ShotsConfig:
    """Shot boundaries."""

    threshold: float | None


@dataclass(frozen=True)
class SyncStageConfig:
    """Stage sync of preprocess."""

    enabled: bool
    expert: Path | None
    min_confidence: float
    bootstrap_minutes: float


@dataclass(frozen=True)
class QualityConfig:
    """Limits for each clip."""

    min_face_pixels: float | None
    min_sharpness: float | None
    min_exposure: float | None
    max_white_share: float | None
    max_head_turn: float | None
    max_filled_share: float | None
    max_silent_share: float | None
    max_clipped_share: float | None
    max_static_share: float | None


@dataclass(frozen=True)
class PackStageConfig:
    """Stage pack of preprocess."""

    sizes: list[int]
    encoding: Encoding


@dataclass(frozen=True)
class PreprocessConfig:
    """Keys of preprocess."""

    videos: Path
    out: Path
    stages: str | list[str]
    shard: str | None
    executor: Literal["local", "ray"]
    workers: int
    ray_address: str
    worker_cpus: Positive
    worker_gpus: NonNegative
    overwrite: bool
    retry: bool
    chunk_minutes: float
    shots: ShotsConfig
    detector: str
    s3fd_weights: Path | None
    landmark_weights: Path | None
    device: str
    batch_size: int
    max_gap_frames: int
    smooth_window_frames: int | Literal["auto"]
    pads: list[int]
    audio_track: int | None
    compat: Literal["none", "public"]
    face_policy: str
    min_clip_seconds: float
    max_clip_seconds: float | None
    sync: SyncStageConfig
    quality: QualityConfig
    filelists: Path | None
    val: float
    test: float
    seed: int
    split_by: str
    gap_seconds: float
    pack: PackStageConfig


@dataclass(frozen=True)
class MergeConfig:
    """Keys of preprocess.merge."""

    out: Path
    shards: list[Path]
    filelists: Path | None
    device: str | None
    executor: Literal["local", "ray"]
    workers: int
    ray_address: str
    worker_cpus: Positive
    worker_gpus: NonNegative


@dataclass(frozen=True)
class SyncConfig:
    """Keys of preprocess.sync."""

    data_root: Path
    expert: Path | None
    bootstrap: bool
    correct: bool
    min_confidence: float
    max_offset_frames: int
    workers: int
    device: str
    folds: int
    bootstrap_minutes: float
    num_negatives: int


@dataclass(frozen=True)
class PackConfig:
    """Keys of preprocess.pack."""

    data_root: Path
    filelists: Path | None
    sizes: list[int]
    encoding: Encoding
    workers: int
    overwrite: bool
    verify: bool
    shard_mib: int


SCHEMAS: dict[str, type] = {
    "syncnet": SyncNetConfig,
    "wav2lip": Wav2LipConfig,
    "wav2lip_gan": Wav2LipGANConfig,
    "preprocess": PreprocessConfig,
    "merge": MergeConfig,
    "sync": SyncConfig,
    "pack": PackConfig,
}
