"""One video to one clip: find the face, cut it out, take the sound along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_detection import Detector
from preprocess.faces import FaceBoxes, find_boxes
from preprocess.fates import OK, REJECTED, Outcome, Rejected
from preprocess.ingest import Source
from preprocess.settings import FEWEST_FACES, FPS, SHORTEST_SOUND, Settings
from preprocess.sound import Sound, write_mel, write_sound
from wav2lip import __version__, crops
from wav2lip.audio import SAMPLE_RATE
from wav2lip.clips import ClipWriter
from wav2lip.errors import InputError
from wav2lip.media import Media, VideoStream, first_frame_time, probe, read_frames

SILENT = 0.001  # peak below which there is nothing to hear: -60 dB
MISSING = 0.5  # seconds by which pictures or sound may end early without a note


@dataclass(frozen=True)
class Job:
    """What is the same for every video of a run."""

    root: Path  # where the clips go
    settings: Settings
    batch_size: int = 32  # frames given to the detector at a time


def process(source: Source, job: Job, detector: Detector, progress: Callable[[float], object]) -> Outcome:
    """Make a video's clip and say what became of it.

    progress: called with the share that is done, in [0, 1].
    Raises: OSError if the clip cannot be written.
    """
    try:
        return make_clip(source, job, detector, progress)
    except InputError as error:
        cause = error.cause if isinstance(error, Rejected) else "unreadable"
        return Outcome(source.name, source.clip, REJECTED, cause, _without_path(str(error), source))


def make_clip(source: Source, job: Job, detector: Detector, progress: Callable[[float], object]) -> Outcome:
    """As `process`; raises Rejected or another InputError where no clip can be made."""
    media = probe(source.path)
    video = _video_with_sound(media)
    problems: list[str] = []

    def note(problem: str) -> None:
        problems.append(_without_path(problem, source))

    start = first_frame_time(source.path)
    faces = _faces(source, media, job, detector, progress, note)
    slices = faces.slices()
    found = sum(box is not None for box in slices)
    fps = float(job.settings.fps or video.mean_fps)
    seconds = len(slices) / fps
    if seconds < media.seconds - MISSING:
        note(f"its pictures last {seconds:.1f} s of the {media.seconds:.1f} s that the file states")

    with ClipWriter(job.root, source.clip) as writer:
        # Numbers are read as 25 frames a second, so that is where the sound ends; the release never cut it.
        limit = None if job.settings.fps is None else len(slices) * SAMPLE_RATE // FPS
        sound = write_sound(writer, source.path, start, limit, note)
        _judge_sound(sound, seconds, note)
        frames = read_frames(source.path, job.settings.fps, on_problem=lambda problem: None)  # noted the first time
        for number, (frame, box) in enumerate(zip(frames, slices, strict=True)):
            if box is not None:
                writer.write_frame(number, crops.cut(frame, box))
        writer.write_info(_info(source, video, job.settings, faces, found, sound, problems))
        write_mel(writer.folder)
    return Outcome(
        source=source.name,
        clip=source.clip,
        fate=OK,
        problems=tuple(problems),
        frames=len(slices),
        faces=found,
        filled=int(faces.filled.sum()),
        seconds=round(seconds, 3),
        source_fps=round(float(video.mean_fps), 3),
    )


def _video_with_sound(media: Media) -> VideoStream:
    if media.video is None:
        raise Rejected("no video track", "has no video track, only sound; leave it out")
    if media.audio is None:
        raise Rejected("no audio track", "has no audio track; lips cannot be learnt without the sound")
    return media.video


def _faces(
    source: Source, media: Media, job: Job, detector: Detector,
    progress: Callable[[float], object], note: Callable[[str], object],
) -> FaceBoxes:  # fmt: skip
    expected = max(1.0, media.seconds * (job.settings.fps or 25))
    faces = find_boxes(
        read_frames(source.path, job.settings.fps, on_problem=note),
        detector,
        job.settings,
        job.batch_size,
        lambda done: progress(min(1.0, done / expected)),
    )
    if faces is None:
        raise Rejected("unreadable", "has a video track of which no frame can be decoded; re-encode it or leave it out")
    frames, found = len(faces.boxes), sum(box is not None for box in faces.slices())
    if found == 0:
        raise Rejected("no face", f"shows no face that the detector ({detector.name}) finds in its {frames} frames")
    if found < FEWEST_FACES:
        raise Rejected(
            "too few faces",
            f"shows a face in {found} of its {frames} frames at 25 a second; training needs {FEWEST_FACES}",
        )
    return faces


def _judge_sound(sound: Sound, seconds: float, note: Callable[[str], object]) -> None:
    if sound.seconds < SHORTEST_SOUND:
        raise Rejected(
            "too little sound",
            f"has {sound.seconds:.2f} s of sound under its pictures; training needs {SHORTEST_SOUND} s",
        )
    if sound.peak < SILENT:
        note("its sound is silent: nothing to learn from unless that is meant")
    if sound.seconds < seconds - MISSING:
        note(f"its sound ends at {sound.seconds:.1f} s of {seconds:.1f} s; frames after that are not trained on")


def _info(
    source: Source, video: VideoStream, settings: Settings,
    faces: FaceBoxes, found: int, sound: Sound, problems: list[str],
) -> dict[str, Any]:  # fmt: skip
    """What clip.json says; the same for the same video and settings, whenever it is made."""
    return {
        "source": source.name,
        "source_size": source.size,  # bytes
        "source_modified": source.modified,  # nanoseconds since 1970
        "source_fps": round(float(video.mean_fps), 3),
        "source_nominal_fps": round(float(video.fps), 3),
        "width": faces.width,  # pixels of an upright frame, in which the boxes are
        "height": faces.height,
        "fps": settings.fps,  # null: the source's own frames
        "frames": len(faces.boxes),
        "frames_with_face": found,
        "sound_seconds": round(sound.seconds, 4),
        "sound_peak": round(sound.peak, 4),
        "detector": settings.detector,
        "settings": asdict(settings),
        "problems": problems,
        "sync_offset": None,  # frames; unknown until it is measured
        "sync_confidence": None,
        "tool": f"wav2lip {__version__}",
        "filled": np.flatnonzero(faces.filled).tolist(),  # frame numbers
        "scores": [None if np.isnan(score) else round(float(score), 3) for score in faces.scores],
        "boxes": [None if np.isnan(box).any() else [round(float(side), 1) for side in box] for box in faces.boxes],
    }


def _without_path(sentence: str, source: Source) -> str:
    for path in (source.path.resolve(), source.path):
        sentence = sentence.removeprefix(f"{path}: ")
    return sentence
