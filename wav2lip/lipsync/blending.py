"""How a generated face goes back into its frame: the whole box, or softly the lower face alone in the frame's colours.

A generator is responsible for the lower half of its crop (spec, section 4.3: the upper half is shown to it as it is),
so the upper half it gives back is the frame blurred by reconstruction. What leaks at seams besides is its colour: a
network is off by some levels, by other ones in every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from wav2lip.crops import paste, resize
from wav2lip.lipsync.shown import Shown, Target

BLENDS = ("feather", "box")

# Masks and colours are worked out in cells of the box and resized: they have no detail.
MASK_CELLS = 64  # across and down
COLOUR_CELLS = 24  # divides every resolution that a generator may have

# For a face without landmarks; the means over five real clips (MTCNN, default pads) are 0.51, 0.74 and 0.35.
USUAL_MOUTH = (0.5, 0.735)  # its middle, in widths and heights of the box
USUAL_DOWN = 0.35  # heights of the box, from the middle of the eyes to that of the mouth
SHORTEST = 0.15  # of the same: landmarks that are nearer to each other belong to something else

# The region painted anew, from the middle of the mouth, in distances from there to the middle of the eyes.
ACROSS, UP, DOWN = 1.05, 0.75, 0.8
ROUND = 3.0  # exponent of its outline: 2 is an ellipse, larger ones are nearer to a box
SOFT = 0.35  # of the way from the middle to the outline, over which the mask falls from 1 to 0
EDGE = 0.1  # of the box, over which it falls to 0 towards an edge or the middle line of the box

MOUTH = (0.62, 0.5)  # across and down, in the same distances: where lips and jaw move, colours are not compared
REACH = 4.0  # cells: standard deviation of the blur that carries colour into where it is not compared
UNLIKE = 12.0  # levels: cells that differ by more count for little, they show other things
MEMORY = 0.6  # of the difference in colour, kept from frame to frame
NEW_SHOT = 24.0  # levels of mean change of the upper face from frame to frame, after which nothing is kept


class Blend(Protocol):
    """A way back into the frame, for one request: it may remember the frames before."""

    unused: float  # share of a generated face, from above, that it makes no use of

    def __call__(self, shown: Shown, target: Target, crop: np.ndarray, face: np.ndarray) -> None:
        """Put a generated face into its frame, in place.

        crop: (R, R, 3) uint8, the face as it was. face: the same shape, with new lips.
        """


def build_blend(name: str) -> Blend:
    """One of BLENDS, fresh."""
    return Feather() if name == "feather" else PasteBox()


class PasteBox:
    """The public paste: the whole box, upper half included."""

    unused = 0.0

    def __call__(self, shown: Shown, target: Target, crop: np.ndarray, face: np.ndarray) -> None:
        """See `Blend`."""
        paste(shown.frame, face, target.box)


@dataclass(frozen=True)
class Place:
    """Where a mouth is in a box; the unit is the height of the box."""

    mouth: np.ndarray  # (2,) x and y of its middle
    down: np.ndarray  # (2,) from the middle of the eyes to the middle of the mouth
    aspect: float  # width of the box

    def from_mouth(self, cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the centres of cells of the box are, seen from the mouth: along the lips and down the face.

        Returns: twice (cells, cells), in distances from eyes to mouth.
        """
        x = (_centres(cells) * self.aspect - self.mouth[0])[None]
        y = (_centres(cells) - self.mouth[1])[:, None]
        down, squared = self.down, float(self.down @ self.down)
        return (x * down[1] - y * down[0]) / squared, (x * down[0] + y * down[1]) / squared


@dataclass(frozen=True)
class _Seen:
    """What is kept of a person from one frame to the next."""

    number: int  # of the frame
    looks: np.ndarray  # (cells / 2, cells, 3) float32: the upper half of the face
    colour: np.ndarray  # (cells, cells, 3) float32 levels to be added to the generated face


class Feather:
    """The lower face alone, through a soft mask that follows it, in the colours of the frame."""

    unused = 1 / 3  # see `colour_difference`

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def __call__(self, shown: Shown, target: Target, crop: np.ndarray, face: np.ndarray) -> None:
        """See `Blend`."""
        left, top, right, bottom = target.box
        width, height = right - left, bottom - top
        place = place_of(target)
        matched = self._matched(shown.number, target.person, place, crop, face)
        middle = height // 2
        mask = lower_face_mask(place, open_edges(target, shown.frame.shape))
        weight = resize(mask, width, height)[middle:]
        region = shown.frame[top + middle : bottom, left:right]
        new = resize(matched, width, height)[middle:]
        region[:] = cv2.blendLinear(np.ascontiguousarray(region), np.ascontiguousarray(new), 1 - weight, weight)

    def _matched(self, number: int, person: int, place: Place, crop: np.ndarray, face: np.ndarray) -> np.ndarray:
        """The generated face in the colours of the frame."""
        was, made = _cells(crop), _cells(face)
        colour, looks = colour_difference(was, made, place), was[: COLOUR_CELLS // 2]
        last = self._seen.get(person)
        if last is not None and number == last.number + 1 and np.abs(looks - last.looks).mean() < NEW_SHOT:
            colour = MEMORY * last.colour + (1 - MEMORY) * colour
        self._seen[person] = _Seen(number, looks, colour)
        return np.asarray(cv2.add(face, resize(colour, *face.shape[1::-1]), dtype=cv2.CV_8U))


def place_of(target: Target) -> Place:
    """Where the mouth is in the box of a target: by its landmarks, else where it usually is."""
    left, top, right, bottom = target.box
    if target.landmarks is not None:
        points = (np.asarray(target.landmarks, np.float32) - (left, top)) / (bottom - top)
        eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
        if np.hypot(*(mouth - eyes)) > SHORTEST and mouth[1] > 0.5:  # else they belong to something else
            return Place(mouth, mouth - eyes, (right - left) / (bottom - top))
    aspect = (right - left) / (bottom - top)
    return Place(np.array([USUAL_MOUTH[0] * aspect, USUAL_MOUTH[1]]), np.array([0.0, USUAL_DOWN]), aspect)


def open_edges(target: Target, frame_shape: tuple[int, ...]) -> tuple[bool, bool, bool]:
    """Whether the box ends at the left, right, lower edge of the frame: there the face goes on, and needs no seam."""
    left, _, right, bottom = target.box
    return left == 0, right == frame_shape[1], bottom == frame_shape[0]


def lower_face_mask(place: Place, open_to: tuple[bool, bool, bool] = (False, False, False)) -> np.ndarray:
    """How much of the generated face is taken, over a box.

    open_to: left, right and lower edges that it need not fall to.
    Returns: (MASK_CELLS, MASK_CELLS) float32 in [0, 1], 0 in the upper half.
    """
    along, below = place.from_mouth(MASK_CELLS)
    down = np.where(below < 0, below / -UP, 0 if open_to[2] else below / DOWN)
    outline = ((np.abs(along) / ACROSS) ** ROUND + down**ROUND) ** (1 / ROUND)  # 0 in the middle of the mouth
    u = _centres(MASK_CELLS)
    sides = _rise(np.minimum(u + open_to[0], 1 - u + open_to[1]) / EDGE)
    ends = _rise((u - 0.5) / EDGE) * _rise((1 - u + open_to[2]) / EDGE)
    return (_rise((1 - outline) / SOFT) * sides[None] * ends[:, None]).astype(np.float32)


def colour_difference(was: np.ndarray, made: np.ndarray, place: Place) -> np.ndarray:
    """What has to be added to a generated face so that its colours are those of the frame, without detail.

    was, made: (COLOUR_CELLS, COLOUR_CELLS, 3) float32 levels, the face before and after.
    They are compared in the lower half and a little above, around where the mouth moves; from there the difference
    is carried inwards.
    """
    along, below = place.from_mouth(COLOUR_CELLS)
    difference = was - made
    weight = _rise((along / MOUTH[0]) ** 2 + (below / MOUTH[1]) ** 2 - 0.6)
    weight = weight / (1 + (difference / UNLIKE) ** 2).mean(axis=2)
    weight[: COLOUR_CELLS // 3] = 0
    weight = np.maximum(weight, 1e-4)[..., None].astype(np.float32)
    spread = cv2.GaussianBlur(np.dstack([weight * difference, weight]), (0, 0), REACH, borderType=cv2.BORDER_REFLECT)
    return spread[..., :3] / spread[..., 3:]


def _cells(face: np.ndarray) -> np.ndarray:
    """Means over the cells of a face, float32 levels."""
    return cv2.resize(face, (COLOUR_CELLS, COLOUR_CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)


def _centres(cells: int) -> np.ndarray:
    return (np.arange(cells) + 0.5) / cells


def _rise(x: np.ndarray) -> np.ndarray:
    """From 0 at 0 to 1 at 1, smoothly."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
