"""Share of many inputs that one of several runs works on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from wav2lip.errors import InputError


@dataclass(frozen=True)
class Shard:
    """Share `number` of `count`: an input belongs to the same share in every run, also after others are added."""

    number: int  # from 1 to count
    count: int

    @classmethod
    def parse(cls, text: str, name: str = "shard=") -> Shard:
        """Parse I/N. name: of the option in messages."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        number, count = (int(group) for group in match.groups()) if match else (0, 0)
        if not 1 <= number <= count:
            raise InputError(f"{name}{text}: must be I/N with I from 1 to N, for example 1/4")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def contains(self, key: bytes | str) -> bool:
        """Return whether an input belongs to this share. key: of its content or its settings."""
        key = key.encode() if isinstance(key, str) else key
        return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % self.count == self.number - 1
