"""Options that clients may set for a job, derived from those of its engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from wav2lip.engine.option_parsing import (
    OptionSpec,
    RequestOptions,
    client_specs,
    client_values,
    option_specs,
    parse_client_options,
)
from wav2lip.engines import ENGINES, SADTALKER, WAV2LIP, EngineOptions
from wav2lip.errors import InputError
from wav2lip.serve.settings import MAX_MODEL_NAME

# Options with a file of the server: clients, and the options of a job, give its name in the server's settings.
NAMED_FILES = ("enhancer", "background_enhancer", "mouth")


def engine_name(options: EngineOptions) -> str:
    """Return the name of the engine that the options belong to."""
    return next(name for name, kind in ENGINES.items() if isinstance(options, kind))


def parse_job_options(values: Mapping[str, Any], engine: str = WAV2LIP, reference: Path | None = None) -> EngineOptions:
    """Build options from a client's values by name. The faces of a client's video are never cached.

    reference: video whose motion SadTalker takes.
    Raises: InputError for an unknown name or a value out of range.
    """
    options = ENGINES[engine]
    names = named_files(options)
    others: dict[str, Any] = {name: _check_name(name, values[name]) for name in names if values.get(name)}
    if engine == SADTALKER:
        others["ref_video"] = reference
    rest = {name: value for name, value in values.items() if name not in names}
    return parse_client_options(options, rest, cache=False, **others)


def parse_stored_options(
    stored: Mapping[str, Any], engine: str = WAV2LIP, reference: Path | None = None
) -> EngineOptions:  # fmt: skip
    """Build options from values that any version of the server has stored, dropping those that this one rejects."""
    valid: dict[str, Any] = {}
    rejected, count = dict(stored), -1
    while len(valid) > count:  # an option may require another one that follows
        count = len(valid)
        for name, value in list(rejected.items()):
            try:
                parse_job_options({**valid, name: value}, engine, reference)
            except InputError:
                continue
            valid[name] = rejected.pop(name)
    return parse_job_options(valid, engine, reference)


def job_values(options: EngineOptions) -> dict[str, Any]:
    """Return the values that a client may set, which `parse_job_options` takes."""
    return client_values(options) | {name: getattr(options, name) for name in named_files(type(options))}


def named_files(options: type[RequestOptions]) -> list[str]:
    """Return the options of an engine that are names of files of the server."""
    return [item.name for item in fields(options) if item.name in NAMED_FILES]


def _check_name(option: str, name: object) -> str:
    if not isinstance(name, str) or len(name) > MAX_MODEL_NAME:
        raise InputError(f"{option}: must be a name of at most {MAX_MODEL_NAME} characters")
    return name


def build_schema(name: str, engine: str) -> type[BaseModel]:
    """Build the API schema of the options that clients may set; unknown names are rejected."""
    options = ENGINES[engine]
    types, defaults, specs = get_type_hints(options), options(), option_specs(options)
    names = {option: (str | None, Field(None, description=_describe_name(specs[option])))
             for option in named_files(options)}  # fmt: skip
    return create_model(
        name,
        __config__=ConfigDict(extra="forbid"),
        **{  # type: ignore[call-overload]
            option: (types[option], _build_field(spec, getattr(defaults, option)))
            for option, spec in client_specs(options).items()
        },
        **names,
    )


def _build_field(spec: OptionSpec, default: object) -> Any:
    enum = {"enum": list(spec.enum)} if spec.enum else None
    return Field(default, description=spec.help, json_schema_extra=enum)  # type: ignore[arg-type]


def _describe_name(spec: OptionSpec) -> str:
    return f"{spec.help}; a name that GET /v1/engines lists"


SCHEMAS: Mapping[str, type[BaseModel]] = {
    WAV2LIP: build_schema("LipSyncOptions", WAV2LIP), SADTALKER: build_schema("SadTalkerOptions", SADTALKER)
}  # fmt: skip
