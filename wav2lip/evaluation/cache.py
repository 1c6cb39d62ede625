"""Results of each video on disk, so that an interrupted run resumes.

OUT/clips/SYSTEM/CLIP.json   scores, offset curves, metrics not computed; .jpg: faces; .npy: features for FID
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wav2lip.evaluation.samples import SampleScores
from wav2lip.files import write_atomically

SIGNIFICANT_DIGITS = 9  # threads may add floats in another order
INFINITIES = {"inf": float("inf"), "-inf": float("-inf")}  # strings in JSON, which has no infinite numbers


@dataclass(frozen=True)
class CachedResult:
    """Content of one JSON file."""

    system: str
    clip: str
    fingerprint: str  # hash of everything that the scores depend on
    values: dict[str, float]
    not_computed: dict[str, str]
    curves: dict[str, list[float]]  # distance at each shift, by expert
    frames: int = 0
    frames_with_face: int = 0
    error: str | None = None  # reason why nothing could be measured


class ResultCache:
    """Files of a run."""

    def __init__(self, out: Path):
        self.folder = out / "clips"

    def path(self, system: str, clip: str, suffix: str) -> Path:
        """Return the path of a clip's file; names of clips may contain folders."""
        return self.folder / system / f"{clip}{suffix}"

    def read(self, system: str, clip: str, fingerprint: str) -> CachedResult | None:
        """Return the result of these inputs and settings; None if missing, corrupt or an error, which may be fixed."""
        try:
            content = json.loads(self.path(system, clip, ".json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        if not isinstance(content, dict) or content.get("fingerprint") != fingerprint or content["error"]:
            return None
        values = {name: INFINITIES.get(value, value) for name, value in content.pop("values").items()}
        return CachedResult(values=values, **content)

    def write(self, system: str, clip: str, fingerprint: str, scores: SampleScores | str) -> CachedResult:
        """Write scores, or the error message; the JSON file last and atomically."""
        if isinstance(scores, str):
            result = CachedResult(system, clip, fingerprint, {}, {}, {}, error=scores)
        else:
            result = CachedResult(
                system,
                clip,
                fingerprint,
                {name: _round(value) for name, value in scores.scores.values.items()},
                dict(scores.scores.missing),
                {name: [_round(d) for d in curve.distance.tolist()] for name, curve in scores.curves.items()},
                scores.frames,
                scores.frames_with_face,
            )
            self._write_arrays(result, scores)
        write_json(self.path(system, clip, ".json"), vars(result) | {"values": encode_values(result.values)})
        return result

    def _write_arrays(self, result: CachedResult, scores: SampleScores) -> None:
        if scores.thumbnails is not None:
            bgr = cv2.cvtColor(scores.thumbnails, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
            write_atomically(self.path(result.system, result.clip, ".jpg"), lambda path: data.tofile(path))
        if scores.features is not None:
            write_array(self.path(result.system, result.clip, ".npy"), scores.features)


def encode_values(values: dict[str, float]) -> dict[str, float | str]:
    """Replace infinite values by strings."""
    return {name: value if np.isfinite(value) else str(value) for name, value in values.items()}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write strict JSON atomically."""
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_atomically(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an .npy file atomically."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # np.save adds a suffix to a path without it
            np.save(file, array)

    write_atomically(path, write)


def _round(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
