"""Files of the published checkpoints: which network is in which file, and under which prefix or key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.sadtalker import build
from wav2lip.checkpoints import load_safely
from wav2lip.errors import InputError
from wav2lip.hashing import hash_file_cached
from wav2lip.types import PathType
from wav2lip.weights.catalog import KEYED_FILES, PREFIXES

FACE_FOLDERS = (".", "gfpgan/weights", "../gfpgan/weights")  # of detector and landmarks, from the checkpoint folder
HASH_DIGITS = 16


class CheckpointFolder:
    """Checkpoints of a folder; each tensor is read once per network."""

    def __init__(self, path: PathType, size: int, old_version: bool = False):
        """size: pixels of the renderer. old_version: use the files of version 0.0.1 even if there are newer ones.

        Raises: InputError if the folder or the file of the renderer is missing.
        """
        self.path, self.size = Path(path), size
        if not self.path.is_dir():
            raise InputError(
                f"--checkpoint_dir={path}: no such folder; download the checkpoints of SadTalker, see docs/sadtalker.md"
            )
        current = self.path / f"SadTalker_V0.0.2_{size}.safetensors"
        self.is_old = old_version or not any(self.path.glob("*.safetensors"))
        self.renderer_file = self.path / KEYED_FILES["generator"][0] if self.is_old else current
        if not self.renderer_file.is_file():
            raise InputError(
                f"{self.path}: has no {current.name if not old_version else self.renderer_file.name}; download it, see "
                "docs/sadtalker.md"
            )

    @cached_property
    def hash(self) -> str:
        """First digits of the SHA-256 of the renderer's file."""
        return hash_file_cached(self.renderer_file)[:HASH_DIGITS]

    def load(self, name: str) -> nn.Module:
        """Build a network with its weights. name: see `models.sadtalker.NETWORKS`. Raises: InputError."""
        if name in PREFIXES and not self.is_old:
            return _build(name, self.renderer_file, _read_prefix(self.renderer_file, PREFIXES[name]))
        file, key = KEYED_FILES[name]
        return _build(name, self.path / file, _read_key(self.path / file, key))


def hash_folder(path: PathType) -> str:
    """Hash the files of a folder that the engine may read. Raises: InputError if none of them is there."""
    root, names = Path(path), dict.fromkeys(name for name, _ in KEYED_FILES.values())
    renderers = sorted(root.glob("SadTalker_*.safetensors"))
    files = [*renderers, *(root / folder / name for folder in FACE_FOLDERS for name in names)]
    digests = [hash_file_cached(file) for file in files if file.is_file()]
    if not digests:
        raise InputError(f"--checkpoint_dir={path}: has no checkpoints of SadTalker; see docs/sadtalker.md")
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def find_network(checkpoint_dir: PathType, name: str) -> nn.Module | None:
    """Load the detector or the landmark network if its file is there.

    name: retinaface_resnet50 or landmark_fan98. Raises: InputError if the file cannot be used.
    """
    file_name, key = KEYED_FILES[name]
    for folder in FACE_FOLDERS:
        if (file := Path(checkpoint_dir) / folder / file_name).is_file():
            return _build(name, file, _read_key(file, key))
    return None


def _build(name: str, file: Path, weights: Mapping[str, Tensor]) -> nn.Module:
    if not weights:
        raise InputError(f"{file}: contains no network {name}; download the file again, see docs/sadtalker.md")
    with torch.device("meta"):
        network = build(name)
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip()[:120] if "\n" in str(error) else str(error)
        raise InputError(f"{file}: contains another network than {name} ({detail}); download the file again") from error
    return network.float().eval()


def _read_prefix(file: Path, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    try:
        with safe_open(file, "pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name.removeprefix(prefix): tensors.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: is not a complete safetensors file ({error}); download it again") from error


def _read_key(file: Path, key: str) -> dict[str, Tensor]:
    """Return the tensors under a key of a file of torch.save, or of the whole file for an empty key."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; download it, see docs/sadtalker.md")
    content = load_safely(file)
    weights = content.get(key) if key and isinstance(content, dict) else content
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        place = f" under {key!r}" if key else ""
        raise InputError(f"{file}: has no weights{place}; download the file again, see docs/sadtalker.md")
    return {name.removeprefix("module."): value for name, value in weights.items()}
