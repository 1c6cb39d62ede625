"""Build the command line, client input and labels from the fields of an options dataclass.

Each field carries an `OptionSpec` in its metadata. See `wav2lip.engine.options` for the fields.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import not_
from typing import Any, TypeVar

from wav2lip.errors import InputError

T = TypeVar("T", bound="RequestOptions")
AUTO = "auto"
TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")  # [[hours:]minutes:]seconds


@dataclass(frozen=True)
class ClientLimits:
    """Limits of a value that comes from a remote client; stricter than those of the library."""

    minimum: float = -math.inf
    maximum: float = math.inf
    max_characters: int = 100


@dataclass(frozen=True)
class OptionSpec:
    """Presentation and limits of one option."""

    help: str
    flag: str | None = ""  # name on the command line; "": the name of the field; None: no flag
    flag_default: Any = None  # default on the command line; None: the default of the field
    from_flag: Callable[[Any], Any] | None = None  # converts the flag's value to the field's
    parse: Callable[[str], Any] | None = None  # converts one word of the command line; None: a switch without value
    metavar: str | tuple[str, ...] | None = None
    is_list: bool = False  # any number of values; the field is a tuple
    cli_hint: str = ""  # added to the help on the command line
    choices: Mapping[str, str] = field(default_factory=dict)  # permitted values and their labels on the web page
    is_open: bool = False  # other values than the choices are permitted too
    is_automatic: bool = False  # AUTO stands for None
    label: str = ""  # shown on the web page
    client: ClientLimits | None = None  # None: remote clients may not set it

    @property
    def size(self) -> int | None:
        """Number of values of a tuple; None for a single value."""
        names = self.metavar.split(",") if isinstance(self.metavar, str) else self.metavar
        return len(names) if names is not None and len(names) > 1 else None

    @property
    def enum(self) -> tuple[str, ...] | None:
        """The only permitted values; None if there are others."""
        return tuple(self.choices) if self.choices and not self.is_open else None


def spec(text: str, **settings: Any) -> dict[str, OptionSpec]:
    """Return the metadata of a field; settings: see `OptionSpec`."""
    return {"spec": OptionSpec(text, **settings)}


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """Base of all options: checks each value against its `OptionSpec`."""

    def __post_init__(self) -> None:
        for name, option in option_specs(type(self)).items():
            value = getattr(self, name)
            if option.enum and value not in option.enum:
                raise InputError(f"--{name}={value}: must be one of {', '.join(option.enum)}")
            if isinstance(value, tuple) and not option.is_list and len(value) != option.size:
                raise InputError(f"--{name}={list(value)}: must be {option.size} numbers")


def option_specs(options: type[RequestOptions]) -> dict[str, OptionSpec]:
    """Return the specs of all options by name, in order."""
    return {item.name: item.metadata["spec"] for item in fields(options)}


def client_specs(options: type[RequestOptions]) -> dict[str, OptionSpec]:
    """Return the specs of the options that a remote client may set."""
    return {name: option for name, option in option_specs(options).items() if option.client is not None}


def choice_labels(options: type[RequestOptions], name: str) -> list[tuple[str, str]]:
    """Return the choices of an option as (label, value), in the form that Gradio's components take."""
    return [(label, value) for value, label in option_specs(options)[name].choices.items()]


def file_flags(options: type[RequestOptions]) -> list[str]:
    """Return the flags that take a file name."""
    specs = option_specs(options)
    return [f"--{specs[name].flag or name}" for name in file_options(options)]


def file_options(options: type[RequestOptions]) -> list[str]:
    """Return the names of the options that are files."""
    return [name for name, option in option_specs(options).items() if option.metavar == "FILE"]


def add_arguments(parser: argparse.ArgumentParser, options: type[RequestOptions]) -> None:
    """Add a flag for each option."""
    for item in fields(options):
        option: OptionSpec = item.metadata["spec"]
        if option.flag is not None:
            default = item.default if option.flag_default is None else option.flag_default
            parser.add_argument(f"--{option.flag or item.name}", **_argument(option, default))


def _argument(option: OptionSpec, default: object) -> dict[str, Any]:
    if option.from_flag is not_:
        text = f"{option.cli_hint} {option.help}"
    else:
        text = "; ".join(filter(None, (option.help, option.cli_hint)))
    if option.parse is None:
        return {"help": text, "action": "store_true"}
    argument: dict[str, Any] = {"help": text, "default": default, "type": option.parse, "metavar": option.metavar}
    if option.is_automatic and isinstance(option.metavar, tuple):
        first, *others = option.metavar
        metavar, parse = (first, " ".join(others)), _allow_auto(option.parse)
        return argument | {"nargs": "+", "default": AUTO, "type": parse, "metavar": metavar}
    if isinstance(option.metavar, tuple) and isinstance(default, tuple):
        return argument | {"nargs": option.size, "default": list(default)}
    if option.is_list:
        return argument | {"nargs": "+", "action": "extend", "default": None}
    if option.parse is parse_bool:
        return argument | {"nargs": "?", "const": True}
    return argument | {"choices": option.enum}


def _allow_auto(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        return text if text == AUTO else parse(text)

    return number


def parse_options(options: type[T], arguments: argparse.Namespace) -> T:
    """Build options from parsed flags. Raises: InputError for values out of range or that exclude each other."""
    values = {}
    for name, option in option_specs(options).items():
        if option.flag is not None:
            value = getattr(arguments, option.flag or name)
            value = tuple(value) if isinstance(value, list) else value
            if option.is_list and value is None:
                continue  # the default of the field
            if option.is_automatic and value in (AUTO, (AUTO,)):
                value = None
            values[name] = value if option.from_flag is None else option.from_flag(value)
    return options(**values)


def format_flags(options: RequestOptions) -> list[str]:
    """Return the words of a command line with the options that differ from their defaults."""
    words: list[str] = []
    for item in fields(options):
        option, value = item.metadata["spec"], getattr(options, item.name)
        if option.flag is None or value == item.default:
            continue
        words.append(f"--{option.flag or item.name}")
        if isinstance(value, tuple):
            numbers = list(map(str, value))
            words += numbers if option.is_list or isinstance(option.metavar, tuple) else [",".join(numbers)]
        elif option.parse is not None:
            words.append(str(value))
    return words


def parse_client_options(options: type[T], values: Mapping[str, Any], **others: Any) -> T:
    """Build options from a remote client's values by name; lists, as in JSON, stand for tuples.

    others: options that the client may not set.
    Raises: InputError for an unknown name and for a value outside the limits of clients or of the library.
    """
    specs = client_specs(options)
    unknown = sorted(values.keys() - specs.keys())
    if unknown:
        raise InputError(f"{', '.join(unknown)}: unknown option; use one of {', '.join(specs)}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    values = {name: None if specs[name].is_automatic and value == AUTO else value for name, value in values.items()}
    for name, value in values.items():
        _check_client_value(name, value, specs[name])
    try:
        return options(**values, **others)
    except TypeError as error:
        raise InputError(f"options {sorted(values)}: one value has the wrong type ({error})") from error


def _check_client_value(name: str, value: object, option: OptionSpec) -> None:
    limits = option.client or ClientLimits()
    values = value if isinstance(value, tuple) else (value,)
    if any(item is not None and isinstance(item, str) != (option.parse is str) for item in values):
        raise InputError(f"{name}={value!r}: must be {'text' if option.parse is str else 'numbers or true or false'}")
    numbers = [item for item in values if isinstance(item, int | float)]
    if not all(limits.minimum <= number <= limits.maximum and math.isfinite(number) for number in numbers):
        raise InputError(f"{name}={value}: must be finite and from {limits.minimum:g} to {limits.maximum:g}")
    if isinstance(value, str) and len(value) > limits.max_characters:
        raise InputError(f"{name}={value[:20]}...: must be at most {limits.max_characters} characters")


def client_values(options: RequestOptions) -> dict[str, Any]:
    """Return the values of the options that a remote client may set."""
    return {name: getattr(options, name) for name in client_specs(type(options))}


def parse_bool(text: str) -> bool:
    """Parse the value of a flag that takes true or false."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r}: must be true or false")
    return words[text.lower()]


def parse_point(text: str) -> tuple[float, float, float]:
    """Parse SECONDS,X,Y."""
    try:
        time, x, y = map(float, text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: must be SECONDS,X,Y, for example 3.5,200,180") from error
    return time, x, y


def parse_time(text: str) -> float:
    """Parse a time of the command line into seconds: 83.5, 1:23.5 or 0:01:23.5."""
    match = TIME.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be a time as seconds, MM:SS or HH:MM:SS, for example 83.5 or 1:23.5"
        )
    hours, minutes, rest = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)
