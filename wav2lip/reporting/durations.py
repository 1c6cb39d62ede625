"""Format time spans for people."""

from __future__ import annotations


def format_duration(seconds: float) -> str:
    """Format a time span in its two largest units: "9.0 s", "12 min 5 s", "3 h 20 min" or "2 d 7 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(n for n, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
