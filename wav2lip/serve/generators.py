"""Generators by the names that clients use, loaded once and kept ready."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wav2lip.lipsync import LipSync
from wav2lip.serve.refusals import NotThere
from wav2lip.serve.settings import Settings


@dataclass(frozen=True)
class Generator:
    """A network that is ready."""

    name: str
    sha256: str  # of its file
    lipsync: LipSync


class Generators:
    """A bounded number of networks in memory; the one used longest ago goes first."""

    def __init__(self, settings: Settings):
        self._files: Mapping[str, Path] = settings.checkpoints
        self._settings = settings
        self._warm: OrderedDict[str, Generator] = OrderedDict()
        self._loading = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may ask for; the first is the default."""
        return tuple(self._files)

    def check(self, name: str) -> str:
        """The name itself, or the default for an empty one. Raises: NotThere."""
        if name and name not in self._files:
            raise NotThere(f"there is no model {name[:100]!r}; choose one of {', '.join(self.names)}")
        return name or self.names[0]

    def get(self, name: str) -> Generator:
        """The network, read now if it is not warm. Raises: InputError if its file cannot be used."""
        with self._loading:
            if name not in self._warm:
                self._warm[name] = self._load(name)
            self._warm.move_to_end(name)
            while len(self._warm) > self._settings.warm:
                self._warm.popitem(last=False)
            return self._warm[name]

    def load_all(self) -> None:
        """Read every file once, the default last so that it stays, so that a wrong one is known at start."""
        for name in reversed(self.names):
            self.get(name)

    def _load(self, name: str) -> Generator:
        file, settings = self._files[self.check(name)], self._settings
        lipsync = LipSync.from_checkpoint(file, settings.device, settings.detector, settings.s3fd_weights)
        weights = file.with_suffix(".bin") if file.suffix.lower() == ".xml" else file  # of OpenVINO's two files
        with weights.open("rb") as opened:
            return Generator(name, hashlib.file_digest(opened, "sha256").hexdigest(), lipsync)
