"""Face crops: cut a box out of a frame, resize it, and paste it back."""

from __future__ import annotations

import cv2
import numpy as np

from wav2lip.faces.boxes import Box

FACE_SIZE = 96  # pixels: width and height of a face crop for the published networks


def crop_box(frame: np.ndarray, box: Box) -> np.ndarray:
    """Return the part of a frame (H, W, 3) inside a box of whole pixels, as a view."""
    left, top, right, bottom = box
    return frame[top:bottom, left:right]


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize bilinearly, also to downscale, as in the training data of every published checkpoint."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def resample(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize by cubic convolution (Keys 1981), or by area means where both sides shrink.

    For images that a viewer sees. Bilinear enlargement keeps less detail of a face of 96 pixels.
    """
    shrinks = width < image.shape[1] and height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def paste(frame: np.ndarray, face: np.ndarray, box: Box) -> None:
    """Write a face (h, w, 3) uint8 into a frame in place, resized to fill the box."""
    left, top, right, bottom = box
    frame[top:bottom, left:right] = resize(face, right - left, bottom - top)
