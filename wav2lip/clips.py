"""A clip on disk: a folder of face crops and their sound, which appears whole or not at all.

    ROOT/GROUP/CLIP/0.jpg 1.jpg ...   one face crop per frame at 25 a second, gaps where there is no face
    ROOT/GROUP/CLIP/audio.wav         16 kHz mono PCM
    ROOT/GROUP/CLIP/clip.json         ours, optional: where it comes from and what was done
    ROOT/GROUP/CLIP/mel.npy           ours, optional: the mel of audio.wav, rebuilt when that changes

This is the layout of the public release, so data made by either trains in the other.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from wav2lip.audio import HOP, SAMPLE_RATE, load_wav, melspectrogram
from wav2lip.errors import InputError
from wav2lip.media import probe

log = logging.getLogger(__name__)

AUDIO, MEL, INFO = "audio.wav", "mel.npy", "clip.json"
PARTIAL = ".partial"  # folder under ROOT in which clips are made
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Clip:
    """A clip folder whose frames were listed once."""

    path: Path
    frames: np.ndarray  # (N,) int32, ascending: the numbers for which there is a face crop

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Clip:
        """List a clip's frames.

        Raises: InputError if the folder is missing, has no audio.wav or no numbered JPEG.
        """
        path = Path(path)
        try:
            names = os.listdir(path)
        except OSError as error:
            raise InputError(f"{path}: no such clip folder; check data_root and the file list") from error
        if AUDIO not in names:
            raise InputError(f"{path}: has no {AUDIO}; preprocess its video again")
        numbers = [int(name[:-4]) for name in names if name.endswith(".jpg") and name[:-4].isdecimal()]
        if not numbers:
            raise InputError(f"{path}: has no face crops (0.jpg, 1.jpg, ...); preprocess its video again")
        return cls(path, np.array(sorted(numbers), np.int32))

    def read(self, frame: int, size: int) -> np.ndarray:
        """One face crop resized to (size, size, 3) uint8 RGB.

        Raises: InputError if the picture is damaged.
        """
        path = self.path / f"{frame}.jpg"
        # Bytes first: OpenCV's own reader cannot open every name on Windows.
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); preprocess its video again") from error
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
        if picture is None:
            raise InputError(f"{path}: is not a whole picture; preprocess its video again")
        return cv2.resize(picture, (size, size))

    def mel_columns(self) -> int:
        """How many mel columns the sound has, from the header of audio.wav alone where that is plain PCM."""
        path = self.path / AUDIO
        try:
            with wave.open(str(path)) as wav:
                if wav.getframerate() == SAMPLE_RATE:
                    return 1 + wav.getnframes() // HOP
        except (wave.Error, EOFError):
            pass  # not plain PCM: what it is, probe says
        return 1 + int(probe(path).seconds * SAMPLE_RATE) // HOP

    def mel(self) -> np.ndarray:
        """The mel of the whole sound, (80, T) float32, computed once and kept in mel.npy.

        mel.npy counts as current while it carries the modification time of audio.wav. Where it may not be written,
        the mels of the last clips asked for are kept in memory.
        Raises: InputError if the sound cannot be read.
        """
        audio, cache = self.path / AUDIO, self.path / MEL
        stamp = audio.stat().st_mtime_ns
        if cache.exists() and cache.stat().st_mtime_ns == stamp:
            return np.load(cache, mmap_mode="r")
        mel = _mel_in_memory(audio, stamp)
        partial = cache.with_name(f".{MEL}.{os.getpid()}")
        try:
            with partial.open("wb") as file:
                np.save(file, mel)
            os.utime(partial, ns=(stamp, stamp))
            os.replace(partial, cache)
        except OSError as error:
            partial.unlink(missing_ok=True)
            _say_once(f"{self.path.parent}: spectrograms cannot be kept there ({error.strerror}); training is slower")
        return mel


@lru_cache(maxsize=256)
def _mel_in_memory(audio: Path, _stamp: int) -> np.ndarray:
    return mel_of(audio)


@lru_cache(maxsize=256)
def _say_once(sentence: str) -> None:
    log.warning(sentence)


def mel_of(path: str | PathLike[str]) -> np.ndarray:
    """The mel (80, T) float32 of a sound file; InputError if it is too short or not finite."""
    wav = load_wav(path)
    if not np.isfinite(wav).all():
        raise InputError(f"{path}: holds values that are not numbers; export the sound again as 16-bit PCM")
    try:
        return melspectrogram(wav)
    except ValueError as error:
        seconds = len(wav) / SAMPLE_RATE
        raise InputError(f"{path}: {seconds:.3f} s of sound are too short to use; leave it out") from error


def partial_folder(root: str | PathLike[str], clip_id: str) -> Path:
    """Where a clip is made before it is moved to its place: a short name, however long that of the clip is."""
    return Path(root) / PARTIAL / hashlib.sha256(os.fsencode(clip_id)).hexdigest()[:16]


class ClipWriter:
    """Write a clip beside its place and move it there at a clean end; after an exception nothing is left."""

    def __init__(self, root: str | PathLike[str], clip_id: str):
        """root: data root. clip_id: GROUP/CLIP."""
        self.target = Path(root) / clip_id
        self.folder = partial_folder(root, clip_id)

    def __enter__(self) -> ClipWriter:
        """Make the folder; InputError if the file system has no room for the clip's name."""
        try:
            self.target.exists()
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise InputError(f"{self.target}: is too long a name; shorten the names of its video and folder") from error
        shutil.rmtree(self.folder, ignore_errors=True)  # of a run that was killed
        self.folder.mkdir(parents=True)
        return self

    def write_frame(self, number: int, crop: np.ndarray) -> None:
        """Add a face crop (h, w, 3) uint8 RGB as NUMBER.jpg."""
        bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        data.tofile(self.folder / f"{number}.jpg")

    def write_audio(self, blocks: Iterable[np.ndarray]) -> int:
        """Write audio.wav from float32 blocks at 16 kHz; returns the number of samples."""
        samples = 0
        with wave.open(str(self.folder / AUDIO), "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(SAMPLE_RATE)
            for block in blocks:
                wav.writeframes(np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2").tobytes())
                samples += len(block)
        return samples

    def write_info(self, info: dict[str, Any]) -> None:
        """Write clip.json."""
        (self.folder / INFO).write_text(info_text(info), encoding="utf-8")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        else:
            self.publish()

    def discard(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def publish(self) -> None:
        """Move the clip to its place."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.exists():  # made from an older version of its video: move it out before the new one comes
            old = self.folder.with_name(self.folder.name + ".old")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(self.target, old)
            os.replace(self.folder, self.target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(self.folder, self.target)


def info_text(info: dict[str, Any]) -> str:
    """What clip.json holds: a line for each key, so that one reads the head and passes over the lists of numbers."""
    lines = [
        f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"
        for key, value in info.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_info(path: str | PathLike[str]) -> dict[str, Any] | None:
    """The clip.json of a clip folder, or None where there is none.

    Raises: InputError if it is damaged.
    """
    file = Path(path) / INFO
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # nothing is called so
            return None
        raise InputError(f"{file}: cannot be read ({error.strerror}); check its permissions and the disk") from error
    except ValueError:  # no JSON, or no UTF-8
        info = None
    if not isinstance(info, dict):
        raise InputError(f"{file}: is damaged; preprocess its video again, or delete the file")
    return info


def read_filelist(path: str | PathLike[str], data_root: str | PathLike[str]) -> list[str]:
    """Clip ids of a file list, one a line, relative to the data root.

    Lines of LRS2's lists carry a second word (NF, MV): it is dropped where the whole line names no folder.
    Raises: InputError if the list is missing, empty or not UTF-8.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: no such file list; preprocess writes one, or name yours in the config") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not in UTF-8; save it again in that encoding") from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise InputError(f"{path}: lists no clip; preprocess more videos or mend the list")
    return [i if len(i.split()) == 1 or (Path(data_root) / i).is_dir() else i.split()[0] for i in ids]
