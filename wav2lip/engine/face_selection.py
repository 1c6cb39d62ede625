"""Selection of the faces to animate: by size or position, by a point, or by a reference image of the person."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import astuple

import numpy as np

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.engine.interface import AssignVoices, Detection, FaceTarget, LocatedFrame, Source
from wav2lip.errors import InputError
from wav2lip.faces.boxes import Pads, pad_boxes, round_boxes

Selector = Callable[[Sequence[TrackedFace]], Sequence[TrackedFace]]  # called for every frame, in order

SPEAKING = "speaking"  # whoever speaks in the source
NAMES = ("largest", "leftmost", "all", SPEAKING)


def check_selection(faces: str) -> None:
    """Raise InputError for a value of --faces that is neither a name nor different positions."""
    words = faces.split(",")
    is_positions = all(word.isascii() and word.isdigit() for word in words)
    if faces not in NAMES and not is_positions:
        raise InputError(
            f"--faces={faces}: must be {', '.join(NAMES)}, or 0, 1, 2 ... from left to right, or several "
            "of these numbers with commas"
        )
    if is_positions and len(set(map(int, words))) < len(words):
        raise InputError(f"--faces={faces}: names a face twice; give each audio another face")


def parse_positions(faces: str) -> list[int]:
    """Return the positions in a value of --faces, from left to right; empty for a name."""
    return [] if faces in NAMES else list(map(int, faces.split(",")))


def make_selector(faces: str) -> Selector:
    """Build a selector.

    faces: "all" for every face; "largest", "leftmost" or an index from left to right for one face, which is followed
        for as long as it is present.
    """
    if faces == "all":
        return lambda present: present
    if faces == "largest":
        return _StickySelector(lambda present: max(present, key=_area, default=None))
    index = 0 if faces == "leftmost" else int(faces)
    return _StickySelector(lambda present: sorted(present, key=center_x)[index] if index < len(present) else None)


class _StickySelector:
    """Follow the person who was selected first until that track ends."""

    def __init__(self, select: Callable[[Sequence[TrackedFace]], TrackedFace | None]):
        self.select = select
        self.person: int | None = None

    def __call__(self, present: Sequence[TrackedFace]) -> list[TrackedFace]:
        for face in present:
            if face.person == self.person:
                return [face]
        selected = self.select(present)
        self.person = None if selected is None else selected.person
        return [] if selected is None else [selected]


def center_x(face: TrackedFace) -> float:
    """Return the horizontal center of a face in pixels."""
    return float(face.box[0] + face.box[2]) / 2


def _area(face: TrackedFace) -> float:
    left, top, right, bottom = face.box.tolist()
    return (right - left) * (bottom - top)


def select_faces(
    detections: Iterable[Detection], assign: AssignVoices, source: Source, pads: Pads, strict: bool,
    num_voices: int = 1, has_rest: bool = False,
) -> Generator[LocatedFrame, None, None]:  # fmt: skip
    """Yield each frame with its selected faces, padded.

    assign: selects the faces and their voices. strict: require a face in every frame.
    has_rest: add the other faces too, whose mouths rest.
    Raises: InputError at a frame without a face if strict, or at the end if a voice has no face in any frame.
    """
    path, count = source.path, 0
    any_detected = any_padded = False
    found: set[int] = set()  # voices
    for frame, faces in detections:
        voices = assign(faces)
        selected = [face for face in faces if has_rest or face.person in voices]
        height, width = frame.shape[:2]
        targets = pad_targets(selected, pads, height, width, voices)
        is_speaking = any(target.voice is not None for target in targets)
        if strict and not is_speaking:
            raise InputError(no_face_message(count, float(source.fps), "--strict"))
        count += 1
        found.update(voices.values())
        any_detected, any_padded = any_detected or bool(faces), any_padded or is_speaking
        yield frame, targets
    if not any_detected and getattr(source, "is_static_video", False):
        raise InputError(f"{path}: no face found in the one frame that --static uses; select a later one with --start")
    if not any_detected and source.static:
        raise InputError(f"{path}: no face found in the image; add --box or use another one")
    if not any_detected:
        raise InputError(f"{path}: no face found in any of its {count} frames; add --box or use another video")
    if not found:
        raise InputError(f"{path}: the selected face is in none of its {count} frames; select another")
    if missing := sorted(set(range(num_voices)) - found):
        raise InputError(
            f"{path}: the face for audio {missing[0] + 1} is in none of its {count} frames; select another face"
        )
    if not any_padded:
        raise InputError(f"--pads={astuple(pads)}: must leave a part of the face boxes of {path}")


def pad_targets(
    faces: Sequence[TrackedFace], pads: Pads, height: int, width: int, voices: Mapping[int, int]
) -> list[FaceTarget]:  # fmt: skip
    """Pad and round the boxes of faces, dropping empty ones. voices: by person; the others rest."""
    if not faces:
        return []
    boxes = round_boxes(pad_boxes(np.stack([face.box for face in faces]), pads, height, width), height, width)
    pairs = zip(boxes, faces, strict=True)
    return [
        FaceTarget(box, face.landmarks, face.person, face.filled, voices.get(face.person))
        for box, face in pairs
        if box is not None
    ]


def no_face_message(frame: int, fps: float, flag: str) -> str:
    """Return the message for a frame without a face; flag: the option that requires one."""
    return f"frame {frame} ({frame / fps:.2f} s): no face found; add --box, use another video, or remove {flag}"
