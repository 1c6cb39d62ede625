"""LRU pool of loaded models, addressed by the names that clients use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wav2lip.hashing import hash_checkpoint
from wav2lip.lipsync import LipSync
from wav2lip.serve.errors import NotFound
from wav2lip.serve.settings import MAX_MODEL_NAME, Settings


@dataclass(frozen=True)
class LoadedModel:
    """Inference engine of a checkpoint."""

    name: str
    sha256: str  # checkpoint file
    lipsync: LipSync


class ModelPool:
    """Bounded number of models in memory; the least recently used is evicted."""

    def __init__(self, settings: Settings):
        self._files: Mapping[str, Path] = settings.checkpoints
        self._settings = settings
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all models; the first is the default."""
        return tuple(self._files)

    def resolve_name(self, name: str) -> str:
        """Return a valid model name, the default for an empty one. Raises: NotFound."""
        if name and name not in self._files:
            raise NotFound(f"model={name[:MAX_MODEL_NAME]!r}: must be one of {', '.join(self.names)}; choose one")
        return name or self.names[0]

    def get(self, name: str) -> LoadedModel:
        """Return a model, loading it if necessary. Raises: InputError if its file cannot be used."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            self._loaded.move_to_end(name)
            while len(self._loaded) > self._settings.loaded_models:
                self._loaded.popitem(last=False)
            return self._loaded[name]

    def load_all(self) -> None:
        """Load every model once to validate its file, the default last so that it stays in memory."""
        for name in reversed(self.names):
            self.get(name)

    def _load(self, name: str) -> LoadedModel:
        file, settings = self._files[self.resolve_name(name)], self._settings
        lipsync = LipSync.from_checkpoint(file, settings.device, settings.detector, settings.s3fd_weights)
        return LoadedModel(name, hash_checkpoint(file), lipsync)
