"""Files of the server that jobs use by their names in its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from wav2lip.engines import EngineOptions
from wav2lip.errors import InputError
from wav2lip.serve.jobs.options import named_files
from wav2lip.serve.settings import Settings

Options = TypeVar("Options", bound=EngineOptions)


class NamedFiles:
    """Restoration networks, and the generators that draw a mouth."""

    def __init__(self, settings: Settings):
        self._files: Mapping[str, Mapping[str, Path]] = {
            "enhancer": settings.enhancers,
            "background_enhancer": settings.enhancers,
            "mouth": settings.checkpoints,
        }

    def choices(self, options: type[EngineOptions]) -> dict[str, Sequence[str]]:
        """Return the names that each option of an engine may have."""
        return {option: tuple(self._files[option]) for option in named_files(options)}

    def check(self, options: EngineOptions) -> None:
        """Raise InputError for a name that the settings do not have."""
        for option, names in self.choices(type(options)).items():
            name = getattr(options, option)
            if name is not None and name not in names:
                remedy = f"must be one of {', '.join(names)}" if names else "this server has none; remove it"
                raise InputError(f"{option}={name!r}: {remedy}")

    def resolve(self, options: Options) -> Options:
        """Replace the names by the paths of the files. Raises: InputError for an unknown name."""
        self.check(options)
        names = {option: getattr(options, option) for option in named_files(type(options))}
        files: dict[str, Any] = {option: self._files[option][name] for option, name in names.items() if name}
        return replace(options, **files)
