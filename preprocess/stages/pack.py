"""Stage 9: pack the listed clips into shards for fast reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.pack import pack_clips

STAGE = "pack"


@dataclass(frozen=True)
class PackSettings:
    """Format of the packs."""

    sizes: Sequence[int] = (96,)  # pixels, one pack each
    encoding: str = "raw"


def run_pack(root: Path, clips: Sequence[str], settings: PackSettings | None, workers: int) -> None:
    """Pack clips; without settings or clips there is nothing to do."""
    if settings is not None and clips:
        pack_clips(root, clips, settings.sizes, settings.encoding, max(1, workers))
