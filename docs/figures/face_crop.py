"""Face box, crop and a training sample of the generator, on frames of a synthetic speaker."""

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

from docs.figures.canvas import AUDIO, INK, NETWORK, arrow, box, sheet
from face_detection import build_detector
from wav2lip.audio import melspectrogram
from wav2lip.audio.windows import WINDOW_COLUMNS, first_column
from wav2lip.faces.boxes import pad_boxes, round_boxes
from wav2lip.faces.crops import FACE_SIZE, crop_box, resize
from wav2lip.faces.framing import PUBLIC_FRAMING
from wav2lip.faces.tensors import from_network, generator_input, to_network
from wav2lip.synthetic import Speaker, render, speak

FRAME, REFERENCE_FRAME = 20, 34
DURATION_S = 1.4
NUM_COLORS = 48  # per image, to keep the files small
DETECTOR = "mtcnn"


@cache
def _frames() -> tuple[list[np.ndarray], np.ndarray]:
    speaker = Speaker.from_seed(3)
    speech = speak(DURATION_S, speaker, 3)
    frames = list(islice(render(speech, speaker, 3), int(25 * DURATION_S)))
    return [frames[FRAME], frames[REFERENCE_FRAME]], melspectrogram(speech.wav)


def draw_box() -> Figure:
    """Draw a detected box, its padding, and the crop."""
    (frame, _), _ = _frames()
    detected = build_detector(DETECTOR).detect([frame])[0][0].box
    boxes = np.array([detected])
    left, top, right, bottom = detected
    padded = pad_boxes(boxes, PUBLIC_FRAMING.pads, *frame.shape[:2])
    figure, axes = sheet(8, 3.5)
    _draw_image(axes, frame, 3, 3, 25.6, 28.8)
    scale = 25.6 / frame.shape[1]
    axes.add_patch(Rectangle((3 + left * scale, 3 + top * scale), (right - left) * scale, (bottom - top) * scale,
                             fc="none", ec="#e0a11b", lw=2))  # fmt: skip
    axes.add_patch(Rectangle((3 + left * scale, 3 + bottom * scale), (right - left) * scale,
                             (padded[0, 3] - bottom) * scale, fc="#e0a11b", alpha=0.45, lw=0))  # fmt: skip
    axes.text(30, 8, "the box, as of S3FD:\nhairline to chin, ear to ear,\n"
              f"{right - left:.0f} x {bottom - top:.0f} pixels here", va="center")  # fmt: skip
    axes.text(30, 17, "--pads 0 10 0 0 (upstream): ten more pixels\nbelow (shaded)", va="center")
    crop = resize(crop_box(frame, round_boxes(padded, *frame.shape[:2])[0]), FACE_SIZE, FACE_SIZE)  # type: ignore[arg-type]
    arrow(axes, (30, 26), (52, 26))
    axes.text(41, 24.6, f"cropped, resized to {FACE_SIZE} x {FACE_SIZE}", ha="center")
    _draw_image(axes, crop, 54, 5, 24, 24)
    axes.add_patch(Rectangle((54, 17), 24, 12, fc="none", ec="#b3480f", lw=2))
    axes.text(66, 31, "the lower half: generated,\nand input of the expert", ha="center", va="center",
              color="#b3480f")  # fmt: skip
    return figure


def draw_sample() -> Figure:
    """Draw a training sample of the generator."""
    frames, mel = _frames()
    boxes = pad_boxes(np.array([each[0].box for each in build_detector(DETECTOR).detect(frames)]), PUBLIC_FRAMING.pads,
                      *frames[0].shape[:2])  # fmt: skip
    target, reference = (
        resize(crop_box(frame, pixel_box), FACE_SIZE, FACE_SIZE)
        for frame, pixel_box in zip(frames, round_boxes(boxes, *frames[0].shape[:2]), strict=True)
        if pixel_box is not None
    )
    inputs = generator_input(*(to_network(torch.from_numpy(face.copy()))[None] for face in (target, reference)))
    first = first_column(FRAME - 1)
    window = mel[:, first : first + WINDOW_COLUMNS]
    figure, axes = sheet(8, 4.0)
    channels = inputs.shape[1] // 2
    for number, (y, label) in enumerate([(3, "target frame:\nlower half 0"), (21, "reference:\nanother frame")]):
        _draw_image(axes, _to_image(inputs[0, channels * number : channels * (number + 1)]), 14, y, 14, 14)
        axes.text(13, y + 7, label, ha="right", va="center", fontsize=8.5)
    axes.text(21, 37, f"faces: {_sizes(inputs[0])}, BGR twice", ha="center")
    axes.imshow(window, origin="lower", aspect="auto", cmap="Blues", interpolation="nearest",
                extent=(36, 42, 17, 3))  # fmt: skip
    axes.text(39, 19.3, f"mel: 1 x {window.shape[0]} x {window.shape[1]}", ha="center", va="center")
    box(axes, 34, 23, 12, 8, "generator", NETWORK)
    arrow(axes, (39, 20.4), (39, 23))
    arrow(axes, (28, 27), (34, 27))
    arrow(axes, (28, 11), (34, 24))
    arrow(axes, (46, 27), (50, 27))
    box(axes, 50, 23, 10, 8, f"output:\n{channels} x {FACE_SIZE} x {FACE_SIZE}", AUDIO, 8)
    _draw_image(axes, target, 64, 3, 14, 14)
    axes.text(71, 19, "ground truth", ha="center", va="center")
    axes.text(56, 11, "L1 loss", ha="center", va="center", fontsize=8.5)
    arrow(axes, (56, 23), (63.5, 14))
    box(axes, 63, 23, 16, 3.4, "expert: sync", NETWORK, 8)
    box(axes, 63, 27.8, 16, 3.4, "discriminator: real?", NETWORK, 8)
    arrow(axes, (60, 26), (63, 24.7))
    arrow(axes, (60, 28), (63, 29.5))
    axes.text(71, 34, "on five consecutive frames", ha="center", fontsize=8.5, color=INK)
    _restore_limits(axes, 8, 4.0)
    return figure


def _sizes(values: Tensor) -> str:
    return " x ".join(map(str, values.shape))


def _to_image(values: Tensor) -> np.ndarray:
    return from_network(values).numpy()


def _draw_image(axes: Axes, image: np.ndarray, x: float, y: float, width: float, height: float) -> None:
    quantized = np.asarray(Image.fromarray(image).quantize(NUM_COLORS, dither=Image.Dither.NONE).convert("RGB"))
    axes.imshow(quantized, extent=(x, x + width, y + height, y), interpolation="none", aspect="auto")
    _restore_limits(axes, *axes.figure.get_size_inches())  # type: ignore[union-attr]


def _restore_limits(axes: Axes, width: float, height: float) -> None:
    """Restore the limits of the axes, which imshow changes."""
    axes.set_xlim(0, 10 * width)
    axes.set_ylim(10 * height, 0)
