"""Shift a clip's audio on disk, atomically and only once.

clip.json records the correction: `sync_applied` frames in total, relative to the clip whose hash is `sync_origin`. Both
are valid only while audio.wav has the checksum `sync_result`; a clip that is cropped again starts from zero.
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

from preprocess.audio_track import write_mel
from preprocess.curation.filelists import replace_text
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.windows import SAMPLES_PER_FRAME
from wav2lip.dataset.clip import AUDIO, INFO, Clip, ClipWriter, format_info, read_info
from wav2lip.execution.manifest import STATE_FOLDER, hash_values
from wav2lip.files import publish
from wav2lip.media import read_audio

BACKUP_FOLDER = f"{STATE_FOLDER}/sync/backup"  # holds a clip while its successor takes its place
SYNC_KEYS = ("sync_offset", "sync_confidence", "sync_applied", "sync_origin", "sync_result")  # keys of clip.json


@dataclass(frozen=True)
class ClipState:
    """Identity of a clip and the correction applied to it."""

    origin: str  # hash of the clip before any correction
    applied: int = 0  # frames by which its audio was shifted to earlier times


def read_state(root: Path, clip_id: str) -> ClipState:
    """Read the state of a clip; InputError if the folder is not a clip."""
    clip = Clip.open(root / clip_id)
    info = read_info(clip.path) or {}
    audio = _checksum(clip.path / AUDIO)
    if info.get("sync_origin") and info.get("sync_result") == audio:
        return ClipState(info["sync_origin"], info["sync_applied"])
    other_info = {key: value for key, value in info.items() if key not in SYNC_KEYS}
    sizes = [clip.frame_path(clip.frames[index]).stat().st_size for index in (0, len(clip.frames) // 2, -1)]
    return ClipState(hash_values(other_info, audio, clip.frames.tolist(), sizes))


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def apply_offset(root: Path, clip_id: str, total: int, info: dict[str, Any]) -> None:
    """Shift the audio of a clip so that it is `total` frames earlier than in the uncorrected clip.

    total: a negative value shifts to later times. Frames left without audio are removed; the others keep their numbers.
    info: further keys of clip.json, JSON values.
    After a kill at any moment the clip is unchanged or, after `recover`, complete; a repeated call does nothing.
    Raises: OSError if the clip cannot be written.
    """
    state = read_state(root, clip_id)
    clip = Clip.open(root / clip_id)
    old_info = read_info(clip.path)
    shift = total - state.applied
    if shift == 0:
        if old_info is not None and any(old_info.get(key) != value for key, value in info.items()):
            replace_text(clip.path / INFO, format_info({**old_info, **info}))
        return
    writer = ClipWriter(root, clip_id)
    writer.folder = writer.folder.with_name(f"{writer.folder.name}.sync")
    shutil.rmtree(writer.folder, ignore_errors=True)
    writer.folder.mkdir(parents=True)
    audio = read_audio(clip.path / AUDIO, SAMPLE_RATE)
    samples = writer.write_audio(shift_audio(audio, shift, _max_samples(clip, shift)))
    kept_frames = [
        frame
        for frame in clip.frames.tolist()
        if frame >= -shift and (shift < 0 or (frame + 1) * SAMPLES_PER_FRAME <= samples)
    ]
    for frame in kept_frames:
        crop = clip.frame_path(frame)
        _link(crop, writer.folder / crop.name)
    state_info = {
        "sync_applied": total,
        "sync_origin": state.origin,
        "sync_result": _checksum(writer.folder / AUDIO),
    }
    counts = {} if old_info is None else {"frames_with_face": len(kept_frames)}
    writer.write_info({**(old_info or {}), **counts, **info, **state_info})
    write_mel(writer.folder)
    _exchange(root, writer.folder, clip_id)


def _max_samples(clip: Clip, shift: int) -> int | None:
    """Return the length of the audio, which a shift to later times must not exceed."""
    return None if shift >= 0 else sum(len(block) for block in read_audio(clip.path / AUDIO, SAMPLE_RATE))


def shift_audio(blocks: Iterable[np.ndarray], shift: int, max_samples: int | None = None) -> Iterator[np.ndarray]:
    """Drop the first `shift` frames of audio, or prepend as many frames of silence if negative."""
    skip, remaining = max(0, shift) * SAMPLES_PER_FRAME, max_samples
    silence = [np.zeros(-shift * SAMPLES_PER_FRAME, np.float32)] if shift < 0 else []
    for block in (*silence, *blocks):
        block, skip = block[skip:], max(0, skip - len(block))
        block = block if remaining is None else block[:remaining]
        remaining = None if remaining is None else remaining - len(block)
        if len(block):
            yield block


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # The file system does not support hard links.
        shutil.copy2(source, target)


def _exchange(root: Path, new: Path, clip_id: str) -> None:
    backup = root / BACKUP_FOLDER / clip_id
    shutil.rmtree(backup, ignore_errors=True)
    backup.parent.mkdir(parents=True, exist_ok=True)
    os.replace(root / clip_id, backup)
    publish(new, root / clip_id)  # After a kill before this line, `recover` restores the backup.
    shutil.rmtree(backup)


def recover(root: Path) -> None:
    """Restore the clips that a killed run had moved aside. Must be called before the clips are listed."""
    backups = root / BACKUP_FOLDER
    for folder in sorted(path.parent for path in backups.glob(f"**/{AUDIO}")):
        target = root / folder.relative_to(backups)
        if not target.exists():
            os.replace(folder, target)
    shutil.rmtree(backups, ignore_errors=True)
