"""Newest images and diagnosis in the TensorBoard log of a run."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

MIN_IMAGE_SIZE = 384  # pixels; smaller images are enlarged
DIAGNOSIS_TAG = "diagnosis/text_summary"


@dataclass(frozen=True)
class TrainingLog:
    """Newest validation images and diagnosis of a run."""

    strip: Path | None  # masked input, reference, output and truth of validation windows; None for the expert
    curve: Path | None  # similarity against the audio offset
    diagnosis: list[str]  # one sentence per network; empty before the first diagnosis


def read_training_log(folder: Path, images: Path) -> TrainingLog:
    """Read the log of a checkpoint folder; write its newest images into the folder `images`."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = events.Tags()
    files = {}
    for tag in ("val", "val/curve"):
        if tag in tags["images"]:
            file = images / f"{folder.name}_{tag.replace('/', '_')}.png"
            files[tag] = _write_image(events.Images(tag)[-1].encoded_image_string, file)
    text = ""
    if DIAGNOSIS_TAG in tags["tensors"]:
        text = events.Tensors(DIAGNOSIS_TAG)[-1].tensor_proto.string_val[0].decode()
    sentences = [line for line in text.splitlines() if line.startswith("step ")]  # other lines are causes and commands
    return TrainingLog(files.get("val"), files.get("val/curve"), sentences)


def _write_image(data: bytes, file: Path) -> Path:
    image = Image.open(io.BytesIO(data))
    factor = max(1, MIN_IMAGE_SIZE // min(image.size))
    file.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(file)
    return file
