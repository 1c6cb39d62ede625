"""Kinds of files that are given as checkpoints, recognized by their content and not by their name."""

from __future__ import annotations

import json
import struct
import tarfile
import zipfile
from pathlib import Path

from wav2lip.errors import InputError

HEAD_BYTES = 1024
MIN_SAFETENSORS_BYTES = 10  # length of the header, and an empty header
MAX_SAFETENSORS_HEADER_BYTES = 100_000_000
PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

# Kinds with their first bytes; the sentence goes after "is".
SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself; run git lfs pull, or download the file"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes; give a checkpoint of PyTorch"),
    (b"\x89PNG", "an image; give a checkpoint"),
    (b"\xff\xd8\xff", "an image; give a checkpoint"),
    (b"RIFF", "an audio or video file; give a checkpoint"),
    (b"ftyp", "a video file; give a checkpoint"),
)


def require_checkpoint(path: Path) -> str:
    """Return the kind of a checkpoint: zip, pickle or safetensors.

    Raises: InputError if the file is missing or of another kind, with the way to a checkpoint; OSError if it cannot be
        read.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the checkpoint file in it")
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint; check the path")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        _check_archive(path)
        return "zip"
    if head.startswith(PICKLE_PROTOCOLS):
        return "pickle"
    if _is_safetensors(head, path.stat().st_size):
        return "safetensors"
    raise InputError(f"{path}: {_describe(path, head)}")


def _check_archive(path: Path) -> None:
    """Raise InputError for a ZIP archive that is cut off, or that is no checkpoint."""
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is cut off, as by a download that stopped; copy or download it again")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return
    weights = [name for name in names if name.lower().endswith((".pth", ".pt", ".ckpt", ".safetensors"))]
    inside = f" that contains {weights[0]}; unpack it and give that file" if weights else "; give a checkpoint file"
    raise InputError(f"{path}: is a ZIP archive without the data of a checkpoint{inside}")


def _is_safetensors(head: bytes, size: int) -> bool:
    if size < MIN_SAFETENSORS_BYTES:
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return head[8:9] == b"{" and length <= MAX_SAFETENSORS_HEADER_BYTES


def _describe(path: Path, head: bytes) -> str:
    """Return what a file is that is no checkpoint, and what to do."""
    if not head:
        return "is empty, as after a full disk or a failed download; copy or download it again"
    if not any(head):
        return "begins with zeros, as after a power cut or a stopped download; copy or download it again"
    for signature, sentence in SIGNATURES:
        if head.startswith(signature) or (signature == b"ftyp" and head[4:8] == signature):
            return f"is {sentence}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:200].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page that was saved instead of the file; open the link in a browser and download the file"
    if tarfile.is_tarfile(path):
        return (
            "is in the tar format of early torch versions, which cannot be loaded safely; if you trust it, save it "
            "again with torch.save(torch.load(FILE, weights_only=False), NEW_FILE)"
        )
    if text and text.isascii() and not any(byte < 9 for byte in text):
        words = json.dumps(text[:60].decode().splitlines()[0])
        return f"is a text file that begins with {words}, not a checkpoint; download the file itself"
    return "is not a checkpoint, or corrupt; give a file of torch.save, torch.jit.save or safetensors"
