"""Which files browsers offer to choose. What is in them is judged by the service, whatever they are called."""

from __future__ import annotations

# Kinds as browsers know them, and endings that not every system takes for media.
VIDEO_FILES = ["video", ".mkv", ".avi", ".mts", ".m2ts", ".ts", ".flv", ".wmv", ".mxf", ".vob", ".ogv", ".3gp"]
FACE_FILES = [*VIDEO_FILES, "image", ".heic", ".heif", ".avif"]
VIDEO_ENDINGS = {".mp4", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", *VIDEO_FILES[1:]}
SOUND_FILES = [*VIDEO_FILES, "audio", ".opus", ".amr", ".caf", ".flac", ".m4a", ".ac3", ".w64"]
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")  # endings
