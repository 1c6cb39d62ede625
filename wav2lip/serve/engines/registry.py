"""Engines of a server by name, and what its errors may show."""

from __future__ import annotations

import os
from collections.abc import Mapping

from wav2lip.engines import SADTALKER, WAV2LIP
from wav2lip.errors import InputError
from wav2lip.serve.engines.interface import JobEngine
from wav2lip.serve.engines.lipsync import LipSyncEngine
from wav2lip.serve.engines.named_files import NamedFiles
from wav2lip.serve.engines.sadtalker import SadTalkerEngine
from wav2lip.serve.errors import NotFound
from wav2lip.serve.jobs.model_pool import ModelPool
from wav2lip.serve.settings import MAX_MODEL_NAME, Settings


class EngineRegistry:
    """The engines whose files the settings name."""

    def __init__(self, settings: Settings, models: ModelPool):
        """Raises: InputError if the folder of an engine cannot be used."""
        self._settings, files = settings, NamedFiles(settings)
        self._engines: dict[str, JobEngine] = {WAV2LIP: LipSyncEngine(settings, models, files)}
        if settings.sadtalker is not None:
            self._engines[SADTALKER] = SadTalkerEngine(settings, files)

    @property
    def engines(self) -> Mapping[str, JobEngine]:
        """All engines by name."""
        return self._engines

    def get(self, name: str) -> JobEngine:
        """Return an engine. Raises: InputError if the server does not have it."""
        if name not in self._engines:
            remedy = "; the server needs --sadtalker DIR for sadtalker" if name == SADTALKER else ""
            raise InputError(f"engine={name[:MAX_MODEL_NAME]}: must be one of {', '.join(self._engines)}{remedy}")
        return self._engines[name]

    def resolve_model(self, engine: str, model: str) -> str:
        """Return a model of an engine, the default for an empty name. Raises: NotFound; InputError as `get`."""
        models = self.get(engine).models
        if model and model not in models:
            raise NotFound(f"model={model[:MAX_MODEL_NAME]!r}: must be one of {', '.join(models)}; choose one")
        return model or models[0]

    def load_all(self) -> None:
        """Check the files of all engines. Raises: InputError if one cannot be used."""
        for engine in self._engines.values():
            engine.load()

    def redact(self, message: str) -> str:
        """Replace the paths of the server's files in an error by their file names."""
        settings = self._settings
        for file in (*settings.checkpoints.values(), *settings.enhancers.values()):
            message = message.replace(str(file), file.name)
        if settings.sadtalker is None:
            return message
        folder = str(settings.sadtalker)
        return message.replace(folder + os.sep, "").replace(folder, "the folder of SadTalker")
