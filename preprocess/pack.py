"""Pack clips for training: python -m preprocess.pack data_root=DIR

New and changed clips are written to shards in clip order, up to a limit of bytes. A run that is killed and restarted
therefore writes the same shards as an uninterrupted one, and clips that are added later get shards of their own.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from configs import cli
from preprocess.curation.splits import SPLITS
from wav2lip.audio.mel import MEL_BANDS
from wav2lip.dataset.clip import Clip, repair_hint
from wav2lip.dataset.filelist import read_filelist
from wav2lip.dataset.packed import Pack
from wav2lip.dataset.shards import (
    ENCODINGS,
    MANIFEST,
    PARTIAL_DIR,
    PackManifest,
    ShardWriter,
    encode_crop,
    fingerprint_clip,
    latest_entries,
    open_shards,
    pack_folder,
)
from wav2lip.errors import InputError, file_error
from wav2lip.execution.manifest import Manifest
from wav2lip.files import remove_partial_files

log = logging.getLogger(__name__)

SHARD_BYTES = 4 << 30  # raw crops and mels of a shard: 100 minutes at 96 pixels
NEW_FOLDER, OLD_FOLDER = ".new-{}", ".old-{}"  # folders beside the pack while overwrite=true writes another


@dataclass(frozen=True)
class PackResult:
    """Content of the pack of one size."""

    folder: Path
    clips: int  # readable now
    added: int  # packed by this run
    problems: dict[str, str]  # messages of the clips that could not be packed
    seconds: float  # length of the video
    bytes: int  # size on disk, including unused entries


def main() -> None:
    """Run the command line."""
    cli.run(pack, "pack")


def pack(cfg: DictConfig) -> None:
    """Pack the clips in the file lists of a data set and print the result."""
    # parse
    root = Path(str(cfg.data_root))
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set data_root to the folder that preprocess wrote")
    clips = read_filelists(root, root / "filelists" if cfg.filelists is None else Path(str(cfg.filelists)))

    # run
    with ExitStack() as stack:
        _lock(stack, root)
        results = pack_clips(root, clips, cfg.sizes, cfg.encoding, cfg.workers, cfg.overwrite, cfg.shard_mib << 20)
        for result in results:
            if cfg.verify:
                Pack.open(result.folder).verify()
    for result in results:
        gb_per_hour = result.bytes / max(result.seconds, 1) * 3600 / 1e9
        print(  # noqa: T201 - the output of the command
            f"{result.folder}: {result.clips} clips, {result.added} of them new, {result.seconds / 3600:.2f} h, "
            f"{result.bytes / 1e6:.1f} MB ({gb_per_hour:.2f} GB per hour)" + ", verified" * cfg.verify
        )


def _lock(stack: ExitStack, root: Path) -> None:
    """Lock the data set until the end: of two runs, each would remove the partial shard of the other."""
    try:
        stack.enter_context(Manifest(root))
    except OSError as error:
        raise file_error(error, root) from error


def read_filelists(root: Path, filelists: Path) -> list[str]:
    """Return the clips of train.txt, val.txt and test.txt, each once; a missing or empty list adds none.

    Raises: InputError if no list contains a clip.
    """
    files = [filelists / f"{split}.txt" for split in SPLITS]
    nonempty = [file for file in files if file.exists() and file.read_bytes().strip()]
    clips = dict.fromkeys(clip for file in nonempty for clip in read_filelist(file, root))
    if not clips:
        raise InputError(f"{filelists}: no clip in train.txt, val.txt or test.txt; run preprocess, or set filelists=")
    return list(clips)


def pack_clips(
    root: Path,
    clips: Sequence[str],
    sizes: Sequence[int] = (96,),
    encoding: str = "raw",
    workers: int = 2,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> list[PackResult]:
    """Update the packs of a data set, so that they contain exactly these clips.

    root: data root. sizes: pixels, one pack each. encoding: raw, or jpeg, which is smaller and slower to read.
    workers: decoding threads. overwrite: write the packs again, without unused entries; the old one is kept until then.
    shard_bytes: raw bytes at which a shard is full.
    Raises: InputError for invalid settings, a corrupt shard, or a disk that cannot be written.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"encoding={encoding}: must be one of {', '.join(ENCODINGS)}")
    if not sizes or min(sizes) < 1 or workers < 1 or shard_bytes < 1:
        raise InputError(f"sizes={list(sizes)}, workers={workers}, shard bytes {shard_bytes}: must be 1 or more")
    try:
        with ThreadPoolExecutor(workers) as pool:
            return [_pack_size(root, clips, _Format(size, encoding, shard_bytes), overwrite, pool) for size in sizes]
    except OSError as error:
        raise file_error(error, root) from error


@dataclass(frozen=True)
class _Format:
    size: int
    encoding: str
    shard_bytes: int

    def raw_bytes(self, writer: ShardWriter) -> int:
        """Return the size of a shard as raw, so that shards end at the same clips in both encodings."""
        return writer.frames * self.size * self.size * 3 + writer.columns * MEL_BANDS * 4


def _pack_size(root: Path, clips: Sequence[str], fmt: _Format, overwrite: bool, pool: Executor) -> PackResult:
    folder = pack_folder(root, fmt.size)
    new, old = (folder.with_name(name.format(fmt.size)) for name in (NEW_FOLDER, OLD_FOLDER))
    if not overwrite:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        return _update(folder, root, clips, fmt, pool)
    result = _update(new, root, clips, fmt, pool)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)
    return replace(result, folder=folder, added=result.clips)


def _update(folder: Path, root: Path, clips: Sequence[str], fmt: _Format, pool: Executor) -> PackResult:
    """Add new and changed clips as shards, and write the current shards to pack.json."""
    _prepare(folder, fmt)
    shards = open_shards(folder, fmt.size, fmt.encoding)
    packed = {clip: shards[s].index.fingerprints[e] for clip, (s, e) in latest_entries(shards).items()}
    current = dict(zip(clips, pool.map(lambda clip: _fingerprint(root / clip), clips), strict=True))
    outdated = [(clip, value) for clip, value in current.items() if value is not None and value != packed.get(clip)]
    number = int(shards[-1].folder.name) + 1 if shards else 0
    _write_shards(folder, number, root, outdated, fmt, pool)

    shards = open_shards(folder, fmt.size, fmt.encoding)
    removed = sorted(clip for clip in latest_entries(shards) if current.get(clip) is None)
    checksums = {shard.folder.name: shard.checksum for shard in shards}
    manifest = PackManifest(fmt.size, fmt.encoding, checksums, removed)
    if manifest != PackManifest.read(folder):
        manifest.write(folder)
    current_pack = Pack.open(folder)
    problems = {clip: problem for clip in current_pack.entries if (problem := current_pack.problem(clip))}
    return PackResult(
        folder,
        len(current_pack.entries) - len(problems),
        len(outdated),
        problems,
        current_pack.seconds(),
        current_pack.bytes_on_disk(),
    )


def _prepare(folder: Path, fmt: _Format) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MANIFEST).exists():
        PackManifest(fmt.size, fmt.encoding, {}, []).write(folder)
    encoding = PackManifest.read(folder).encoding
    if encoding != fmt.encoding:
        raise InputError(f"{folder}: is packed as {encoding}; set encoding={encoding}, or overwrite=true to repack")
    shutil.rmtree(folder / PARTIAL_DIR, ignore_errors=True)  # Left by a killed run.
    remove_partial_files(folder)


def _fingerprint(clip: Path) -> str | None:
    try:
        return fingerprint_clip(clip)
    except InputError as error:
        log.warning("skipped: %s", error)
        return None


def _write_shards(
    folder: Path, number: int, root: Path, clips: Sequence[tuple[str, str]], fmt: _Format, pool: Executor
) -> None:
    """Write clips, each with its fingerprint, to new shards; number: of the first shard."""
    remaining = deque(clips)
    with tqdm(total=len(clips), unit="clip", desc=f"{fmt.size} pixels", disable=None) as bar:
        while remaining:
            with ShardWriter(folder / f"{number:06d}", fmt.encoding) as writer:
                while remaining and fmt.raw_bytes(writer) < fmt.shard_bytes:
                    _add_clip(writer, root, *remaining.popleft(), fmt, pool)
                    bar.update()
            number += 1


def _add_clip(writer: ShardWriter, root: Path, name: str, fingerprint: str, fmt: _Format, pool: Executor) -> None:
    """Append a clip to a shard; a corrupt crop becomes a gap, and a clip without audio or crops a problem."""
    try:
        clip = Clip.open(root / name)
        mel = np.asarray(clip.mel())[:, : clip.mel_columns()]  # the columns that training uses
        crops = list(pool.map(lambda frame: _encode_crop(clip, frame, fmt), clip.frames.tolist()))
        readable = np.array([crop is not None for crop in crops])
        if not readable.any():
            hint = repair_hint(clip.path, "copy the clip again")
            raise InputError(f"{clip.path}: all {len(crops)} face crops are corrupt; {hint}")
    except InputError as error:
        log.warning("skipped: %s", error)
        writer.add_rejected(name, fingerprint, str(error).replace(f"{root}{os.sep}", ""))  # The pack may be moved.
        return
    writer.add(name, fingerprint, clip.frames[readable], [crop for crop in crops if crop is not None], mel)


def _encode_crop(clip: Clip, frame: int, fmt: _Format) -> bytes | None:
    try:
        return encode_crop(clip.read(frame, fmt.size), fmt.encoding)
    except InputError as error:
        log.warning("skipped: %s", error)
        return None


if __name__ == "__main__":
    main()
