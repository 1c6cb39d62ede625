"""Stage 3: every face of a part, followed through its shots."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from face_detection import Detector
from face_detection.sparse import Tracks, track_faces
from face_detection.tracks import FaceTrack, follow
from preprocess.manifest import STATE, Record, digest
from preprocess.parts import Part, Rejected, Task, without_path
from preprocess.settings import FPS, FaceSettings
from preprocess.workers import Maker, Progress, Tools
from wav2lip.batches import in_batches
from wav2lip.errors import InputError
from wav2lip.media import read_frames

STAGE = "faces"
BATCH_BYTES = 256_000_000  # frames held at a time, however many a batch may have


@dataclass(frozen=True)
class Faces:
    """Finds and follows the faces of a part of a video, and keeps their tracks in a file."""

    settings: FaceSettings
    detector: Maker[Detector]
    batch_size: int  # frames given to the detector at a time, for compat=public
    root: Path  # data root

    def fingerprint(self, task: Task) -> str:
        """Changes with the cuts and the settings."""
        return digest(STAGE, asdict(self.settings), task.found["shots"].fingerprint)

    def __call__(self, task: Task, tools: Tools, progress: Progress) -> Record:
        """figures: frames, height and width (pixels, upright), tracks, frames_with_face, detector_pixels, problems."""
        detector, problems = tools.get(self.detector), list[str]()
        try:
            tracks = self._tracks(task, detector, problems.append, progress)
        except InputError as error:
            return task.rejected(STAGE, self.fingerprint(task), error)
        save_tracks(tracks_path(self.root, task.part), tracks)
        seen = np.zeros(tracks.frames, bool)
        for track in tracks.tracks:
            seen[track.start : track.start + len(track.boxes)] = True
        figures = {
            "frames": tracks.frames,
            "height": tracks.height,
            "width": tracks.width,
            "tracks": len(tracks.tracks),
            "frames_with_face": int(seen.sum()),
            "detector_pixels": tracks.detector_pixels,
            "problems": [without_path(problem, task.part.source) for problem in problems],
        }
        return Record(STAGE, task.part.key, self.fingerprint(task), figures=figures)

    def _tracks(self, task: Task, detector: Detector, note: Callable[[str], object], progress: Progress) -> Tracks:
        part = task.part
        frames = read_frames(part.source.path, self.settings.fps, note, part.first, part.last)
        stated = task.found["probe"].figures["seconds"] * FPS
        expected = max(1.0, (part.last or stated) - part.first)
        done = lambda number: progress(min(1.0, number / expected))  # noqa: E731 - both ways below report in frames
        if self.settings.compat == "public":
            tracks = public_tracks(frames, detector, self.batch_size, done)
        else:
            tracks = track_faces(
                frames,
                detector,
                task.found["shots"].figures["cuts"],
                longest_gap=self.settings.longest_gap,
                smooth_window=self.settings.smooth_window,
                progress=done,
            )
        if not tracks.frames and not part.number:
            raise Rejected("unreadable", "has a video track of which no frame can be decoded; re-encode or remove it")
        if not tracks.tracks and not part.number and part.last is None:
            raise Rejected(
                "no face", f"shows no face that the detector ({detector.name}) finds in its {tracks.frames} frames"
            )
        return tracks


def public_tracks(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int, progress: Callable[[int], object]
) -> Tracks:
    """The release's boxes: the most certain face of each frame by itself, in whole pixels, nothing filled or smoothed.

    frames: (H, W, 3) uint8 RGB, all of one size. Returns: a track for each run of frames with a face.
    """
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        return Tracks([], 0, 0, 0, detector_pixels=0)
    size = first.shape[:2]
    boxes: list[np.ndarray] = []
    scores: list[float] = []
    for batch in in_batches(chain([first], rest), min(batch_size, max(1, BATCH_BYTES // first.nbytes))):
        found = detector.detect(batch)
        boxes.append(follow(found, compat="public"))
        scores += [faces[0].score if faces else np.nan for faces in found]
        progress(len(scores))
    every = np.concatenate(boxes)
    seen = np.flatnonzero(np.isfinite(every).all(axis=1))
    runs = np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1) if len(seen) else []
    certain = np.array(scores, np.float32)
    tracks = [FaceTrack(int(run[0]), every[run], certain[run], np.zeros(len(run), bool), None) for run in runs]
    return Tracks(tracks, len(every), size[0], size[1], detector_pixels=len(every) * size[0] * size[1])


def tracks_path(root: Path, part: Part) -> Path:
    """Where the tracks of a part are kept."""
    return root / STATE / "tracks" / f"{digest(part.key)}.npz"  # a name of any length


def save_tracks(path: Path, tracks: Tracks) -> None:
    """Write tracks whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"size": np.array([tracks.frames, tracks.height, tracks.width, tracks.detector_pixels])}
    for number, track in enumerate(tracks.tracks):
        arrays |= {f"{number}_{name}": value for name, value in vars(track).items() if value is not None}
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the names are ours
    os.replace(partial, path)


def load_tracks(path: Path) -> Tracks:
    """Read tracks back."""
    with np.load(path) as arrays:
        count = sum(name.endswith("_boxes") for name in arrays)
        tracks = [
            FaceTrack(
                int(arrays[f"{number}_start"]),
                arrays[f"{number}_boxes"],
                arrays[f"{number}_scores"],
                arrays[f"{number}_filled"],
                arrays.get(f"{number}_landmarks"),
            )
            for number in range(count)
        ]
        frames, height, width, pixels = arrays["size"].tolist()
    return Tracks(tracks, frames, height, width, detector_pixels=pixels)
