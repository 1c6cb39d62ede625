"""Draw the pictures of the docs from the code: python -m docs.figures"""

from __future__ import annotations

from pathlib import Path

from docs.figures import curves, faces, mel_windows, networks, parts, pipeline
from docs.figures.canvas import save

FOLDER = Path(__file__).parents[1] / "images" / "how"
PICTURES = {
    "pipeline": pipeline.draw,
    "parts": parts.draw,
    "mel_windows": mel_windows.draw,
    "face_box": faces.draw_box,
    "sample": faces.draw_sample,
    "generator": networks.draw_generator,
    "judges": networks.draw_judges,
    "curves": curves.draw,
}


def main(folder: Path = FOLDER) -> None:
    """Draw all of them into a folder."""
    for name, draw in PICTURES.items():
        save(folder / f"{name}.svg", draw)


if __name__ == "__main__":
    main()
