"""Stage 3: detect every face and track it through its shots."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from face_detection import Detector
from face_detection.tracking.offline_tracker import track_faces
from face_detection.tracking.tracks import FaceTrack, Tracks, track_single_face
from preprocess.config import SCAN_FRAMES, SCAN_SIDE, STRIDE_FRAMES, FaceSettings
from preprocess.video_chunks import Rejected, StageInput, VideoChunk, strip_path
from wav2lip.arrays import read_arrays
from wav2lip.audio.windows import FPS
from wav2lip.errors import InputError
from wav2lip.execution.interface import Progress, ResourceFactory, WorkerContext
from wav2lip.execution.manifest import STATE_FOLDER, Record, hash_values
from wav2lip.files import write_atomically
from wav2lip.media import read_frames
from wav2lip.media.video import batch_frames

STAGE = "faces"
MAX_BATCH_BYTES = 256_000_000  # limit of the frames in memory, whatever the batch size


@dataclass(frozen=True)
class FacesStage:
    """Track the faces of a chunk and save the tracks to a file."""

    settings: FaceSettings
    detector: ResourceFactory[Detector]
    batch_size: int  # frames per call of the detector with compat=public
    root: Path  # data root

    def fingerprint(self, stage_input: StageInput) -> str:
        """Hash of the shots record and the settings."""
        return hash_values(STAGE, asdict(self.settings), stage_input.records["shots"].fingerprint)

    def __call__(self, stage_input: StageInput, context: WorkerContext, progress: Progress) -> Record:
        """Return frames, height and width (pixels, upright), tracks, frames_with_face, detector_pixels, problems."""
        detector, problems = context.get(self.detector), list[str]()
        try:
            tracks = self._track(stage_input, detector, problems.append, progress)
        except InputError as error:
            return stage_input.reject(STAGE, self.fingerprint(stage_input), error)
        chunk = stage_input.chunk
        save_tracks(tracks_path(self.root, chunk), tracks)
        has_face = np.zeros(tracks.frames, bool)
        for track in tracks.tracks:
            has_face[track.start : track.start + len(track.boxes)] = True
        data = {
            "frames": tracks.frames,
            "height": tracks.height,
            "width": tracks.width,
            "tracks": len(tracks.tracks),
            "frames_with_face": int(has_face.sum()),
            "detector_pixels": tracks.detector_pixels,
            "problems": [strip_path(problem, chunk.source) for problem in problems],
        }
        return Record(STAGE, chunk.key, self.fingerprint(stage_input), data=data)

    def _track(
        self, stage_input: StageInput, detector: Detector, on_problem: Callable[[str], object], progress: Progress
    ) -> Tracks:
        chunk = stage_input.chunk
        frames = read_frames(chunk.source.path, self.settings.fps, on_problem, chunk.first, chunk.last)
        seconds = stage_input.records["probe"].data["seconds"]
        expected = max(1.0, (chunk.last or seconds * FPS) - chunk.first)  # frames

        def report(frame: int) -> None:
            progress(min(1.0, frame / expected))

        if self.settings.compat == "public":
            tracks = public_tracks(frames, detector, self.batch_size, report)
        else:
            tracks = track_faces(
                frames,
                detector,
                stage_input.records["shots"].data["boundaries"],
                stride=STRIDE_FRAMES,
                scan_every=SCAN_FRAMES,
                scan_side=SCAN_SIDE,
                max_gap_frames=self.settings.max_gap_frames,
                smooth_window_frames=self.settings.smooth_window_frames,
                progress=report,
            )
        if not tracks.frames and not chunk.number:
            raise Rejected("unreadable", "has a video track without a decodable frame; re-encode or remove it")
        if not tracks.tracks and not chunk.number and chunk.last is None:
            raise Rejected("no face", f"the detector {detector.name} found no face in its {tracks.frames} frames")
        return tracks


def public_tracks(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int, progress: Callable[[int], object]
) -> Tracks:
    """Return upstream's boxes: the most confident face of each frame, in whole pixels, not filled or smoothed.

    frames: (H, W, 3) uint8 RGB, all of one size. Returns: one track for each run of frames with a face.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        return Tracks([], 0, 0, 0, detector_pixels=0)
    height, width = first.shape[:2]
    boxes: list[np.ndarray] = []
    scores: list[float] = []
    for batch in batch_frames(chain([first], remaining), min(batch_size, max(1, MAX_BATCH_BYTES // first.nbytes))):
        detections = detector.detect(batch)
        boxes.append(track_single_face(detections, compat="public"))
        scores += [faces[0].score if faces else np.nan for faces in detections]
        progress(len(scores))
    all_boxes, all_scores = np.concatenate(boxes), np.array(scores, np.float32)
    detected = np.flatnonzero(np.isfinite(all_boxes).all(axis=1))
    runs = np.split(detected, np.flatnonzero(np.diff(detected) > 1) + 1) if len(detected) else []
    tracks = [FaceTrack(int(run[0]), all_boxes[run], all_scores[run], np.zeros(len(run), bool), None) for run in runs]
    return Tracks(tracks, len(all_boxes), height, width, detector_pixels=len(all_boxes) * height * width)


def tracks_path(root: Path, chunk: VideoChunk) -> Path:
    """Return the file of a chunk's tracks."""
    return tracks_file(root, chunk.key)


def tracks_file(root: Path, key: str) -> Path:
    """Return the file of the tracks of the chunk with that key in the manifest."""
    return root / STATE_FOLDER / "tracks" / f"{hash_values(key)}.npz"  # The key may be too long for a file name.


def save_tracks(path: Path, tracks: Tracks) -> None:
    """Write tracks atomically."""
    arrays = {"size": np.array([tracks.frames, tracks.height, tracks.width, tracks.detector_pixels])}
    for number, track in enumerate(tracks.tracks):
        arrays |= {f"{number}_{name}": value for name, value in vars(track).items() if value is not None}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # np.savez adds a suffix to a path without it
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no key is named allow_pickle

    write_atomically(path, write)


def load_tracks(path: Path) -> Tracks:
    """Read tracks written by `save_tracks`."""
    arrays = read_arrays(path)
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
