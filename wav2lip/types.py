"""Type aliases shared by the library."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

PathType = str | PathLike[str]
OnProblem = Callable[[str], object]  # called with a message where a file is corrupt or unusual
