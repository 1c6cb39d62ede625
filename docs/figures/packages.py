"""Import graph of the packages, read from the code."""

from __future__ import annotations

import ast
from pathlib import Path

from matplotlib.figure import Figure

from docs.figures.canvas import FILE, NETWORK, arrow, box, sheet

ROOT = Path(__file__).parents[2]
POSITIONS = {"train": (6, 2), "preprocess": (36, 2), "configs": (62, 10), "wav2lip": (21, 14), "models": (6, 26),
          "face_detection": (36, 26)}  # fmt: skip
WIDTH, HEIGHT = 16, 5


def imported_packages(package: str) -> set[str]:
    """Return the other packages that the files of a package import."""
    names: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return (names & POSITIONS.keys()) - {package}


def draw() -> Figure:
    """Draw an arrow from each package to those that it imports."""
    figure, axes = sheet(8, 3.3)
    for package, (x, y) in POSITIONS.items():
        for other in sorted(imported_packages(package)):
            u, v = POSITIONS[other]
            level, down = y == v, v > y
            start = (x + WIDTH, y + HEIGHT / 2) if level else (x + WIDTH / 2, y + HEIGHT if down else y)
            end = (u, v + HEIGHT / 2) if level else (u + WIDTH / 2, v if down else v + HEIGHT)
            if other == "configs":
                start, end = (x + WIDTH, y + HEIGHT / 2), (u, v + HEIGHT / 2)
            if package == "configs":
                start, end = (x, y + HEIGHT - 1), (u + WIDTH, v + HEIGHT / 2)
            arrow(axes, start, end)
    for package, (x, y) in POSITIONS.items():
        box(axes, x, y, WIDTH, HEIGHT, package, FILE if package == "configs" else NETWORK)
    return figure
