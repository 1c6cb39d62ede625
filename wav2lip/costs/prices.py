"""Prices of machines, from the user's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from wav2lip.errors import InputError

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class ClassPrice:
    """Prices per hour of one CPU, one GiB of memory and one GPU of a class of machines."""

    cpu_hour: float = 0.0
    gib_hour: float = 0.0
    gpu_hour: float = 0.0


@dataclass(frozen=True)
class Prices:
    """Prices by class of machine; without any, everything is unpriced."""

    date: str = ""
    currency: str = ""
    classes: Mapping[str, ClassPrice] = field(default_factory=dict)

    def cost(self, usage: Mapping[str, Any]) -> float | None:
        """Return the cost of the granted share over the wall time, lost attempts included; None without a price.

        usage: see `wav2lip.execution.usage.Usage.to_json`.
        """
        price = self.classes.get(usage["host_class"])
        if price is None:
            return None
        per_hour = (
            usage["cpus"] * price.cpu_hour + usage["memory_gib"] * price.gib_hour + usage["gpus"] * price.gpu_hour
        )
        return float((usage["wall_s"] + usage["lost_wall_s"]) / SECONDS_PER_HOUR * per_hour)


def read_prices(path: Path) -> Prices:
    """Read a file like configs/prices/example.yaml. Raises: InputError if it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as YAML ({reason}); copy configs/prices/example.yaml") from error
    try:
        classes = {str(name): ClassPrice(**values) for name, values in content["classes"].items()}
        prices = Prices(str(content["date"]), str(content["currency"]), classes)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: must have date, currency and classes with cpu_hour, gib_hour and gpu_hour ({error}); see "
            "configs/prices/example.yaml"
        ) from error
    for name, price in classes.items():
        if not all(isinstance(value, int | float) and value >= 0 for value in vars(price).values()):
            raise InputError(f"{path}: classes.{name}: prices must be numbers from 0")
    return prices
