"""What was found in each video, kept in files of its own, so that a run can be taken up again.

OUT/clips/SYSTEM/CLIP.json   values, curves, what was not computed; .jpg: faces; .npy: features, for FID
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wav2lip.evaluation.measure import Measured

SIGNIFICANT = 9  # digits that are kept: threads may add floats in another order
ENDLESS = {"inf": float("inf"), "-inf": float("-inf")}  # JSON has no such numbers


@dataclass(frozen=True)
class Record:
    """One video's results as they lie on disk."""

    system: str
    clip: str
    fingerprint: str  # of what they depend on
    values: dict[str, float]
    not_computed: dict[str, str]
    curves: dict[str, list[float]]  # distance at each shift, by judge
    frames: int = 0
    with_face: int = 0
    failed: str | None = None  # why nothing could be measured


class Records:
    """The files of a run."""

    def __init__(self, out: Path):
        self.folder = out / "clips"

    def place(self, system: str, clip: str, suffix: str) -> Path:
        """Where something of a clip lies; clips may have folders in their names."""
        return self.folder / system / f"{clip}{suffix}"

    def read(self, system: str, clip: str, fingerprint: str) -> Record | None:
        """The record, if it is there, of these inputs and settings, and no failure, which may have been mended."""
        try:
            content = json.loads(self.place(system, clip, ".json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:  # damaged: it is measured again
            return None
        if not isinstance(content, dict) or content.get("fingerprint") != fingerprint or content["failed"]:
            return None
        values = {name: ENDLESS.get(value, value) for name, value in content.pop("values").items()}
        return Record(values=values, **content)

    def write(self, system: str, clip: str, fingerprint: str, measured: Measured | str) -> Record:
        """Keep what was measured, or the sentence why nothing was; the JSON comes last, and whole."""
        if isinstance(measured, str):
            record = Record(system, clip, fingerprint, {}, {}, {}, failed=measured)
        else:
            record = Record(
                system,
                clip,
                fingerprint,
                {name: _short(value) for name, value in measured.scores.values.items()},
                dict(measured.scores.missing),
                {name: [_short(d) for d in curve.distance.tolist()] for name, curve in measured.curves.items()},
                measured.frames,
                measured.with_face,
            )
            self._write_beside(record, measured)
        whole = vars(record) | {"values": {n: v if np.isfinite(v) else str(v) for n, v in record.values.items()}}
        write_json(self.place(system, clip, ".json"), whole)
        return record

    def _write_beside(self, record: Record, measured: Measured) -> None:
        if measured.strip is not None:
            bgr = cv2.cvtColor(measured.strip, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
            write_whole(self.place(record.system, record.clip, ".jpg"), lambda path: data.tofile(path))
        if measured.features is not None:
            features = measured.features
            write_whole(self.place(record.system, record.clip, ".npy"), lambda path: _save(path, features))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Strict JSON, whole or not at all."""
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_whole(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    write(partial)
    os.replace(partial, path)


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _short(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT}g}")
