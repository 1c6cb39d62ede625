"""Move a clip's sound on disk, whole or not at all, and once.

clip.json carries what was done: `sync_applied` frames in all, from the clip that `sync_origin` stands for. Both count
only while the sound is the one that was left there (`sync_result`): a clip that is made anew begins anew.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.manifest import STATE, digest
from preprocess.sound import write_mel
from preprocess.splits import replace_text
from wav2lip.audio import SAMPLE_RATE
from wav2lip.clips import AUDIO, INFO, Clip, ClipWriter, info_text, read_info
from wav2lip.media import read_audio
from wav2lip.windows import FPS

SAMPLES = SAMPLE_RATE // int(FPS)  # of a frame: 640
ASIDE = f"{STATE}/sync/aside"  # where a clip is while its successor takes its place
OURS = ("sync_offset", "sync_confidence", "sync_applied", "sync_origin", "sync_result")  # keys of clip.json


@dataclass(frozen=True)
class State:
    """What a clip is, and what was done to it."""

    origin: str  # stands for the clip as it was before any correction
    applied: int = 0  # frames by which its sound was moved forward since


def state_of(root: Path, clip_id: str) -> State:
    """Read a clip's state; InputError if it is no clip."""
    clip = Clip.open(root / clip_id)
    info = read_info(clip.path) or {}
    sound = _checksum(clip.path / AUDIO)
    if info.get("sync_origin") and info.get("sync_result") == sound:
        return State(info["sync_origin"], info["sync_applied"])
    rest = {key: value for key, value in info.items() if key not in OURS}
    sizes = [(clip.path / f"{clip.frames[at]}.jpg").stat().st_size for at in (0, len(clip.frames) // 2, -1)]
    return State(digest(rest, sound, clip.frames.tolist(), sizes))


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def resync(root: Path, clip_id: str, total: int, note: dict[str, Any]) -> None:
    """Bring a clip's sound to lie `total` frames before where it lay in the beginning.

    total: negative moves it later. Frames that have no sound then are dropped; the others keep their numbers.
    note: what else goes into clip.json, JSON values by key.
    Killed at any moment, the clip is as it was or, after `recover`, as it is to be; done already, nothing is done.
    Raises: OSError if it cannot be written.
    """
    state = state_of(root, clip_id)
    clip = Clip.open(root / clip_id)
    info = read_info(clip.path)
    by = total - state.applied
    if by == 0:
        if info is not None and any(info.get(key) != value for key, value in note.items()):
            replace_text(clip.path / INFO, info_text({**info, **note}))
        return
    writer = ClipWriter(root, clip_id)
    writer.folder = writer.folder.with_name(f"{writer.folder.name}.sync")
    shutil.rmtree(writer.folder, ignore_errors=True)
    writer.folder.mkdir(parents=True)
    samples = writer.write_audio(moved(read_audio(clip.path / AUDIO, SAMPLE_RATE), by, _end(clip, by)))
    kept = [frame for frame in clip.frames.tolist() if frame >= -by and (by < 0 or (frame + 1) * SAMPLES <= samples)]
    for frame in kept:
        _link(clip.path / f"{frame}.jpg", writer.folder / f"{frame}.jpg")
    done = {"sync_applied": total, "sync_origin": state.origin, "sync_result": _checksum(writer.folder / AUDIO)}
    counts = {} if info is None else {"frames_with_face": len(kept)}
    writer.write_info({**(info or {}), **counts, **note, **done})
    write_mel(writer.folder)
    _flush(writer.folder)
    _exchange(root, writer.folder, clip_id)


def _end(clip: Clip, by: int) -> int | None:
    """Samples that a sound moved later may have: no more than it had."""
    return None if by >= 0 else sum(len(block) for block in read_audio(clip.path / AUDIO, SAMPLE_RATE))


def moved(blocks: Iterable[np.ndarray], by: int, end: int | None = None) -> Iterator[np.ndarray]:
    """Sound that begins `by` frames later in what was recorded, or after as many frames of silence.

    end: samples at most.
    """
    skip, left = max(0, by) * SAMPLES, end
    silence = [np.zeros(-by * SAMPLES, np.float32)] if by < 0 else []
    for block in (*silence, *blocks):
        block, skip = block[skip:], max(0, skip - len(block))
        block = block if left is None else block[:left]
        left = None if left is None else left - len(block)
        if len(block):
            yield block


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _flush(folder: Path) -> None:
    """Have the new files on disk before the old ones go."""
    for name in os.listdir(folder):
        if not name.endswith(".jpg"):
            with (folder / name).open("rb") as file:
                os.fsync(file.fileno())


def _exchange(root: Path, new: Path, clip_id: str) -> None:
    aside = root / ASIDE / clip_id
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    os.replace(root / clip_id, aside)
    os.replace(new, root / clip_id)  # killed before this line, `recover` puts the old one back
    shutil.rmtree(aside)


def recover(root: Path) -> None:
    """Put back what a killed run had moved aside. To be called before anything else looks at the clips."""
    aside = root / ASIDE
    for folder in sorted(path.parent for path in aside.glob(f"**/{AUDIO}")):
        target = root / folder.relative_to(aside)
        if not target.exists():
            os.replace(folder, target)
    shutil.rmtree(aside, ignore_errors=True)
