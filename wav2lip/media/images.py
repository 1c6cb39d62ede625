"""Still images, and the animations that FFmpeg does not play."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms, ImageOps

from wav2lip.errors import InputError
from wav2lip.media.color import HDR_PROBLEM, HDR_TRANSFERS, convert_image_to_bt709, flatten_alpha, is_bt709
from wav2lip.types import OnProblem, PathType

log = logging.getLogger(__name__)

# Other formats of Pillow are not opened: some start a program (EPS), or decode before the size is known (ICO).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "AVIF", "GIF", "PPM")
ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")  # further images in a file are frames, elsewhere copies
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
UNSPECIFIED = 2  # in ITU-T H.273
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1"}
# Pillow's decoders raise these for corrupt files, most of them undeclared.
DECODER_ERRORS = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError,
    AssertionError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def is_image(path: PathType) -> bool:
    """Return True if the content of a file is a still image; an animation is a video."""
    if _is_heif(path):
        return True
    try:
        with _open(path) as image:
            return image.format not in ANIMATED_FORMATS or getattr(image, "n_frames", 1) == 1
    except Image.DecompressionBombError:
        return True  # read_image reports that it is too large
    except DECODER_ERRORS:
        return False


def image_size(path: PathType) -> tuple[int, int]:
    """Read the stored width and height of a still image in pixels without decoding it.

    Raises: InputError if the file is missing, corrupt, or too large for an image of a face.
    """
    with _open_image(path) as image:
        return image.size


def read_image(path: PathType, on_problem: OnProblem = log.warning) -> np.ndarray:
    """Read a still image as (H, W, 3) uint8 RGB, rotated upright, in sRGB; transparency becomes white.

    on_problem: called with a message if the image has transparent parts.
    Raises: InputError if the file is missing, corrupt, or too large for an image of a face.
    """
    with _open_image(path) as file:
        return _to_rgb(ImageOps.exif_transpose(file), path, on_problem, _coded_color(path))


def is_animation(path: PathType) -> bool:
    """Return True for an animated WebP or AVIF file."""
    head = _read_head(path)
    is_candidate = head[8:12] == b"WEBP" or (head[4:8] == b"ftyp" and b"avi" in head[8:])  # brands avif and avis
    if not is_candidate:
        return False
    try:
        with _open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except DECODER_ERRORS:
        return False


def animation_timing(path: PathType) -> tuple[int, int, list[float]]:
    """Return width and height in pixels and the duration of each frame in seconds.

    Raises: InputError if the file is corrupt.
    """
    with _open_image(path) as image:
        durations = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            durations.append(_duration(image))
        return *image.size, durations


def read_animation(
    path: PathType, on_problem: OnProblem, max_pixels: int | None = None
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Yield the frames of an animation once: start in seconds, duration in seconds, image (H, W, 3) uint8 RGB.

    max_pixels: a larger animation has no frames.
    Raises: InputError at a corrupt frame.
    """
    time = 0.0
    reported: set[str] = set()

    def report(problem: str) -> None:
        if problem not in reported:
            reported.add(problem)
            on_problem(problem)

    color = _coded_color(path)
    with _open_image(path) as image:
        if max_pixels is not None and image.width * image.height > max_pixels:
            return
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            rgb = _to_rgb(image, path, report, color)  # loads the frame, and with it the duration
            yield time, _duration(image), rgb
            time += _duration(image)


def _duration(image: Image.Image) -> float:
    """Return the duration of the loaded frame in seconds; browsers play frames below 10 ms in 100 ms."""
    milliseconds = float(image.info.get("duration") or 0)
    return (milliseconds if milliseconds > 10 else 100.0) / 1000


def _coded_color(path: PathType) -> tuple[int, int]:
    """Return transfer function and primaries of a still image as in ITU-T H.273; 2: unspecified.

    They are in the chunk cICP of a PNG, and in the box nclx of AVIF and HEIC.
    """
    head = _read_head(path)
    with contextlib.suppress(av.FFmpegError, OSError):
        if head[4:8] == b"ftyp":
            with av.open(str(Path(path).resolve()), metadata_errors="ignore") as container:
                codec = container.streams.video[0].codec_context if container.streams.video else None
                return (UNSPECIFIED, UNSPECIFIED) if codec is None else (codec.color_trc, codec.color_primaries)
        if head.startswith(PNG_SIGNATURE):
            return _read_cicp(path)
    return UNSPECIFIED, UNSPECIFIED


def _read_cicp(path: PathType) -> tuple[int, int]:
    with Path(path).open("rb") as file:
        file.seek(len(PNG_SIGNATURE))
        while len(header := file.read(8)) == 8 and header[4:] != b"IDAT":
            size = int.from_bytes(header[:4], "big")
            if header[4:] == b"cICP" and len(content := file.read(2)) == 2:
                return content[1], content[0]
            file.seek(size + 4, io.SEEK_CUR)  # and the checksum
    return UNSPECIFIED, UNSPECIFIED


def _to_rgb(
    image: Image.Image, path: PathType, on_problem: OnProblem, color: tuple[int, int] = (UNSPECIFIED, UNSPECIFIED)
) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 sRGB over white. color: see `_coded_color`."""
    if image.mode.startswith("I"):  # 16 bit gray
        levels = np.asarray(image, dtype=np.uint32) >> 8
        return np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    has_alpha = image.has_transparency_data
    profile = image.info.get("icc_profile")
    if has_alpha or image.mode == "P":
        image = image.convert("RGBA" if has_alpha else "RGB")
    transfer, primaries = color
    is_converted = transfer in HDR_TRANSFERS or (not profile and not is_bt709(transfer, primaries))
    if profile and not is_converted:
        image = _to_srgb(image, profile, "RGBA" if has_alpha else "RGB")
    pixels = np.array(image if has_alpha else image.convert("RGB"))  # asarray would be read-only
    if is_converted:
        on_problem(f"{path}: {HDR_PROBLEM}")
        pixels[..., :3] = convert_image_to_bt709(pixels[..., :3], transfer, primaries)
    if not has_alpha:
        return pixels
    rgb, is_transparent = flatten_alpha(pixels)
    if is_transparent:
        on_problem(f"{path}: its transparent parts are shown on white")
    return rgb


def _to_srgb(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    """Convert from an ICC profile to sRGB; a profile that is invalid or of another color mode is ignored."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image
    assert converted is not None  # not in place
    return converted


@contextlib.contextmanager
def _open_image(path: PathType) -> Iterator[Image.Image]:
    """Open a still image; errors of its decoder inside the block become an InputError."""
    try:
        with _open(path, _heif_formats(path) if _is_heif(path) else FORMATS) as image:
            yield image
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(f"{path}: has more than {limit} pixels, the limit of an image; scale it down") from error
    except DECODER_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: not an image, or corrupt ({reason}); save it again as PNG or JPEG") from error


def _open(path: PathType, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    with warnings.catch_warnings():  # large photos are accepted; beyond Pillow's limit they are an error
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=formats)


def _is_heif(path: PathType) -> bool:
    """Return True for the header of a HEIC image; AVIF, which Pillow reads, has another brand."""
    head = _read_head(path)
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and b"avif" not in head


def _read_head(path: PathType) -> bytes:
    """Return the first bytes of a file; none if it cannot be read, which is reported when it is opened."""
    try:
        with Path(path).open("rb") as file:
            return file.read(32)
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return b""


def _heif_formats(path: PathType) -> tuple[str, ...]:
    """Register the HEIC decoder with Pillow and return the name of the format."""
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{path}: is a HEIC image; pip install 'wav2lip-toolkit[heic]', or save it as JPEG or PNG"
        ) from error
    pillow_heif.register_heif_opener()
    return ("HEIF",)
