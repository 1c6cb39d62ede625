"""Pack clips for training: python -m preprocess.pack data_root=DIR

Shards are filled in the order of the clips up to a limit of bytes, and only with clips that no shard holds as they are
now. A run that is killed and started again therefore makes the same shards as one in one piece, and clips that are
added later make shards of their own.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from configs import entry
from preprocess.manifest import Manifest
from wav2lip.audio import MEL_BANDS
from wav2lip.clips import Clip, read_filelist
from wav2lip.errors import InputError
from wav2lip.packed import Pack
from wav2lip.shards import ENCODINGS, HEAD, PARTIAL, Head, ShardWriter, encode, fingerprint, latest, open_shards
from wav2lip.shards import pack_folder as folder_of

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SHARD_BYTES = 4 << 30  # of raw crops and mels from which on a shard is full: 100 minutes at 96 pixels
NEW, OLD = ".new-{}", ".old-{}"  # folders beside the pack while overwrite=true makes another


@dataclass(frozen=True)
class Packed:
    """What became of the clips at one size."""

    folder: Path
    clips: int  # that can be read from it now
    added: int  # of them in this run
    problems: dict[str, str]  # clips that could not be packed, and why
    seconds: float  # of video in the clips
    bytes: int  # on disk, dead entries included


def main() -> None:
    """Read the command line and pack."""
    entry.run(pack_command, "pack")


def pack_command(cfg: DictConfig) -> None:
    """Pack the clips of a data set's file lists as a config says, and print what came of it."""
    # parse
    root = Path(str(cfg.data_root))
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the data_root that preprocess made")
    clips = listed(root, root / "filelists" if cfg.filelists is None else Path(str(cfg.filelists)))

    # run
    with ExitStack() as held:
        _keep_others_out(held, root)
        done = pack(root, clips, cfg.sizes, cfg.encoding, cfg.workers, cfg.overwrite, cfg.shard_mib << 20)
        for packed in done:
            if cfg.verify:
                Pack.open(packed.folder).verify()
    for packed in done:
        per_hour = packed.bytes / max(packed.seconds, 1) * 3600 / 1e9
        print(  # noqa: T201 - the answer to the command
            f"{packed.folder}: {packed.clips} clips, {packed.added} of them new, {packed.seconds / 3600:.2f} h, "
            f"{packed.bytes / 1e6:.1f} MB ({per_hour:.2f} GB an hour)" + ", verified" * cfg.verify
        )


def _keep_others_out(held: ExitStack, root: Path) -> None:
    """Hold the data set until the end: of two runs, each would remove the shard that the other is writing."""
    try:
        held.enter_context(Manifest(root))
    except OSError as error:
        raise InputError(f"{error.filename or root}: {error.strerror}; the pack needs a disk with room") from error


def listed(root: Path, filelists: Path) -> list[str]:
    """The clips of train.txt, val.txt and test.txt, each once; a list that is missing or empty adds none.

    Raises: InputError if there is no clip in any.
    """
    files = [filelists / f"{split}.txt" for split in SPLITS]
    present = [file for file in files if file.exists() and file.read_bytes().strip()]
    clips = dict.fromkeys(clip for file in present for clip in read_filelist(file, root))
    if not clips:
        raise InputError(f"{filelists}: no clip in train.txt, val.txt or test.txt; preprocess first, or give filelists")
    return list(clips)


def pack(
    root: Path,
    clips: Sequence[str],
    sizes: Sequence[int] = (96,),
    encoding: str = "raw",
    workers: int = 2,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> list[Packed]:
    """Bring the packs of a data set up to date; they hold exactly these clips afterwards.

    root: data root. sizes: pixels, a pack each. encoding: raw, or jpeg, which is smaller and slower to read.
    workers: threads that decode. overwrite: make the packs anew, without dead entries; the old one stands until then.
    shard_bytes: raw bytes from which on a shard is full.
    Raises: InputError for settings that cannot be, a damaged shard, and a disk that cannot be written.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"encoding={encoding}: is none of {', '.join(ENCODINGS)}; choose one of these")
    if not sizes or min(sizes) < 1 or workers < 1 or shard_bytes < 1:
        raise InputError(f"sizes={list(sizes)} workers={workers} shard size {shard_bytes}: give numbers from 1 up")
    try:
        with ThreadPoolExecutor(workers) as pool:
            return [_pack(root, clips, _Form(size, encoding, shard_bytes), overwrite, pool) for size in sizes]
    except OSError as error:
        raise InputError(f"{error.filename or root}: {error.strerror}; the pack needs a disk with room") from error


@dataclass(frozen=True)
class _Form:
    size: int
    encoding: str
    shard_bytes: int

    def raw_bytes(self, writer: ShardWriter) -> int:
        """What a shard would take as raw, so that shards end at the same clips in both encodings."""
        return writer.frames * self.size * self.size * 3 + writer.columns * MEL_BANDS * 4


def _pack(root: Path, clips: Sequence[str], form: _Form, overwrite: bool, pool: Executor) -> Packed:
    folder = folder_of(root, form.size)
    new, old = (folder.with_name(name.format(form.size)) for name in (NEW, OLD))
    if not overwrite:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        return _update(folder, root, clips, form, pool)
    packed = _update(new, root, clips, form, pool)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)
    return Packed(folder, packed.clips, packed.clips, packed.problems, packed.seconds, packed.bytes)


def _update(folder: Path, root: Path, clips: Sequence[str], form: _Form, pool: Executor) -> Packed:
    """Add what the shards in a folder lack, and name in pack.json what counts."""
    _begin(folder, form)
    shards = open_shards(folder, form.size, form.encoding)
    known = {clip: shards[s].index.fingerprints[e] for clip, (s, e) in latest(shards).items()}
    marks = dict(zip(clips, pool.map(lambda clip: _fingerprint(root / clip), clips), strict=True))
    todo = [(clip, mark) for clip, mark in marks.items() if mark is not None and mark != known.get(clip)]
    number = int(shards[-1].folder.name) + 1 if shards else 0
    _write_shards(folder, number, root, todo, form, pool)

    shards = open_shards(folder, form.size, form.encoding)
    gone = sorted(clip for clip in latest(shards) if marks.get(clip) is None)
    checksums = {shard.folder.name: shard.checksum for shard in shards}
    head = Head(form.size, form.encoding, checksums, gone)
    if head != Head.read(folder):
        head.write(folder)
    opened = Pack.open(folder)
    problems = {clip: problem for clip in opened.entries if (problem := opened.problem(clip))}
    return Packed(folder, len(opened.entries) - len(problems), len(todo), problems, opened.seconds(), opened.bytes())


def _begin(folder: Path, form: _Form) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / HEAD).exists():
        Head(form.size, form.encoding, {}, []).write(folder)
    there = Head.read(folder).encoding
    if there != form.encoding:
        raise InputError(f"{folder}: is packed as {there}; give encoding={there}, or overwrite=true to make it anew")
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)  # of a run that was killed


def _fingerprint(clip: Path) -> str | None:
    try:
        return fingerprint(clip)
    except InputError as error:
        log.warning("left out: %s", error)
        return None


def _write_shards(
    folder: Path, number: int, root: Path, todo: Sequence[tuple[str, str]], form: _Form, pool: Executor
) -> None:
    left = deque(todo)
    with tqdm(total=len(todo), unit="clip", desc=f"{form.size} pixels", disable=None) as bar:
        while left:
            with ShardWriter(folder / f"{number:06d}", form.encoding) as writer:
                while left and form.raw_bytes(writer) < form.shard_bytes:
                    _add(writer, root, *left.popleft(), form, pool)
                    bar.update()
            number += 1


def _add(writer: ShardWriter, root: Path, name: str, mark: str, form: _Form, pool: Executor) -> None:
    """Append a clip to a shard; a damaged crop becomes a gap, and a clip without sound or crops a note."""
    try:
        clip = Clip.open(root / name)
        mel = np.asarray(clip.mel())[:, : clip.mel_columns()]  # training counts on no more than that
        crops = list(pool.map(lambda frame: _crop(clip, frame, form), clip.frames.tolist()))
        whole = np.array([crop is not None for crop in crops])
        if not whole.any():
            raise InputError(
                f"{clip.path}: none of its {len(crops)} face crops can be read; preprocess its video again"
            )
    except InputError as error:
        log.warning("left out: %s", error)
        writer.refuse(name, mark, str(error).replace(f"{root}{os.sep}", ""))  # a pack may be moved
        return
    writer.add(name, mark, clip.frames[whole], [crop for crop in crops if crop is not None], mel)


def _crop(clip: Clip, frame: int, form: _Form) -> bytes | None:
    try:
        return encode(clip.read(frame, form.size), form.encoding)
    except InputError as error:
        log.warning("left out: %s", error)
        return None


if __name__ == "__main__":
    main()
