"""Still pictures in, whatever their format."""

from __future__ import annotations

from os import PathLike

import numpy as np
from PIL import Image, ImageOps

from wav2lip.errors import InputError

PathType = str | PathLike[str]

ANIMATIONS = {"GIF", "PNG", "WEBP", "AVIF"}  # picture formats whose further pictures are frames; of others, copies


def is_picture(path: PathType) -> bool:
    """Whether a file is a still picture, by its content; an animation counts as a video."""
    try:
        with Image.open(path) as picture:
            if picture.format == "MPEG":
                return False  # Pillow knows its name only
            return picture.format not in ANIMATIONS or getattr(picture, "n_frames", 1) == 1
    except Image.DecompressionBombError:
        return True  # read_picture says that it is too large
    except (OSError, SyntaxError, ValueError):
        return False


def read_picture(path: PathType) -> np.ndarray:
    """Read a still picture, upright, as (H, W, 3) uint8 RGB; what is transparent becomes white.

    Raises: InputError if it is damaged or too large to be a picture of a face.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # 16 bit grey
                levels = np.asarray(picture, dtype=np.uint32) >> 8
                return np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
            if picture.has_transparency_data:
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is not a whole picture ({error}); save it again as PNG or JPEG") from error
