"""Format of packs: face crops at one size and mels, in a few large files beside the clip folders.

    ROOT/packed/SIZE/pack.json           size, encoding, shards with a checksum of their index, removed clips
    ROOT/packed/SIZE/000000/crops.bin    raw: uint8 (N, SIZE, SIZE, 3) RGB; jpeg: N concatenated files
    ROOT/packed/SIZE/000000/offsets.bin  jpeg only: int64 (N + 1), where each file starts and the last ends
    ROOT/packed/SIZE/000000/mels.bin     float32 (T, 80): mels of the clips, a row per column
    ROOT/packed/SIZE/000000/index.json   lists with an entry per clip: see Index

Numbers are little-endian. A shard is written to a temporary folder, renamed and never changed: a clip that changes is
added to a later shard, and its older entry is dead.
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

from wav2lip.audio.mel import MEL_BANDS
from wav2lip.dataset.clip import AUDIO, JPEG_QUALITY, numbered_frames
from wav2lip.errors import InputError, file_error
from wav2lip.files import publish, write_atomically

VERSION = 2  # format of pack.json and the shards
PACK_DIR, MANIFEST, INDEX = "packed", "pack.json", "index.json"
CROPS, OFFSETS, MELS = "crops.bin", "offsets.bin", "mels.bin"
PARTIAL_DIR = ".partial"  # name of a shard while it is written
ENCODINGS = ("raw", "jpeg")
REPACK = "run python -m preprocess.pack again"


def pack_folder(data_root: str | PathLike[str], size: int) -> Path:
    """Return the folder of a data set's pack at a size in pixels."""
    return Path(data_root) / PACK_DIR / str(size)


def fingerprint_clip(clip: str | PathLike[str]) -> str:
    """Hash a clip's audio, and the numbers and file sizes of its face crops.

    Modification times are ignored, so that a copy has the same fingerprint.
    Raises: InputError if the folder or its audio cannot be read.
    """
    clip = Path(clip)
    try:
        numbered = numbered_frames(clip, os.listdir(clip))
        frames = sorted((frame, (clip / name).stat().st_size) for frame, name in numbered.items())
        audio = (clip / AUDIO).read_bytes()
    except OSError as error:
        raise file_error(error, clip) from error
    return blake2b(audio + np.array(frames, "<i8").tobytes(), digest_size=16).hexdigest()


@dataclass
class Index:
    """Contents of a shard: lists with an entry per clip, in the order of their bytes."""

    clips: list[str] = field(default_factory=list)  # GROUP/CLIP
    fingerprints: list[str] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)  # CRC-32 of its crops as stored, its mel, its crops' lengths
    bytes: list[int] = field(default_factory=list)  # bytes of its crops
    columns: list[int] = field(default_factory=list)  # mel columns
    runs: list[list[int]] = field(default_factory=list)  # first number and length of each run of frames
    problems: list[str] = field(default_factory=list)  # reason why it could not be packed, or ""

    def frame_counts(self) -> list[int]:
        """Return the number of face crops of each clip."""
        return [sum(runs[1::2]) for runs in self.runs]


def find_runs(frames: np.ndarray) -> np.ndarray:
    """Group ascending frame numbers (N,) into runs of consecutive ones: (R, 2) int64, first number and length."""
    begins = np.flatnonzero(np.diff(frames, prepend=-2) != 1)
    return np.stack([frames[begins], np.diff(begins, append=len(frames))], axis=1).astype(np.int64)


def checksum(crops: Iterable[bytes | memoryview], mel: bytes | memoryview, lengths: Sequence[int]) -> int:
    """Return the CRC-32 of a clip: its crops, its mel, and the length of each crop where these vary."""
    total = 0
    for data in (*crops, mel, np.array(lengths, "<i8").tobytes()):
        total = zlib.crc32(data, total)
    return total


class ShardWriter:
    """Write a shard to a temporary folder and rename it at the end; after an exception no file remains."""

    def __init__(self, target: Path, encoding: str):
        """target: ROOT/packed/SIZE/NUMBER."""
        self.target, self.encoding = target, encoding
        self.index = Index()
        self.frames = self.columns = 0
        self._folder = target.with_name(PARTIAL_DIR)
        self._lengths: list[int] = []  # bytes of each crop

    def __enter__(self) -> ShardWriter:
        shutil.rmtree(self._folder, ignore_errors=True)  # left by a killed run
        self._folder.mkdir(parents=True)
        self._crops, self._mels = (self._folder / CROPS).open("wb"), (self._folder / MELS).open("wb")
        return self

    def add(self, clip: str, fingerprint: str, numbers: np.ndarray, crops: Sequence[bytes], mel: np.ndarray) -> None:
        """Append a clip.

        numbers: (N,) of its frames, ascending. crops: N from `encode_crop`. mel: (80, T) float32.
        """
        rows = np.ascontiguousarray(mel.T, "<f4").tobytes()
        self._crops.writelines(crops)
        self._mels.write(rows)
        lengths = [len(crop) for crop in crops]
        self._lengths += lengths
        self.frames += len(crops)
        self.columns += mel.shape[1]
        varying = lengths if self.encoding == "jpeg" else []
        crc = checksum(crops, rows, varying)
        self._append(clip, fingerprint, crc, sum(lengths), mel.shape[1], find_runs(numbers), "")

    def add_rejected(self, clip: str, fingerprint: str, problem: str) -> None:
        """Record a clip that cannot be packed, so that it is not retried until it changes."""
        self._append(clip, fingerprint, 0, 0, 0, np.empty((0, 2), np.int64), problem)

    def _append(
        self, clip: str, fingerprint: str, crc: int, length: int, columns: int, runs: np.ndarray, problem: str
    ) -> None:
        entry = (clip, fingerprint, crc, length, columns, runs.ravel().tolist(), problem)
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
        publish(self._folder, self.target)


def encode_crop(crop: np.ndarray, encoding: str) -> bytes:
    """Encode a face crop (SIZE, SIZE, 3) uint8 RGB for a pack."""
    if encoding == "raw":
        return crop.tobytes()
    bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


@dataclass(frozen=True)
class Shard:
    """A shard on disk whose files have the sizes that its index states."""

    folder: Path
    index: Index
    checksum: int  # CRC-32 of index.json

    @classmethod
    def open(cls, folder: Path, size: int, encoding: str) -> Shard:
        """Read the index and check the file sizes against it.

        Raises: InputError if a file is missing or of another size.
        """
        try:
            text = (folder / INDEX).read_bytes()
            index = Index(**json.loads(text))
            frames = sum(index.frame_counts())
            crops = frames * size * size * 3 if encoding == "raw" else sum(index.bytes)
            expected = {CROPS: crops, MELS: sum(index.columns) * MEL_BANDS * 4}
            if encoding == "jpeg":
                expected[OFFSETS] = (frames + 1) * 8
            sizes = {name: (folder / name).stat().st_size for name in expected}
        except FileNotFoundError as error:
            raise corrupt_shard(folder, f"{Path(error.filename).name} is missing") from error
        except OSError as error:
            raise file_error(error, folder) from error
        except (ValueError, TypeError) as error:
            raise corrupt_shard(folder, f"{INDEX} is truncated or corrupt") from error
        for name, length in expected.items():
            if sizes[name] != length:
                raise corrupt_shard(folder, f"{name} has {sizes[name]} bytes, expected {length}")
        return cls(folder, index, zlib.crc32(text))


def open_shards(folder: Path, size: int, encoding: str) -> list[Shard]:
    """Open every shard in a pack's folder, in order, whether pack.json lists it or not."""
    names = sorted(path.name for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []
    return [Shard.open(folder / name, size, encoding) for name in names]


def latest_entries(shards: Sequence[Shard]) -> dict[str, tuple[int, int]]:
    """Return the live entry of each clip: index of the shard, and of the entry in it."""
    return {clip: (s, e) for s, shard in enumerate(shards) for e, clip in enumerate(shard.index.clips)}


def corrupt_shard(shard: Path, problem: str) -> InputError:
    """Build the error for a corrupt shard, which can be packed again from the clips."""
    return InputError(f"{shard}: {problem}; delete this folder and {REPACK}")


@dataclass(frozen=True)
class PackManifest:
    """pack.json: lists the shards that make up a complete pack."""

    size: int  # pixels
    encoding: str
    shards: dict[str, int]  # name and checksum of index.json
    removed: list[str]  # clips whose entries are dead
    version: int = VERSION

    @classmethod
    def read(cls, folder: Path) -> PackManifest:
        """Read pack.json. Raises: InputError if there is none, or it is corrupt or of another version."""
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise InputError(
                    f"{path}: version {content['version']}, expected {VERSION}; {REPACK} with overwrite=true"
                )
            return cls(**content)
        except FileNotFoundError as error:
            data_root = folder.parent.parent  # packs are in DATA_ROOT/packed/SIZE
            raise InputError(
                f"{folder}: no complete pack; run python -m preprocess.pack data_root={data_root} sizes=[{folder.name}]"
            ) from error
        except OSError as error:
            raise file_error(error, path) from error
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: is truncated or corrupt; delete it and {REPACK}") from error

    def write(self, folder: Path) -> None:
        """Write pack.json atomically."""
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1)
        write_atomically(folder / MANIFEST, lambda partial: partial.write_text(text, encoding="utf-8"))
