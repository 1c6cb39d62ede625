"""The packed form of a data set on disk: face crops at one size and mels, in shards beside the clip folders.

    ROOT/packed/SIZE/pack.json           size, encoding, the shards with a checksum of each index, clips that are gone
    ROOT/packed/SIZE/000000/crops.bin    raw: uint8 (N, SIZE, SIZE, 3) RGB; jpeg: N files end to end
    ROOT/packed/SIZE/000000/offsets.bin  jpeg alone: int64 (N + 1), where each of them begins and the last one ends
    ROOT/packed/SIZE/000000/mels.bin     float32 (T, 80): the mels of the clips, a row for each column
    ROOT/packed/SIZE/000000/index.json   lists with an entry for each clip: see Index

Numbers are little-endian. A shard is written beside its place and renamed, so it is whole or absent, and is not changed
after that: a clip that changes comes again in a later shard, which counts, and its older entry is dead.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from wav2lip.audio import MEL_BANDS
from wav2lip.clips import AUDIO, JPEG_QUALITY
from wav2lip.errors import InputError

VERSION = 1  # of the format
FOLDER, HEAD, INDEX = "packed", "pack.json", "index.json"
CROPS, OFFSETS, MELS = "crops.bin", "offsets.bin", "mels.bin"
PARTIAL = ".partial"  # name of a shard while it is written
ENCODINGS = ("raw", "jpeg")
AGAIN = "run python -m preprocess.pack again"


def pack_folder(data_root: str | PathLike[str], size: int) -> Path:
    """Where the pack of a data set at a size in pixels lies."""
    return Path(data_root) / FOLDER / str(size)


def fingerprint(clip: str | PathLike[str]) -> str:
    """What the pack of a clip is made from, as a hash: its sound, and the numbers and sizes of its face crops.

    It holds no times, so that the same clip has the same one wherever it lies.
    Raises: InputError if the folder or its sound cannot be read.
    """
    clip = Path(clip)
    try:
        with os.scandir(clip) as entries:
            pictures = [e for e in entries if e.name.endswith(".jpg") and e.name[:-4].isdecimal()]
            frames = sorted((int(e.name[:-4]), e.stat().st_size) for e in pictures)
        sound = (clip / AUDIO).read_bytes()
    except OSError as error:
        raise InputError(f"{clip}: its frames and sound cannot be read ({error.strerror}); preprocess again") from error
    return blake2b(sound + np.array(frames, "<i8").tobytes(), digest_size=16).hexdigest()


@dataclass
class Index:
    """What a shard holds: lists with an entry for each clip, in the order of their bytes."""

    clips: list[str] = field(default_factory=list)  # GROUP/CLIP
    fingerprints: list[str] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)  # CRC-32 of its crops as stored, its mel, its crops' lengths
    bytes: list[int] = field(default_factory=list)  # of its crops
    columns: list[int] = field(default_factory=list)  # of its mel
    runs: list[list[int]] = field(default_factory=list)  # its frames: first number, count, of each consecutive run
    problems: list[str] = field(default_factory=list)  # why it could not be packed, else ""; such a clip has no bytes

    def frames(self) -> list[int]:
        """How many face crops each clip has."""
        return [sum(runs[1::2]) for runs in self.runs]


def runs_of(frames: np.ndarray) -> np.ndarray:
    """Ascending frame numbers (N,) as runs of consecutive ones: (R, 2) int64, first number and count."""
    begins = np.flatnonzero(np.diff(frames, prepend=-2) != 1)
    return np.stack([frames[begins], np.diff(begins, append=len(frames))], axis=1).astype(np.int64)


def checksum(crops: Iterable[bytes | memoryview], mel: bytes | memoryview, lengths: Sequence[int]) -> int:
    """CRC-32 of a clip's bytes: its crops, its mel, and the length of each crop where these differ."""
    total = 0
    for part in (*crops, mel, np.array(lengths, "<i8").tobytes()):
        total = zlib.crc32(part, total)
    return total


class ShardWriter:
    """Write a shard beside its place and move it there at a clean end; after an exception nothing is left."""

    def __init__(self, target: Path, encoding: str):
        """target: ROOT/packed/SIZE/NUMBER."""
        self.target, self.encoding = target, encoding
        self.index = Index()
        self.frames = self.columns = 0
        self._folder = target.with_name(PARTIAL)
        self._lengths: list[int] = []  # bytes of each crop

    def __enter__(self) -> ShardWriter:
        shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was killed
        self._folder.mkdir(parents=True)
        self._crops, self._mels = (self._folder / CROPS).open("wb"), (self._folder / MELS).open("wb")
        return self

    def add(self, clip: str, mark: str, numbers: np.ndarray, crops: Sequence[bytes], mel: np.ndarray) -> None:
        """Append a clip.

        mark: its fingerprint. numbers: (N,) of its frames, ascending. crops: N from `encode`. mel: (80, T) float32.
        """
        rows = np.ascontiguousarray(mel.T, "<f4").tobytes()
        self._crops.writelines(crops)
        self._mels.write(rows)
        lengths = [len(crop) for crop in crops]
        self._lengths += lengths
        self.frames += len(crops)
        self.columns += mel.shape[1]
        varying = lengths if self.encoding == "jpeg" else []
        self._enter(clip, mark, checksum(crops, rows, varying), sum(lengths), mel.shape[1], runs_of(numbers), "")

    def refuse(self, clip: str, mark: str, problem: str) -> None:
        """Note a clip that cannot be packed while it is what it is, so that it is not tried again in every run."""
        self._enter(clip, mark, 0, 0, 0, np.empty((0, 2), np.int64), problem)

    def _enter(
        self, clip: str, mark: str, check: int, length: int, columns: int, runs: np.ndarray, problem: str
    ) -> None:
        entry = (clip, mark, check, length, columns, runs.ravel().tolist(), problem)
        for values, value in zip(vars(self.index).values(), entry, strict=True):
            values.append(value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crops.close()
        self._mels.close()
        if kind is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        if self.encoding == "jpeg":
            np.cumsum([0, *self._lengths], dtype="<i8").tofile(self._folder / OFFSETS)
        (self._folder / INDEX).write_bytes(json.dumps(asdict(self.index), ensure_ascii=False).encode())
        for file in self._folder.iterdir():  # the name must not reach the disk before the bytes do
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        os.replace(self._folder, self.target)


def encode(crop: np.ndarray, encoding: str) -> bytes:
    """A face crop (SIZE, SIZE, 3) uint8 RGB as a pack keeps it."""
    if encoding == "raw":
        return crop.tobytes()
    bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


@dataclass(frozen=True)
class Shard:
    """A shard on disk whose files have the sizes that its index asks for."""

    folder: Path
    index: Index
    checksum: int  # CRC-32 of index.json

    @classmethod
    def open(cls, folder: Path, size: int, encoding: str) -> Shard:
        """Read the index and compare it with the sizes of the files.

        Raises: InputError if a file is missing, cut or of another length.
        """
        try:
            text = (folder / INDEX).read_bytes()
            index = Index(**json.loads(text))
            frames = sum(index.frames())
            crops = frames * size * size * 3 if encoding == "raw" else sum(index.bytes)
            wanted = {CROPS: crops, MELS: sum(index.columns) * MEL_BANDS * 4}
            if encoding == "jpeg":
                wanted[OFFSETS] = (frames + 1) * 8
            found = {name: (folder / name).stat().st_size for name in wanted}
        except OSError as error:
            raise damaged(folder, f"{Path(error.filename).name} cannot be read ({error.strerror})") from error
        except (ValueError, TypeError) as error:
            raise damaged(folder, f"{INDEX} is not whole") from error
        for name, length in wanted.items():
            if found[name] != length:
                raise damaged(folder, f"{name} has {found[name]} bytes instead of {length}")
        return cls(folder, index, zlib.crc32(text))


def open_shards(folder: Path, size: int, encoding: str) -> list[Shard]:
    """Every shard in a pack's folder, in order, whether pack.json names it or not."""
    names = sorted(path.name for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []
    return [Shard.open(folder / name, size, encoding) for name in names]


def latest(shards: Sequence[Shard]) -> dict[str, tuple[int, int]]:
    """Where the entry of each clip is that counts: which of the shards, and which of its entries."""
    return {clip: (s, e) for s, shard in enumerate(shards) for e, clip in enumerate(shard.index.clips)}


def damaged(shard: Path, what: str) -> InputError:
    """The sentence for a shard that cannot be used; it can be made again from the clips."""
    return InputError(f"{shard}: {what}; remove this folder and {AGAIN}")


@dataclass(frozen=True)
class Head:
    """pack.json: what makes a finished pack of a folder of shards."""

    size: int  # pixels
    encoding: str
    shards: dict[str, int]  # name, and checksum of its index.json
    gone: list[str]  # clips whose entries are dead
    version: int = VERSION

    @classmethod
    def read(cls, folder: Path) -> Head:
        """Raises: InputError if there is none, or it is damaged or of another version."""
        path = folder / HEAD
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise InputError(f"{path}: is of version {content['version']}, not {VERSION}; {AGAIN}, overwrite=true")
            return cls(**content)
        except FileNotFoundError as error:
            raise InputError(f"{folder}: holds no finished pack; {AGAIN}, with sizes=[{folder.name}]") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: is not whole; remove it and {AGAIN}") from error

    def write(self, folder: Path) -> None:
        """Write it whole or not at all."""
        partial = folder / f".{HEAD}.partial"
        partial.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(partial, folder / HEAD)
