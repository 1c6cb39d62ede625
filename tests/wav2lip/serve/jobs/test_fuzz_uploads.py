"""Inspection of damaged uploads: properties or a sentence that shows no path, and never another exception."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from tests.helpers.damage import BOUNDED, damaged
from tests.helpers.media import GRAY, ffmpeg, tone, write_video, write_wav
from wav2lip.errors import InputError
from wav2lip.serve.jobs.media_validation import MediaLimits, inspect_upload

LIMITS = MediaLimits(seconds=20.0, pixels=200_000)
MAX_GROWTH_KIB = 500 << 10  # peak memory of inspecting hundreds of files of a few kB


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[bytes]:
    """Small files of the kinds that clients upload."""
    folder = tmp_path_factory.mktemp("seeds")
    wav = write_wav(folder / "a.wav", tone(0.2))
    video = write_video(folder / "a.mp4", [GRAY] * 3, audio=wav)
    files = [wav, video]
    files += [ffmpeg("-i", wav, folder / f"a.{suffix}") for suffix in ("flac", "ogg", "mp3", "m4a", "aac")]
    files += [ffmpeg("-i", video, "-c", "copy", folder / f"b.{suffix}") for suffix in ("mkv", "ts", "avi", "flv")]
    images = []
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        image = io.BytesIO()
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(image, kind)
        images.append(image.getvalue())
    return [path.read_bytes() for path in files] + images


def check_uploads(seeds: list[bytes], folder: Path, max_examples: int) -> None:
    path = folder / "upload"

    @settings(BOUNDED, max_examples=max_examples)
    @given(content=damaged(seeds))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        message = ""
        try:
            media = inspect_upload(path, "my clip", LIMITS)
            assert (media.width or 0) * (media.height or 0) <= LIMITS.pixels
            assert (media.seconds or 0) <= LIMITS.seconds
        except InputError as error:
            message = str(error)
        assert str(folder) not in message and "\n" not in message

    check()


def test_damaged_upload_is_inspected_or_refused(seeds, tmp_path):
    check_uploads(seeds, tmp_path, max_examples=60)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_many_damaged_uploads_are_inspected_or_refused(seeds, tmp_path):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_uploads(seeds, tmp_path, max_examples=400)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_GROWTH_KIB
