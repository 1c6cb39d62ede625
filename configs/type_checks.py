"""Check a composed config against a dataclass whose annotations are the types and ranges of its keys.

OmegaConf's own structured configs know no unions such as `int | Literal["auto"]` and would convert 1 to true.
"""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from wav2lip.errors import InputError

MISSING = "???"  # default of a key that must be set
TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a word",
    Path: "a path",
    NoneType: "null",
}
PLURAL_TYPE_NAMES = {int: "integers", float: "numbers", str: "words", Path: "paths"}
Schema = TypeVar("Schema")


@dataclass(frozen=True)
class Range:
    """Limits of a number; `above` and `below` exclude the limit itself."""

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None

    def contains(self, value: float) -> bool:
        """Return whether a number is within the limits."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        limits = ((">=", self.minimum), (">", self.above), ("<=", self.maximum), ("<", self.below))
        return " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)


def is_path(kind: Any) -> bool:
    """Return whether a type is a path, or a path or something else; not a list of paths."""
    return kind is Path or (get_origin(kind) in (Union, UnionType) and Path in get_args(kind))


def parse(cfg: DictConfig, schema: type[Schema]) -> Schema:
    """Check a composed config and return it as a dataclass; paths that are numbers become text in `cfg` too.

    Raises: InputError for the first key that is not set or has a wrong value.
    """
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    missing = sorted(key for key, kind in keys(schema) if _select(values, key) == MISSING)
    if missing:
        raise InputError(f"{missing[0]}: must be set; add {missing[0]}=... to the command")
    parsed = _build(schema, values, "")
    for key, kind in keys(schema):
        if is_path(kind) and isinstance(_select(values, key), int):
            OmegaConf.update(cfg, key, str(_select(values, key)))
    return parsed


def keys(schema: type, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the keys of a schema with their types; a key in a group is dotted."""
    entries: list[tuple[str, Any]] = []
    for name, kind in get_type_hints(schema, include_extras=True).items():
        entries += keys(kind, f"{prefix}{name}.") if _is_group(kind) else [(f"{prefix}{name}", kind)]
    return entries


def _select(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _is_group(kind: Any) -> TypeGuard[type]:
    return isinstance(kind, type) and is_dataclass(kind)


def _build(schema: type[Schema], values: dict[str, Any], prefix: str) -> Schema:
    arguments: dict[str, Any] = {}
    for name, kind in get_type_hints(schema, include_extras=True).items():
        key, value = f"{prefix}{name}", values.get(name)
        if _is_group(kind):
            if not isinstance(value, dict):
                raise InputError(f"{key}={format_value(value)}: must be a group of keys; set {key}.KEY=... instead")
            arguments[name] = _build(kind, value, f"{key}.")
        elif matches(value, kind):
            arguments[name] = value
        else:
            raise InputError(f"{key}={format_value(value)}: must be {describe(kind)}; see --help")
    return schema(**arguments)


def matches(value: Any, kind: Any) -> bool:
    """Return whether a value has a type; exactly, since True is an int to Python."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return matches(value, arguments[0]) and all(limit.contains(value) for limit in arguments[1:])
    if origin in (Union, UnionType):
        return any(matches(value, each) for each in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is list:
        return isinstance(value, list) and all(matches(item, arguments[0]) for item in value)
    if origin is tuple:
        pairs = isinstance(value, list) and len(value) == len(arguments)
        return pairs and all(matches(item, each) for item, each in zip(value, arguments, strict=True))
    if kind is float:
        return type(value) in (int, float) and value == value
    return type(value) in ((str, int) if kind is Path else (kind,))  # a folder may be called 2024


def describe(kind: Any) -> str:
    """Describe a type in words, for messages and docs/configuration.md."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{describe(arguments[0])} {' '.join(map(str, arguments[1:]))}"
    if origin in (Union, UnionType):
        return " or ".join(describe(each) for each in arguments)
    if origin is Literal:
        return arguments[0] if len(arguments) == 1 else f"one of {', '.join(arguments)}"
    if origin is list:
        return f"a list of {'[step, weight]' if get_origin(arguments[0]) is tuple else PLURAL_TYPE_NAMES[arguments[0]]}"
    return TYPE_NAMES[kind]


def format_value(value: Any) -> str:
    """Format a value as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(format_value(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{format_value(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
