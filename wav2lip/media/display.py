"""Decoded frames as a player shows them: progressive, BT.709, square pixels, upright, opaque."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from wav2lip.media.color import COLORSPACE_UNSPECIFIED, HDR_PROBLEM, ColorConverter, flatten_alpha, is_bt709
from wav2lip.types import OnProblem

MAX_PIXEL_ASPECT = 8  # a larger ratio is an error of the header
TRC_UNSPECIFIED = 2  # FFmpeg's AVCOL_TRC_UNSPECIFIED
DOLBY_VISION_PROBLEM = (
    "is Dolby Vision without a layer for other players (profile 5), which is not converted, so its colors are wrong; "
    "export it as SDR, HLG or HDR10"
)
MAX_TILT_DEGREES = 0.5  # smaller angles between a display matrix and a quarter turn are rounding


def is_hd(width: int, height: int) -> bool:
    """Return True if players assume BT.709 for an untagged video of this size, and not BT.601."""
    return width >= 1280 or height > 576


def display_size(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Return the size at which players show frames, before rotation; the height is preserved.

    pixel_aspect: width of a pixel over its height; None or 0: unknown.
    """
    if not pixel_aspect or pixel_aspect == 1 or not 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT:
        return width, height
    return max(2, 2 * round(width * pixel_aspect / 2)), height


def is_dolby_vision_alone(frame: av.VideoFrame) -> bool:
    """Return True for a frame of Dolby Vision that is not HDR10, HLG or SDR for other players: profile 5."""
    return frame.color_trc == TRC_UNSPECIFIED and "DOVI_METADATA" in (_side_data(frame) or ())


def deinterlace(frames: Iterator[av.VideoFrame], name: str, on_problem: OnProblem) -> Iterator[av.VideoFrame]:
    """Deinterlace the frames that are flagged as interlaced, without a change of the frame rate.

    name: of the file, for the message.
    """
    graph: av.filter.Graph | None = None
    key: tuple[int, int, str] | None = None
    for frame in frames:
        new_key = frame.width, frame.height, frame.format.name
        if graph is not None and new_key != key:
            yield from _pull(graph, end=True)
            graph = None
        if graph is None:
            if not frame.interlaced_frame:
                yield frame
                continue
            if key is None:
                on_problem(f"{name}: its video is interlaced; deinterlaced")
            key, graph = new_key, _build_deinterlacer(frame)
        graph.vpush(frame)
        yield from _pull(graph)
    if graph is not None:
        yield from _pull(graph, end=True)


def _build_deinterlacer(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )  # fmt: skip
    filter_context = graph.add("bwdif", mode="send_frame", deint="interlaced")
    graph.link_nodes(source, filter_context, graph.add("buffersink")).configure()
    return graph


def _pull(graph: av.filter.Graph, end: bool = False) -> Iterator[av.VideoFrame]:
    """Yield the frames that a graph has finished. end: no more frames follow."""
    if end:
        graph.vpush(None)
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


class FrameRenderer:
    """Convert the decoded frames of one video to RGB images of one size, that of its first frame."""

    def __init__(self, name: str, pixel_aspect: Fraction | None, on_problem: OnProblem):
        """name: of the file, for messages. pixel_aspect: see `display_size`."""
        self._name, self._pixel_aspect, self._on_problem = name, pixel_aspect, on_problem
        self._size: tuple[int, int] | None = None
        self._color = ColorConverter()
        self._reported: set[str] = set()

    def set_size(self, frame: av.VideoFrame) -> None:
        """Set the size of all images from the first frame of the video, if it is not set yet."""
        self._size = self._size or display_size(frame.width, frame.height, self._pixel_aspect)

    def render(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the image of a frame, (H, W, 3) uint8 RGB."""
        self.set_size(frame)
        assert self._size is not None
        width, height = self._size
        matrix = _display_matrix(frame)
        if is_dolby_vision_alone(frame):
            self._report(DOLBY_VISION_PROBLEM)
        if not is_bt709(frame.color_trc, frame.color_primaries):
            self._report(HDR_PROBLEM)
            frame = self._color.convert(frame, width, height)
        elif (
            frame.colorspace == COLORSPACE_UNSPECIFIED and not frame.format.is_rgb and is_hd(frame.width, frame.height)
        ):
            frame.colorspace = Colorspace.ITU709
        has_alpha = any(component.is_alpha for component in frame.format.components)
        # Without dst_colorspace, PyAV before 17 ignores the frame's own color space.
        image = frame.to_ndarray(
            format="rgba" if has_alpha else "rgb24", dst_colorspace=Colorspace.ITU601, width=width, height=height,
            interpolation=Interpolation.BICUBIC if (frame.width, frame.height) != self._size else None,
        )  # fmt: skip
        if has_alpha:
            image, is_transparent = flatten_alpha(image)
            if is_transparent:
                self._report("its transparent parts are shown on white")
        return image if matrix is None else self._orient(image, matrix)

    def _orient(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Apply a display matrix (2, 2)."""
        (a, c), (b, d) = matrix
        if abs(a) + abs(d) >= abs(b) + abs(c):
            turn = np.diag(np.sign((a, d)))
        else:
            turn = np.array([(0, np.sign(c)), (np.sign(b), 0)])
            image = image.swapaxes(0, 1)
        columns, rows = turn.sum(axis=1).astype(int)  # 1, or -1 if mirrored
        image = np.ascontiguousarray(image[::rows, ::columns])
        tilt = matrix @ turn.T
        degrees = math.degrees(math.atan2(tilt[1, 0] - tilt[0, 1], tilt[0, 0] + tilt[1, 1]))
        if abs(degrees) <= MAX_TILT_DEGREES:
            return image
        self._report(f"is shown turned by {degrees:+.1f} degrees off a quarter turn, with black corners")
        center = image.shape[1] / 2, image.shape[0] / 2
        return cv2.warpAffine(image, cv2.getRotationMatrix2D(center, -degrees, 1.0), image.shape[1::-1])

    def _report(self, problem: str) -> None:
        if problem not in self._reported:
            self._reported.add(problem)
            self._on_problem(f"{self._name}: {problem}")


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Return the linear part (2, 2) of a frame's display matrix, with columns of length 1; None for none.

    A pixel at (x, y) is shown at matrix @ (x, y), up to a translation.
    """
    side_data = _side_data(frame)
    if side_data is None:
        angle = math.radians(frame.rotation)  # counterclockwise; 0 without a matrix
        matrix = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    elif "DISPLAYMATRIX" in side_data:
        a, b, _, c, d, *_ = np.frombuffer(side_data["DISPLAYMATRIX"], np.int32) / 65536  # native byte order
        matrix = np.array([(a, c), (b, d)])
    else:
        return None
    lengths = np.hypot(*matrix)
    if not lengths.all() or abs(np.linalg.det(matrix / lengths)) < 0.5:
        return None  # not a rotation or reflection
    matrix /= lengths
    return None if np.array_equal(matrix, np.eye(2)) else matrix


def _side_data(frame: av.VideoFrame) -> Any:
    """Return a frame's side data by type; None if it has a type that PyAV does not know, such as EXIF in PyAV 18."""
    try:
        return frame.side_data
    except ValueError:
        return None
