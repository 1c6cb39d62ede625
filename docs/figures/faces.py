"""What of a frame is a face, and what a generator is shown of it; the frames are of the made-up speaker."""

from __future__ import annotations

from functools import cache
from itertools import islice

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from docs.figures.canvas import INK, NETWORK, SOUND, arrow, box, sheet
from face_detection import build_detector
from wav2lip.audio import melspectrogram
from wav2lip.crops import (
    FACE_SIZE,
    Pads,
    cut,
    from_network,
    generator_input,
    pad_boxes,
    resize,
    to_network,
    whole_pixels,
)
from wav2lip.sample import Speaker, render, speak
from wav2lip.windows import WINDOW_COLUMNS, frame_columns

FRAME, REFERENCE, LENGTH = 20, 34, 1.4  # frames, seconds
COLOURS = 48  # of a picture, so that its file stays small
DETECTOR = "mtcnn"  # its boxes are fitted to S3FD's


@cache
def _frames() -> tuple[list[np.ndarray], np.ndarray]:
    speaker = Speaker.from_seed(3)
    speech = speak(LENGTH, speaker, 3)
    frames = list(islice(render(speech, speaker, 3), int(25 * LENGTH)))
    return [frames[FRAME], frames[REFERENCE]], melspectrogram(speech.wav)


def draw_box() -> Figure:
    """A detected box, the pads below, and the crop that comes of it."""
    (frame, _), _ = _frames()
    found = build_detector(DETECTOR).detect([frame])[0][0].box
    boxes = np.array([found])
    left, top, right, bottom = found
    padded = pad_boxes(boxes, Pads(), *frame.shape[:2])
    figure, axes = sheet(8, 3.5)
    _picture(axes, frame, 3, 3, 25.6, 28.8)
    scale = 25.6 / frame.shape[1]
    axes.add_patch(Rectangle((3 + left * scale, 3 + top * scale), (right - left) * scale, (bottom - top) * scale,
                             fc="none", ec="#e0a11b", lw=2))  # fmt: skip
    axes.add_patch(Rectangle((3 + left * scale, 3 + bottom * scale), (right - left) * scale,
                             (padded[0, 3] - bottom) * scale, fc="#e0a11b", alpha=0.45, lw=0))  # fmt: skip
    axes.text(30, 8, "the box: S3FD's kind,\nhairline to chin, ear to ear,\n"
              f"{right - left:.0f} x {bottom - top:.0f} pixels here", va="center")  # fmt: skip
    axes.text(30, 17, f"--pads {' '.join(map(str, (0, 10, 0, 0)))}: ten pixels\nmore below (shaded)", va="center")
    crop = resize(cut(frame, whole_pixels(padded, *frame.shape[:2])[0]), FACE_SIZE, FACE_SIZE)  # type: ignore[arg-type]
    arrow(axes, (30, 26), (52, 26))
    axes.text(41, 24.6, f"cut, stretched to {FACE_SIZE} x {FACE_SIZE}", ha="center")
    _picture(axes, crop, 54, 5, 24, 24)
    axes.add_patch(Rectangle((54, 17), 24, 12, fc="none", ec="#b3480f", lw=2))
    axes.text(66, 31, "the lower half: what is repainted,\nand what the expert looks at", ha="center", va="center",
              color="#b3480f")  # fmt: skip
    return figure


def draw_sample() -> Figure:
    """A training sample of the generator, frame by frame."""
    frames, mel = _frames()
    boxes = pad_boxes(np.array([each[0].box for each in build_detector(DETECTOR).detect(frames)]), Pads(),
                      *frames[0].shape[:2])  # fmt: skip
    target, reference = (
        resize(cut(frame, place), FACE_SIZE, FACE_SIZE)
        for frame, place in zip(frames, whole_pixels(boxes, *frames[0].shape[:2]), strict=True)
        if place is not None
    )
    shown = generator_input(*(to_network(torch.from_numpy(face.copy()))[None] for face in (target, reference)))
    first = frame_columns(FRAME)
    window = mel[:, first : first + WINDOW_COLUMNS]
    figure, axes = sheet(8, 4.0)
    channels = shown.shape[1] // 2
    for number, (y, words) in enumerate([(3, "to repaint:\nlower half 0"), (21, "reference: another\nmoment, whole")]):
        _picture(axes, _seen(shown[0, channels * number : channels * (number + 1)]), 14, y, 14, 14)
        axes.text(13, y + 7, words, ha="right", va="center", fontsize=8.5)
    axes.text(21, 37, f"faces: {_sizes(shown[0])}, BGR twice", ha="center")
    axes.imshow(window, origin="lower", aspect="auto", cmap="Blues", interpolation="nearest",
                extent=(36, 42, 17, 3))  # fmt: skip
    axes.text(39, 19.3, f"mel: 1 x {window.shape[0]} x {window.shape[1]}", ha="center", va="center")
    box(axes, 34, 23, 12, 8, "generator", NETWORK)
    arrow(axes, (39, 20.4), (39, 23))
    arrow(axes, (28, 27), (34, 27))
    arrow(axes, (28, 11), (34, 24))
    arrow(axes, (46, 27), (50, 27))
    box(axes, 50, 23, 10, 8, f"made:\n{channels} x {FACE_SIZE} x {FACE_SIZE}", SOUND, 8)
    _picture(axes, target, 64, 3, 14, 14)
    axes.text(71, 19, "truth", ha="center", va="center")
    axes.text(56, 11, "L1: like the truth,\npixel by pixel", ha="center", va="center", fontsize=8.5)
    arrow(axes, (56, 23), (63.5, 14))
    box(axes, 63, 23, 16, 3.4, "expert: lips and sound", NETWORK, 8)
    box(axes, 63, 27.8, 16, 3.4, "critic: a photograph?", NETWORK, 8)
    arrow(axes, (60, 26), (63, 24.7))
    arrow(axes, (60, 28), (63, 29.5))
    axes.text(71, 34, "of five frames in a row", ha="center", fontsize=8.5, color=INK)
    _restore(axes, 8, 4.0)
    return figure


def _sizes(values: Tensor) -> str:
    return " x ".join(map(str, values.shape))


def _seen(values: Tensor) -> np.ndarray:
    return from_network(values).numpy()


def _picture(axes: Axes, picture: np.ndarray, x: float, y: float, width: float, height: float) -> None:
    few = np.asarray(Image.fromarray(picture).quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB"))
    axes.imshow(few, extent=(x, x + width, y + height, y), interpolation="none", aspect="auto")
    _restore(axes, *axes.figure.get_size_inches())  # type: ignore[union-attr]


def _restore(axes: Axes, width: float, height: float) -> None:
    """imshow sets limits of its own."""
    axes.set_xlim(0, 10 * width)
    axes.set_ylim(10 * height, 0)
