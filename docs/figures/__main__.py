"""Draw the figures of the docs from the code: python -m docs.figures"""

from __future__ import annotations

from pathlib import Path

from docs.figures import crop_modes, curves, face_crop, mel_windows, networks, packages, pipeline
from docs.figures.canvas import save

FOLDER = Path(__file__).parents[1] / "images" / "how"
FIGURES = {
    "pipeline": pipeline.draw,
    "packages": packages.draw,
    "mel_windows": mel_windows.draw,
    "crop_modes": crop_modes.draw,
    "face_box": face_crop.draw_box,
    "sample": face_crop.draw_sample,
    "generator": networks.draw_generator,
    "expert_and_discriminator": networks.draw_expert_and_discriminator,
    "curves": curves.draw,
}


def main(folder: Path = FOLDER) -> None:
    """Draw all figures into a folder."""
    for name, draw in FIGURES.items():
        save(folder / f"{name}.svg", draw)


if __name__ == "__main__":
    main()
