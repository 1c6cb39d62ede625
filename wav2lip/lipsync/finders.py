"""Ways to know where the faces are that get new lips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from face_detection import Detector, Face
from face_detection.stream import TrackedFace
from face_detection.tracks import follow, smooth_public
from wav2lip.batches import in_batches
from wav2lip.crops import pad_boxes, whole_pixels
from wav2lip.errors import InputError
from wav2lip.lipsync.choice import Choose, among, chooser
from wav2lip.lipsync.likeness import Describe
from wav2lip.lipsync.options import Options
from wav2lip.lipsync.person import at_point, like_picture
from wav2lip.lipsync.shown import Box, Target
from wav2lip.lipsync.timeline import Finder, Found, Source
from wav2lip.lipsync.track_cache import user_cache
from wav2lip.lipsync.tracking import Following, SourceFaces


def fixed(box: tuple[int, int, int, int]) -> Finder:
    """One face that stays where it is; box: top, bottom, left, right in pixels.

    The finder raises InputError if that does not lie in the frame.
    """
    top, bottom, left, right = box
    targets = [Target((left, top, right, bottom))]

    def find(frames: Iterable[np.ndarray]) -> Iterator[Found]:
        for frame in frames:
            height, width = frame.shape[:2]
            if not (0 <= top < bottom <= height and 0 <= left < right <= width):
                raise InputError(
                    f"--box {top} {bottom} {left} {right} (top bottom left right) does not lie in a frame of "
                    f"{width} x {height}"
                )
            yield frame, targets

    return find


def known(boxes: Sequence[Box | None]) -> Finder:
    """One face whose box in each frame is known, None where there is none."""

    def find(frames: Iterable[np.ndarray]) -> Iterator[Found]:
        return ((frame, [] if box is None else [Target(box)]) for frame, box in zip(frames, boxes, strict=False))

    return find


def tracked(faces: SourceFaces, path: object, fps: float, options: Options, choose: Callable[[], Choose]) -> Finder:
    """The chosen faces of a video, followed while it is read, padded.

    path: what a sentence calls the video. choose: called once the frames are asked for.
    The finder raises InputError at the end if there was no face in any frame, or with strict at a frame without one.
    """

    def find(frames: Iterable[np.ndarray]) -> Iterator[Found]:
        chosen, count = choose(), 0
        seen = taken = painted = False
        for frame, present in faces(frames):
            meant = chosen(present)
            targets = _targets(meant, options, *frame.shape[:2])
            if options.strict and not targets:
                raise InputError(_no_face_in(count, fps, "--strict"))
            count += 1
            seen, taken, painted = seen or bool(present), taken or bool(meant), painted or bool(targets)
            yield frame, targets
        if not seen:
            raise InputError(f"{path}: no face found in any of its {count} frames; give a --box or another")
        if not taken:
            raise InputError(f"{path}: the face that is asked for is in none of its {count} frames; choose another")
        if not painted:
            raise InputError(f"--pads leave nothing of the face boxes of {path}; give larger ones")

    return find


def followed(
    source: Source,
    again: Callable[[], Iterable[np.ndarray]],
    length: int,
    detector: Detector,
    options: Options,
    describe: Describe,
) -> Finder:
    """The faces that the options ask for, followed while the source is read or known from an earlier run.

    again: the frames of the source from the first one on, for who has to look at them beforehand.
    length: frames of the source that are needed at most. describe: tells persons apart, where that is asked for.
    """
    fps = float(source.fps)
    following = Following.at(source.fps, detector.name, options.smooth)
    faces = SourceFaces(source, length, detector, following, user_cache() if options.cache else None)

    def choose() -> Choose:
        if options.face_at is not None:
            return among(at_point(faces(again()), options.face_at, fps, describe, options.alike))
        if options.face_like is not None:
            return among(like_picture(faces(again()), options.face_like, detector, describe, options.alike))
        return chooser(str(options.faces))

    return tracked(faces, source.path, fps, options, choose)


def _targets(faces: Sequence[TrackedFace], options: Options, height: int, width: int) -> list[Target]:
    """Faces in whole pixels, with the pads; none of those of which these leave nothing."""
    if not faces:
        return []
    boxes = whole_pixels(pad_boxes(np.stack([face.box for face in faces]), options.pads, height, width), height, width)
    named = zip(boxes, faces, strict=True)
    return [Target(box, face.landmarks, face.person) for box, face in named if box is not None]


def public_boxes(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int, options: Options, fps: float
) -> list[Box | None]:
    """The release's boxes: the most certain face of each frame, smoothed with the boxes after it.

    Raises: InputError if a frame has no face.
    """
    faces, size = _detected(frames, detector, batch_size)
    boxes = follow(faces, compat="public")
    missing = np.flatnonzero(np.isnan(boxes).any(axis=1))
    if len(missing):
        raise InputError(_no_face_in(int(missing[0]), fps, "--compat public"))
    padded = pad_boxes(boxes.astype(np.int64), options.pads, *size)
    return whole_pixels((smooth_public(padded) if options.smooth else padded).astype(np.float64), *size)


def _detected(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int
) -> tuple[list[list[Face]], tuple[int, int]]:
    """The faces of each frame, a batch of frames in memory at a time, and the frames' height and width."""
    faces: list[list[Face]] = []
    size = (0, 0)
    for batch in in_batches(frames, batch_size):
        faces += detector.detect(batch)
        size = batch[0].shape[:2]
    return faces, size


def _no_face_in(frame: int, fps: float, demanded_by: str) -> str:
    """The sentence for a frame without a face, where a flag demands one."""
    return (
        f"frame {frame} ({frame / fps:.2f} s): no face found; give a --box, another video, or leave out {demanded_by}"
    )
