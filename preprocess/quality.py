"""How good a clip is to learn from: figures of its pictures and its sound, and the limits they are held to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from preprocess.duplicates import SOUND_SECONDS, fingerprint
from wav2lip.audio import MEL_RATE, SAMPLE_RATE, mel_pieces
from wav2lip.clips import AUDIO, Clip
from wav2lip.errors import InputError
from wav2lip.media import read_audio
from wav2lip.windows import FPS

SAMPLE = 16  # frames looked at closely, spread over the clip
SIDE = 96  # pixels to which crops are scaled: what the networks see
MIDDLE = slice(SIDE // 6, SIDE - SIDE // 6)  # of a crop: face without hair and background
REBLUR = 9  # pixels of SIDE averaged over to see how much a picture has to lose
BLACK, WHITE = 16, 250  # luma from which on there is nothing to be seen

THUMB = 48  # pixels to which frames are scaled to be compared with the one before
PATCH = 8  # pixels of THUMB, about the size of a mouth corner: a change there is a change
STILL = 1.0  # grey levels of 255, mean over the patch that changed most: coding noise stays below it

BLOCK = round(SAMPLE_RATE / FPS)  # samples of which the level is measured: the 40 ms of a frame
SILENT_DB = -50.0  # dBFS, RMS over a block
CLIPPED_DB = -0.1  # dBFS, of single samples


@dataclass(frozen=True)
class Quality:
    """What was measured of a clip. None: there is nothing at hand to measure it by."""

    face_pixels: float  # median of the shorter side of the face, in pixels of the source
    sharpness: float  # in [0, 1], at 96 x 96: share of the detail that one more blur takes away. Sharp faces 0.45-0.7
    exposure: float  # mean luma of the middle of the face in [0, 1]
    black_share: float  # pixels there with luma below 16 of 255
    white_share: float  # pixels there with luma of 250 and more
    head_turn: float | None  # median of `turn`: 0 from the front, 0.25 about 30 degrees to the side, 0.4 about 50
    filled_share: float | None  # frames whose box was put in over a gap of the detector
    silent_share: float  # 40 ms blocks of sound below -50 dBFS
    clipped_share: float  # samples of sound at or above -0.1 dBFS
    frozen_share: float  # frames that look like the one before
    hash: str  # what `duplicates.find` knows the clip by

    def as_json(self) -> dict[str, Any]:
        """The figures rounded as far as they mean something."""
        return {name: round(v, 4) if isinstance(v, float) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Limits:
    """What a clip must keep to be trained on; None lifts a limit."""

    face_pixels: float | None = 48  # at least: half the side that the networks see
    sharpness: float | None = 0.42  # at least: a blur over 2% of the face's side is below it
    exposure: float | None = 0.08  # at least, so that it holds for faces of any colour
    white_share: float | None = 0.4  # at most
    head_turn: float | None = 0.4  # at most: the far corner of the mouth is still seen
    filled_share: float | None = 0.2  # at most
    silent_share: float | None = 0.8  # at most
    clipped_share: float | None = 0.003  # at most: speech 20 dB too loud is above, a limiter at full scale below
    frozen_share: float | None = 0.5  # at most: half is what a 12.5 fps camera gives

    def __post_init__(self) -> None:
        for name, limit in asdict(self).items():
            if limit is not None and limit < 0:
                raise InputError(f"quality.{name}={limit}: is below 0; give a limit of 0 or more, or null for none")


# In the order in which a clip is judged: what decides, whether more is better, the cause, the sentence.
RULES = (
    ("face_pixels", True, "small face", "its face is {value:.0f} pixels wide, below {limit:.0f}"),
    ("exposure", True, "dark", "its face is dark: mean luma {value:.3f} of 1, below {limit:g}"),
    ("white_share", False, "overexposed", "{value:.0%} of its face is white, above {limit:.0%}"),
    ("sharpness", True, "blurred", "its face is blurred: sharpness {value:.2f}, below {limit:g}"),
    ("frozen_share", False, "frozen", "{value:.0%} of its frames repeat the one before, above {limit:.0%}"),
    ("filled_share", False, "face often lost", "{value:.0%} of its faces were put in over gaps, above {limit:.0%}"),
    ("head_turn", False, "head turned away", "its head is turned to the side by {value:.2f}, above {limit:g}"),
    ("silent_share", False, "silent", "{value:.0%} of its sound is below -50 dBFS, above {limit:.0%}"),
    ("clipped_share", False, "clipped sound", "{value:.1%} of its sound is cut off at full scale, above {limit:.1%}"),
)


def judge(quality: Quality, limits: Limits) -> tuple[str, str] | None:
    """The first limit that a clip breaks: its cause in few words, and a sentence with the figure; None if none."""
    for name, more_is_better, cause, sentence in RULES:
        value, limit = getattr(quality, name), getattr(limits, name)
        if value is None or limit is None or (value >= limit if more_is_better else value <= limit):
            continue
        return cause, f"{sentence.format(value=value, limit=limit)}; quality.{name} changes the limit"
    return None


def measure(clip: Clip, info: dict[str, Any] | None) -> Quality:
    """Look at and listen to a clip: closely at 16 frames, at all of them small, at the sound in a stream.

    info: its clip.json. Without it the crops tell the size of the face, as they are cut at the source's size.
    Raises: InputError if a picture or the sound is damaged.
    """
    chosen = clip.frames[np.linspace(0, len(clip.frames) - 1, min(SAMPLE, len(clip.frames))).astype(int)]
    crops = [_grey(clip.path / f"{number}.jpg", cv2.IMREAD_GRAYSCALE) for number in chosen]
    faces = [_scaled(crop, SIDE)[MIDDLE, MIDDLE] for crop in crops]
    side = min(min(crop.shape) for crop in crops)
    silent, clipped, mel = _listen(clip.path / AUDIO)
    boxes = [box for box in (info or {}).get("boxes", ()) if box is not None]
    sizes = [min(right - left, bottom - top) for left, top, right, bottom in boxes] or [min(c.shape) for c in crops]
    landmarks = [points for points in (info or {}).get("landmarks") or () if points is not None]
    filled = (info or {}).get("filled")
    return Quality(
        face_pixels=float(np.median(sizes)),
        sharpness=float(np.median([sharpness(face) for face in faces])),
        exposure=float(np.mean(faces)) / 255,
        black_share=float(np.mean([face < BLACK for face in faces])),
        white_share=float(np.mean([face >= WHITE for face in faces])),
        head_turn=float(np.median([turn(np.asarray(points)) for points in landmarks])) if landmarks else None,
        filled_share=None if filled is None else len(filled) / len(clip.frames),
        silent_share=silent,
        clipped_share=clipped,
        frozen_share=_frozen_share(clip, side),
        hash=fingerprint(crops, mel, int(clip.frames[-1]) + 1),
    )


def _grey(path: Path, flag: int) -> np.ndarray:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); preprocess its video again") from error
    picture = cv2.imdecode(data, flag) if len(data) else None
    if picture is None:
        raise InputError(f"{path}: is not a whole picture; preprocess its video again")
    return picture


def _scaled(grey: np.ndarray, side: int) -> np.ndarray:
    how = cv2.INTER_AREA if min(grey.shape) > side else cv2.INTER_LINEAR
    return cv2.resize(grey, (side, side), interpolation=how)


def sharpness(face: np.ndarray) -> float:
    """How sharp a grey picture (h, w) is, in [0, 1], whatever its brightness and contrast.

    Crete et al., "The blur effect" (2007): blurred once more along a row or a column, a sharp picture loses much of
    the difference between neighbours, a blurred one little. This is the share lost, in the direction that loses less.
    """
    face = face.astype(np.float32)
    lost = []
    for axis, window in ((0, (1, REBLUR)), (1, (REBLUR, 1))):
        before = np.abs(np.diff(face, axis=axis))
        after = np.abs(np.diff(cv2.blur(face, window), axis=axis))
        total = float(before.sum())
        lost.append(float(np.maximum(0, before - after).sum()) / total if total else 0.0)
    return min(lost)


def turn(points: np.ndarray) -> float:
    """How far a head is turned to the side, by its five landmarks (5, 2): eyes, nose, corners of the mouth.

    The distance of the nose from the line between the middles of the eyes and of the mouth, in lengths of that line,
    which a turn to the side does not shorten. About half the sine of the angle; tilting the head changes nothing.
    """
    eyes, nose, mouth = points[:2].mean(axis=0), points[2], points[3:].mean(axis=0)
    axis, to_nose = mouth - eyes, nose - eyes
    length = float(np.hypot(*axis))
    return abs(float(axis[0] * to_nose[1] - axis[1] * to_nose[0])) / length**2 if length else 0.0


def _frozen_share(clip: Clip, side: int) -> float:
    """Share of frames, of those that follow the one before at once, that look the same.

    side: shorter side of the crops in pixels, by which JPEGs are decoded at a fraction of their size.
    """
    same = pairs = 0
    earlier: tuple[int, np.ndarray] | None = None
    for number in clip.frames:
        grey = _grey(clip.path / f"{number}.jpg", _reduced(side))
        small = _scaled(grey, THUMB).astype(np.float32)
        if earlier is not None and number == earlier[0] + 1:
            pairs += 1
            same += float(cv2.blur(np.abs(small - earlier[1]), (PATCH, PATCH)).max()) < STILL
        earlier = int(number), small
    return same / pairs if pairs else 0.0


def _reduced(side: int) -> int:
    if side >= 8 * THUMB:
        return cv2.IMREAD_REDUCED_GRAYSCALE_8
    if side >= 4 * THUMB:
        return cv2.IMREAD_REDUCED_GRAYSCALE_4
    return cv2.IMREAD_REDUCED_GRAYSCALE_2 if side >= 2 * THUMB else cv2.IMREAD_GRAYSCALE


def _listen(path: Path) -> tuple[float, float, np.ndarray]:
    """Share of silent blocks, share of clipped samples, and the mel (80, T) of the first 50 seconds."""
    silent = blocks = clipped = samples = 0
    beginning: list[np.ndarray] = []
    for block in _in_blocks(path):
        level = np.mean(np.square(block), axis=1)
        silent += int(np.sum(level < 10 ** (SILENT_DB / 10)))
        clipped += int(np.sum(np.abs(block) >= 10 ** (CLIPPED_DB / 20)))
        if blocks * BLOCK < SOUND_SECONDS * SAMPLE_RATE:
            beginning.append(block.ravel())
        blocks, samples = blocks + len(block), samples + block.size
    if not blocks:
        return 1.0, 0.0, np.zeros((80, 0), np.float32)
    mel = np.concatenate(list(mel_pieces(beginning)), axis=1)[:, : int(SOUND_SECONDS * MEL_RATE)]
    return silent / blocks, clipped / samples, mel


def _in_blocks(path: Path) -> Iterator[np.ndarray]:
    """The sound as (n, 640) float32: whole blocks, what is left over at the end is dropped."""
    held = np.zeros(0, np.float32)
    for piece in read_audio(path, SAMPLE_RATE):
        held = np.concatenate([held, piece])
        if len(held) >= SAMPLE_RATE:
            whole = len(held) // BLOCK * BLOCK
            yield held[:whole].reshape(-1, BLOCK)
            held = held[whole:]
    if len(held) >= BLOCK:
        yield held[: len(held) // BLOCK * BLOCK].reshape(-1, BLOCK)
