"""Preparation of a face: locate it in a video or image once, and write frames and faces to a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from wav2lip.engine.face_selection import SPEAKING
from wav2lip.engine.inputs import FaceInput, check_outfile, open_source
from wav2lip.engine.interface import FaceTarget, FrameItem, Source
from wav2lip.engine.prepared.face import ENGINE
from wav2lip.engine.prepared.file import PreparedFile, write_prepared
from wav2lip.engine.prepared.frame_order import IDLE_S, find_idle_part
from wav2lip.errors import InputError
from wav2lip.faces.crops import crop_box, resize
from wav2lip.faces.framing import resolve_pads
from wav2lip.faces.roll_alignment import align_roll, keep_roll
from wav2lip.lipsync import LipSync
from wav2lip.lipsync.closed_mouth_reference import ClosedMouthReference
from wav2lip.lipsync.options import LipSyncOptions
from wav2lip.types import PathType

MOTION_WIDTH = 64  # pixels to which frames are downscaled to measure motion
NO_LANDMARKS = np.full((5, 2), np.nan, np.float32)
NO_BOX = np.full(4, -1, np.int32)


@dataclass
class PreparedRows:
    """What is known of the frames written so far."""

    boxes: list[np.ndarray]
    landmarks: list[np.ndarray]
    missed: list[bool]  # see `FaceTarget`
    motion: list[float]  # from each frame to the next
    first: tuple[FaceTarget, np.ndarray] | None = None  # the first face and its crop
    shape: tuple[int, ...] = ()  # shape of a frame
    num_faces: int = 0


def prepare_face(
    engine: LipSync, face: FaceInput, outfile: PathType, options: LipSyncOptions, seconds: float = 20.0,
    note: str = "",
) -> tuple[int, int]:  # fmt: skip
    """Write a prepared face.

    engine: with the generator that will speak. face: see `LipSync.stream`. options: selection of the face and frames.
    seconds: length of the used part of a video at most; a second of 512 x 512 at 25 fps takes 20 MB.
    note: license and consent, kept in the file.
    Returns: number of frames and of frames with a face.
    Raises: InputError if the input cannot be used or has no face.
    """
    check_outfile(outfile, face)
    if options.num_voices > 1 or options.faces == SPEAKING:
        raise InputError(f"{' '.join(options.selection_flags)}: a prepared face is one person; select one face")
    source = open_source(face, options, options.compat)
    length = 1 if source.static else max(1, round(seconds * source.fps))
    rows = PreparedRows([], [], [], [])
    with tempfile.TemporaryFile() as scratch:  # the frames, as their number is not known before
        for frame in _read(engine, source, length, options, rows):
            rows.shape = frame.shape
            scratch.write(frame.data)
        scratch.flush()
        if rows.first is None:
            raise InputError(f"{source.path}: no face found in {len(rows.boxes)} frames; use another video or part")
        arrays = {
            "frames": np.memmap(scratch, np.uint8, "r", 0, (len(rows.boxes), *rows.shape)),
            "boxes": np.stack(rows.boxes),
            "landmarks": np.stack(rows.landmarks),
            "missed": np.array(rows.missed, np.uint8),
        }
        closed = _closed_mouth(engine, source, rows.first, options)
        if closed is not None:
            arrays["closed_mouth"] = closed[None]
        settings = {
            "fps": str(source.fps), "resolution": engine.generator.resolution, "checkpoint": engine.checkpoint,
            "idle": find_idle_part(np.array(rows.motion), round(IDLE_S * source.fps)),
        }  # fmt: skip
        write_prepared(outfile, PreparedFile(ENGINE, arrays, settings, note))
    return len(rows.boxes), rows.num_faces


def _read(
    engine: LipSync, source: Source, length: int, options: LipSyncOptions, rows: PreparedRows
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield the frames of the file, contiguous, and collect `rows`."""
    locator = engine.face_locator(source, length, options)
    align = align_roll if options.align else keep_roll
    previous: np.ndarray | None = None
    with closing(source.frames()) as frames:
        for frame, targets in locator.select(locator.detect(islice(frames, length))):
            target = targets[0] if targets else None
            rows.boxes.append(NO_BOX if target is None else np.array(target.box, np.int32))
            has_landmarks = target is not None and target.landmarks is not None
            rows.landmarks.append(np.array(target.landmarks, np.float32) if has_landmarks else NO_LANDMARKS)  # type: ignore[union-attr]
            rows.missed.append(target is not None and target.is_missed)
            rows.num_faces += target is not None
            if target is not None and rows.first is None:
                aligned = align(FrameItem(0, frame.copy(), [target]), target)
                crop = crop_box(aligned.item.frame, aligned.target.box)
                rows.first = target, resize(crop, engine.generator.resolution, engine.generator.resolution)
            small = cv2.resize(frame, (MOTION_WIDTH, MOTION_WIDTH), interpolation=cv2.INTER_AREA).astype(np.float32)
            if previous is not None:
                rows.motion.append(float(np.abs(small - previous).mean()))
            previous = small
            yield np.ascontiguousarray(frame)


def _closed_mouth(
    engine: LipSync, source: Source, first: tuple[FaceTarget, np.ndarray], options: LipSyncOptions
) -> np.ndarray | None:  # fmt: skip
    pads = resolve_pads(options.pads, engine.framing, options.compat) if options.box is None else None
    align = align_roll if options.align else keep_roll
    find = ClosedMouthReference(source, engine.landmark_detector, pads, engine.generator.resolution, align=align)
    return find(*first)
