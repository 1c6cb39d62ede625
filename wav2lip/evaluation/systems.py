"""What each mode measures, as systems of takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2lip.errors import InputError
from wav2lip.evaluation.lists import PADS, PROTOCOLS, Pair
from wav2lip.evaluation.takes import REAL, Order, System, Take
from wav2lip.media.writer import CONTAINERS

TRUE, SHUFFLED = "true", "shuffled"  # sounds that a checkpoint is given


@dataclass(frozen=True)
class RealClip:
    """A clip of a data set as a video of faces."""

    clip: str
    video: Path
    sound: Path  # as long as the video to the sample, which coded sound is not


def videos_in(path: Path, limit: int | None = None) -> dict[str, Path]:
    """Videos by name: those below a folder, by their path in it without ending, or one file.

    Raises: InputError if there is none, or two have one name.
    """
    if path.is_file():
        return {path.stem: path}
    found: dict[str, Path] = {}
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() not in CONTAINERS or file.name.startswith(".") or not file.is_file():
            continue
        name = file.relative_to(path).with_suffix("").as_posix()
        if name in found:
            raise InputError(f"{file} and {found[name]} have one name; keep one of them")
        found[name] = file
    if not found:
        raise InputError(f"{path}: there is no video in it; check the path")
    return dict(list(found.items())[:limit])


def of_pairs(made: Mapping[str, Path], truth: Mapping[str, Path], limit: int | None = None) -> list[System]:
    """Folders of results against the real videos of the same names. made: folder by name of the system.

    Raises: InputError if a folder has no video of a name that the truth has.
    """
    systems = []
    for name, folder in made.items():
        videos = videos_in(folder)
        both = [clip for clip in videos if clip in truth][:limit]
        if not both:
            raise InputError(f"{folder}: none of its {len(videos)} videos has the name of a true one; name them alike")
        systems.append(System(name, tuple(Take(clip, videos[clip], truth=truth[clip]) for clip in both)))
    wanted = dict.fromkeys(take.clip for system in systems for take in system.takes)
    return [System(REAL, tuple(Take(clip, truth[clip]) for clip in wanted)), *systems]


def of_videos(name: str, videos: Mapping[str, Path], sources: Mapping[str, Path]) -> list[System]:
    """Results without a truth; sources: the videos that the faces were taken from, by the same names, where given."""
    takes = tuple(Take(clip, path, source=sources.get(clip)) for clip, path in videos.items())
    real = [Take(take.clip, take.source) for take in takes if take.source is not None]
    return [*([System(REAL, tuple(real))] if real else []), System(name, takes)]


def of_checkpoints(
    checkpoints: Mapping[str, Path], clips: Sequence[RealClip], sounds: Sequence[str], folder: Path, seed: int
) -> list[System]:
    """Each generator on each clip, with its own sound and with another clip's.

    folder: where results are written. seed: of who gets whose sound.
    Raises: InputError if sounds are to be shuffled and there is one clip.
    """
    systems = [System(REAL, tuple(Take(real.clip, real.video, face_only=True) for real in clips))]
    heard = {TRUE: list(clips)}
    if SHUFFLED in sounds:
        heard[SHUFFLED] = _others(clips, seed)
    for name, checkpoint in checkpoints.items():
        for sound in sounds:
            called = name if sound == TRUE else f"{name} (shuffled sound)"
            takes = tuple(
                Take(
                    real.clip,
                    folder / name / sound / f"{real.clip}.mp4",
                    truth=real.video if sound == TRUE else None,
                    source=real.video,
                    face_only=True,
                    order=Order(checkpoint, real.video, other.sound),
                )
                for real, other in zip(clips, heard[sound], strict=True)
            )
            systems.append(System(called, takes))
    return systems


def _others(clips: Sequence[RealClip], seed: int) -> list[RealClip]:
    """For each clip another one: the next in an order drawn by the seed, so that each is heard once."""
    if len(clips) < 2:
        raise InputError(f"--sound shuffled: {len(clips)} clip has no other whose sound it could get; take more clips")
    order = np.random.default_rng(seed).permutation(len(clips)).tolist()
    after = {a: b for a, b in zip(order, [*order[1:], order[0]], strict=True)}
    return [clips[after[n]] for n in range(len(clips))]


def of_list(
    checkpoints: Mapping[str, Path], pairs: Sequence[Pair], protocol: str, data_root: Path, folder: Path
) -> list[System]:
    """The paper's lists: every line by each generator, results named by the line's number from 0."""
    faces = dict.fromkeys(pair.face for pair in pairs)

    def clip_of(face: Path) -> str:
        return face.relative_to(data_root).with_suffix("").as_posix()

    systems = [System(REAL, tuple(Take(clip_of(face), face) for face in faces))]
    kind = PROTOCOLS[protocol]
    for name, checkpoint in checkpoints.items():
        takes = tuple(
            Take(
                str(pair.line),
                folder / name / f"{pair.line}.mp4",
                source=pair.shown or pair.face,
                order=Order(checkpoint, pair.shown or pair.face, pair.audio, PADS[kind], not_longer=True),
            )
            for pair in pairs
        )
        systems.append(System(name, takes))
    return systems
