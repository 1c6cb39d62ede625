"""Still pictures in, whatever their format."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from wav2lip.errors import InputError

PathType = str | PathLike[str]

ANIMATIONS = {"GIF", "PNG", "WEBP", "AVIF"}  # picture formats whose further pictures are frames; of others, copies
HEIF = {b"heic", b"heix", b"heim", b"heis", b"mif1"}  # brands of HEIC files, which phones write


def is_picture(path: PathType) -> bool:
    """Whether a file is a still picture, by its content; an animation counts as a video."""
    if _is_heif(path):
        return True
    try:
        with _opened(path) as picture:
            if picture.format == "MPEG":
                return False  # Pillow knows its name only
            return picture.format not in ANIMATIONS or getattr(picture, "n_frames", 1) == 1
    except Image.DecompressionBombError:
        return True  # read_picture says that it is too large
    except (OSError, SyntaxError, ValueError):
        return False


def picture_size(path: PathType) -> tuple[int, int]:
    """Width and height of a still picture in pixels, as they are stored, before any of them is decoded.

    Raises: InputError if that cannot be told, or it is too large to be a picture of a face.
    """
    try:
        with _heif(path) if _is_heif(path) else _opened(path) as opened:
            return opened.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is not a whole picture ({error}); save it again as PNG or JPEG") from error


def read_picture(path: PathType) -> np.ndarray:
    """Read a still picture, upright, as (H, W, 3) uint8 RGB; what is transparent becomes white.

    Raises: InputError if it is absent, damaged or too large to be a picture of a face.
    """
    try:
        with _heif(path) if _is_heif(path) else _opened(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # 16 bit grey
                levels = np.asarray(picture, dtype=np.uint32) >> 8
                return np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
            if picture.has_transparency_data:
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            return np.asarray(picture.convert("RGB"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is not a whole picture ({error}); save it again as PNG or JPEG") from error


def _opened(path: PathType) -> Image.Image:
    with warnings.catch_warnings():  # large photos are meant; what is too large is an error
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _is_heif(path: PathType) -> bool:
    """Whether a file begins as a HEIC picture does; AVIF, which Pillow reads, has a brand of its own."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(12)
    except OSError:  # whoever reads it says so
        return False
    return head[4:8] == b"ftyp" and head[8:12] in HEIF


def _heif(path: PathType) -> Image.Image:
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{path}: is a HEIC picture; pip install 'wav2lip-toolkit[heic]', or save it as JPEG or PNG"
        ) from error
    return pillow_heif.open_heif(path).to_pillow()
