"""A clip on disk: a folder of face crops with their audio, written atomically.

    ROOT/GROUP/CLIP/0.jpg 1.jpg ...   one face crop per frame at 25 fps, gaps where there is no face
    ROOT/GROUP/CLIP/audio.wav         16 kHz mono PCM
    ROOT/GROUP/CLIP/clip.json         optional, not upstream's: source and processing
    ROOT/GROUP/CLIP/wav2lip_mel.npy   optional, not upstream's: mel of audio.wav, recomputed when that changes

The layout is upstream's, so either project can train on the other's data. Clips of other tools are read too: frame
numbers with leading zeros, and .jpeg or .png images, in upper or lower case.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
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

from wav2lip.audio.mel import HOP_SAMPLES, SAMPLE_RATE, load_wav, melspectrogram
from wav2lip.dataset.mel_cache import MEL, read_mel_cache, write_mel_cache
from wav2lip.errors import InputError, file_error
from wav2lip.files import publish
from wav2lip.media import probe
from wav2lip.media.suffixes import IMAGE_SUFFIXES

log = logging.getLogger(__name__)

AUDIO, INFO = "audio.wav", "clip.json"
FRAME_NAME = re.compile(r"(\d+)\.(?:jpe?g|png)", re.ASCII | re.IGNORECASE)
PARTIAL_DIR = ".partial"  # folder under ROOT in which clips are written
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Clip:
    """A clip folder and the list of its frames."""

    path: Path
    frames: np.ndarray  # (N,) int32, ascending: frames with a face crop
    names: np.ndarray  # (N,) bytes: their file names

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Clip:
        """List a clip's frames.

        Raises: InputError if the folder is missing, has no audio.wav or no numbered image.
        """
        path = Path(path)
        try:
            names = os.listdir(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(f"{path}: no such clip folder; check data_root and the file list") from error
        except OSError as error:
            raise file_error(error, path) from error
        if AUDIO not in names:
            raise InputError(f"{path}: has no {AUDIO}; {repair_hint(path, 'add the audio of its frames')}")
        numbered = numbered_frames(path, names)
        if not numbered:
            raise _no_frames(path, names)
        frames = sorted(numbered)
        return cls(path, np.array(frames, np.int32), np.array([numbered[frame].encode() for frame in frames]))

    def frame_path(self, frame: int) -> Path:
        """Return the file of a frame's face crop."""
        name: bytes = self.names[np.searchsorted(self.frames, frame)]
        return self.path / name.decode()

    def read(self, frame: int, size: int) -> np.ndarray:
        """Read a face crop, resized to (size, size, 3) uint8 RGB.

        Raises: InputError if the image is corrupt.
        """
        return cv2.resize(read_crop(self.frame_path(frame), cv2.IMREAD_COLOR_RGB), (size, size))

    def mel_columns(self) -> int:
        """Return the number of mel columns of the audio; reads only the header of audio.wav if that is plain PCM.

        Programs that write to a pipe leave a length of 4 GiB in the header: the size of the file limits it.
        """
        path = self.path / AUDIO
        try:
            with path.open("rb") as file, wave.open(file) as wav:
                if wav.getframerate() == SAMPLE_RATE:
                    bytes_left = path.stat().st_size - file.tell()
                    samples = min(wav.getnframes(), bytes_left // (wav.getsampwidth() * wav.getnchannels()))
                    return 1 + samples // HOP_SAMPLES
        except (wave.Error, EOFError):
            pass  # not plain PCM
        return 1 + int(probe(path).seconds * SAMPLE_RATE) // HOP_SAMPLES

    def mel(self, *, write_cache: bool = True) -> np.ndarray:
        """Return the mel of the audio, (80, T) float32, from its cache if that is of this audio.

        write_cache: write the cache. Where that is impossible, the mels of recently used clips are cached in memory.
        Raises: InputError if the audio cannot be read.
        """
        audio, cache = self.path / AUDIO, self.path / MEL
        mel = read_mel_cache(cache, audio)
        if mel is not None:
            return mel
        mel = _mel_in_memory(audio, audio.stat().st_mtime_ns)
        if write_cache:
            try:
                write_mel_cache(cache, audio, mel)
            except OSError as error:
                _warn_once(f"{self.path.parent}: {MEL} cannot be written ({error.strerror}); training is slower")
        return mel


def numbered_frames(path: Path, names: Iterable[str]) -> dict[int, str]:
    """Return the file names of a clip's face crops by frame number.

    path: of the clip, for messages. Raises: InputError if two files have one number.
    """
    numbered: dict[int, str] = {}
    for name in names:
        if match := FRAME_NAME.fullmatch(name):
            other = numbered.setdefault(int(match[1]), name)
            if other != name:
                raise InputError(f"{path}: {min(name, other)} and {max(name, other)} are one frame; remove one of them")
    return numbered


def _no_frames(path: Path, names: Iterable[str]) -> InputError:
    images = sorted(name for name in names if name.lower().endswith(IMAGE_SUFFIXES))
    if images:
        return InputError(
            f"{path}: {len(images)} images such as {images[0]} have no frame number; rename them to 0.jpg, 1.jpg, ..., "
            "the number of their frame at 25 fps"
        )
    return InputError(f"{path}: has no face crops (0.jpg, 1.jpg, ...); {repair_hint(path, 'add the face crops')}")


def read_crop(path: Path, flag: int) -> np.ndarray:
    """Read an image as OpenCV's `flag` says, uint8. Raises: InputError if it is missing or corrupt."""
    # OpenCV's own file reader cannot open all file names on Windows.
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; {repair_hint(path.parent, 'copy the clip again')}") from error
    except OSError as error:
        raise file_error(error, path) from error
    image = cv2.imdecode(data, flag) if len(data) else None
    if image is None:
        raise InputError(f"{path}: is corrupt; {repair_hint(path.parent, 'copy the clip again')}")
    return np.asarray(image, np.uint8)


def repair_hint(path: Path, otherwise: str) -> str:
    """Return how to repair a clip: preprocess its video again, where clip.json names one, else `otherwise`."""
    try:
        source = (read_info(path) or {}).get("source")
    except InputError:
        source = None
    if isinstance(source, str) and source:
        return f"preprocess its video {source} again"
    return f"{otherwise}, or remove the clip from the file lists"


@lru_cache(maxsize=256)
def _mel_in_memory(audio: Path, _stamp: int) -> np.ndarray:
    return compute_mel(audio)


@lru_cache(maxsize=256)
def _warn_once(sentence: str) -> None:
    log.warning(sentence)


def compute_mel(path: str | PathLike[str]) -> np.ndarray:
    """Compute the mel (80, T) float32 of an audio file; InputError if it is too short or not finite."""
    wav = load_wav(path)
    if not np.isfinite(wav).all():
        raise InputError(f"{path}: contains NaN or infinity; export the audio again as 16-bit PCM")
    try:
        return melspectrogram(wav)
    except ValueError as error:
        seconds = len(wav) / SAMPLE_RATE
        raise InputError(f"{path}: {seconds:.3f} s of audio is too short; remove it from the file lists") from error


def partial_folder(root: str | PathLike[str], clip_id: str) -> Path:
    """Return the folder in which a clip is written before it is renamed; a hash keeps its name short."""
    return Path(root) / PARTIAL_DIR / hashlib.sha256(os.fsencode(clip_id)).hexdigest()[:16]


class ClipWriter:
    """Write a clip to a temporary folder and rename it at the end; after an exception no file remains."""

    def __init__(self, root: str | PathLike[str], clip_id: str):
        """root: data root. clip_id: GROUP/CLIP."""
        self.target = Path(root) / clip_id
        self.folder = partial_folder(root, clip_id)

    def __enter__(self) -> ClipWriter:
        """Create the folder; InputError if the clip's name is too long for the file system."""
        try:
            self.target.exists()
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise InputError(f"{self.target}: name too long; shorten the names of its video and folder") from error
        shutil.rmtree(self.folder, ignore_errors=True)  # left by a killed run
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
        (self.folder / INFO).write_text(format_info(info), encoding="utf-8")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        else:
            self.publish()

    def discard(self) -> None:
        """Delete the temporary folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def publish(self) -> None:
        """Move the clip to its final folder."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.exists():  # from an older version of its video
            old = self.folder.with_name(self.folder.name + ".old")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(self.target, old)
            publish(self.folder, self.target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            publish(self.folder, self.target)


def format_info(info: dict[str, Any]) -> str:
    """Format clip.json with a line per key, so that long lists of numbers do not hide the other keys."""
    lines = [
        f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"
        for key, value in info.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_info(path: str | PathLike[str]) -> dict[str, Any] | None:
    """Read clip.json of a clip folder; None if there is none.

    Raises: InputError if it is corrupt.
    """
    file = Path(path) / INFO
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no such file can exist
            return None
        raise file_error(error, file) from error
    except ValueError:  # not JSON, or not UTF-8
        info = None
    if not isinstance(info, dict):
        raise InputError(f"{file}: is corrupt; delete the file, or write the clip again")
    return info
