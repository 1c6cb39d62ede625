"""Framing of a data set, as preprocessing recorded it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wav2lip.dataset.clip import INFO, read_info
from wav2lip.errors import InputError
from wav2lip.faces.framing import KEY, FaceFraming

DATASET = "dataset.json"


def dataset_framing(data_root: Path, clips: Sequence[str | Path]) -> FaceFraming:
    """Read the framing from dataset.json, else from clip.json of the first clip.

    clips: paths of clip folders.
    Returns: boxes without pads if neither states one, as upstream and earlier versions write crops.
    Raises: InputError if a file is corrupt.
    """
    description = data_root / DATASET
    if description.is_file():
        source, content = description, _read_settings(description)
    else:
        source, content = Path(clips[0]) / INFO, read_info(clips[0]) or {}
    if KEY not in content:
        return FaceFraming()
    try:
        return FaceFraming.from_json(content[KEY])
    except ValueError as error:
        raise InputError(f"{source}: {error}; preprocess the videos again") from error


def _read_settings(description: Path) -> dict[str, Any]:
    try:
        settings = json.loads(description.read_text(encoding="utf-8")).get("settings", {})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{description}: is truncated or corrupt; preprocess the videos again") from error
    return settings if isinstance(settings, dict) else {}
