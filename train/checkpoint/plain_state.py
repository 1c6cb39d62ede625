"""Typed reading of the plain values in a checkpoint, which may be damaged or of another program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from wav2lip.errors import InputError
from wav2lip.types import PathType

T = TypeVar("T")


def parse_state(kind: type[T], values: object) -> T:
    """Build a dataclass from what `dataclasses.asdict` returned.

    kind: dataclass of numbers, strings, and lists, dicts and dataclasses of them, any of them optional. Missing keys
        get their defaults; unknown ones, as of later versions, are ignored.
    Raises: ValueError naming the key with a value of another type.
    """
    return _convert(kind, values, kind.__name__)  # type: ignore[no-any-return]


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:  # optional
        return None if value is None else _convert(arguments[0], value, name)
    if is_dataclass(kind) and isinstance(value, dict):
        types = get_type_hints(kind)
        missing = [item.name for item in fields(kind) if _is_required(item) and item.name not in value]
        if missing:
            raise ValueError(f"{name}: has no {missing[0]}")
        return kind(**{key: _convert(types[key], value[key], key) for key in types.keys() & value.keys()})  # type: ignore[operator]
    if origin is dict and isinstance(value, dict):
        key_kind, value_kind = arguments
        return {
            _convert(key_kind, key, name): _convert(value_kind, each, f"{name}.{key}") for key, each in value.items()
        }
    if origin is list and isinstance(value, list):
        return [_convert(arguments[0], each, name) for each in value]
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"{name} must not be {value!r:.40}")
    return value


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def read_dict(values: Mapping[Any, Any], key: object) -> dict[str, Any]:
    """Return the dict under a key, empty if there is none. Raises: ValueError if it is something else."""
    value = values.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be a dict, not a {type(value).__name__}")
    return value


@contextmanager
def report_damage(path: PathType) -> Iterator[None]:
    """Turn the ValueError of a value that cannot be restored into the InputError for a file."""
    try:
        yield
    except ValueError as error:
        raise InputError(
            f"{path}: the state of its run is damaged ({error!s:.200}); use an earlier checkpoint, or only its weights "
            "with checkpoint_path=FILE reset_optimizer=true"
        ) from error
