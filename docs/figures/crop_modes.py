"""Part of a photo that the SadTalker engine moves in each mode, on a synthetic speaker."""

from __future__ import annotations

from itertools import islice

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from docs.figures.canvas import sheet
from face_detection import build_detector
from wav2lip.sadtalker.source.cropping import MODES, PASTED_MODES, choose_region
from wav2lip.synthetic import Speaker, render, speak

RESULTS = {
    "crop": "the face",
    "extcrop": "the face with a border",
    "resize": "the whole photo",
    "full": "the face, blended\ninto the photo",
    "extfull": "the same with a border",
}
NUM_COLORS, IMAGE_PIXELS = 24, 86  # per image, to keep the file small
PHOTO_WIDTH = 17.0  # units of the sheet
MOVING = "#b3480f"


def draw() -> Figure:
    """Draw the photo with the moving part of each mode, and the frame of the result."""
    speaker = Speaker.from_seed(3)
    frame = next(islice(render(speak(1.0, speaker, 3), speaker, 3), 20, None))
    landmarks = np.array(build_detector("mtcnn").detect([frame])[0][0].landmarks, np.float32)
    scale = PHOTO_WIDTH / frame.shape[1]
    height = frame.shape[0] * scale
    figure, axes = sheet(10, 5.4)
    for column, mode in enumerate(MODES):
        x = 1 + column * (PHOTO_WIDTH + 3)
        _, region = choose_region(mode, frame, landmarks)
        _draw_image(axes, frame, x, 5, PHOTO_WIDTH, height)
        box = np.clip(region.box, 0, [frame.shape[1], frame.shape[0]] * 2)
        left, top, right, bottom = (float(side) * scale for side in box)
        axes.add_patch(Rectangle((x + left, 5 + top), right - left, bottom - top, fc="none", ec=MOVING, lw=2))
        axes.text(x + PHOTO_WIDTH / 2, 3, f"--preprocess {mode}", ha="center")
        result = frame if mode in PASTED_MODES else frame[box[1] : box[3], box[0] : box[2]]
        below = 8 + height
        shown = result.shape[0] * PHOTO_WIDTH / result.shape[1]
        _draw_image(axes, result, x, below, PHOTO_WIDTH, shown)
        axes.text(x + PHOTO_WIDTH / 2, below + height + 1, RESULTS[mode], ha="center", va="top")
    return figure


def _draw_image(axes: Axes, image: np.ndarray, x: float, y: float, width: float, height: float) -> None:
    small = Image.fromarray(image).resize((IMAGE_PIXELS, round(IMAGE_PIXELS * height / width)))
    pixels = np.asarray(small.quantize(NUM_COLORS, dither=Image.Dither.NONE).convert("RGB"))
    axes.imshow(pixels, extent=(x, x + width, y + height, y), interpolation="none", zorder=0)
