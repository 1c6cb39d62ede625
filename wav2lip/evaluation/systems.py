"""Systems of each mode of wav2lip.evaluate."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wav2lip.dataset.input_folder import explain_without_video, scan_folder
from wav2lip.errors import InputError
from wav2lip.evaluation.dataset import RealClip, prepare_clips, prepare_resynced
from wav2lip.evaluation.protocols import DUBBED, PADS, PROTOCOLS, RESYNCED, TTS, Pair, read_list
from wav2lip.evaluation.samples import REAL, EvalSample, GenerationRequest, System
from wav2lip.media import probe
from wav2lip.media.suffixes import VIDEO_SUFFIXES

TRUE, SHUFFLED = "true", "shuffled"  # audio for checkpoints: a clip's own, or another clip's

Progress = Callable[[int, int], object]  # clips done, clips in all


def build_systems(args: Namespace, progress: Progress = lambda done, total: None) -> list[System]:
    """Build the systems of a command line. progress: called while clips of a data set are prepared.

    Raises: InputError if flags conflict, or a file is missing.
    """
    match args.mode:
        case "pairs":
            if args.generated.is_file() and args.truth.is_file():
                return pair_systems({"generated": args.generated}, {args.generated.stem: args.truth})
            return pair_systems({"generated": args.generated}, find_videos(args.truth), args.limit)
        case "videos":
            return _build_video_systems(args)
        case "checkpoint":
            return _build_clip_systems({args.checkpoint_path.stem: args.checkpoint_path}, args, progress)[0]
        case "filelist":
            return _build_list_systems({args.checkpoint_path.stem: args.checkpoint_path}, args)
        case _:
            return _build_comparison(args, progress)


def _build_video_systems(args: Namespace) -> list[System]:
    videos = find_videos(args.generated, args.limit)
    if args.source is not None and args.source.is_file():
        return video_systems("generated", videos, dict.fromkeys(videos, args.source))
    return video_systems("generated", videos, find_videos(args.source) if args.source else {})


def _build_clip_systems(
    checkpoints: Mapping[str, Path], args: Namespace, progress: Progress
) -> tuple[list[System], list[RealClip]]:
    _check_speech(args.speech)
    clips = prepare_clips(args.data_root, args.split, args.out / "real", args.limit, progress)
    folder = args.out / "generated"
    return checkpoint_systems(checkpoints, clips, args.audio, folder, args.seed, args.speech), clips


def _check_speech(files: Sequence[Path]) -> None:
    names = {TRUE, SHUFFLED}
    for file in files:
        probe(file).require_audio()
        if file.stem.casefold() in names:  # the name of a folder, also where case does not distinguish files
            raise InputError(f"--speech: {file}: the name {file.stem} is taken; rename the file")
        names.add(file.stem.casefold())


def _build_list_systems(checkpoints: Mapping[str, Path], args: Namespace) -> list[System]:
    if (args.filelist is None) != (args.protocol == DUBBED):
        raise InputError(f"--protocol={args.protocol}: requires --filelist FILE; only {DUBBED} has no list")
    if args.protocol == DUBBED:
        pairs = [Pair(n, file, file) for n, file in enumerate(find_videos(args.data_root, args.limit).values())]
    else:
        pairs = read_list(args.filelist, args.data_root, args.protocol, args.limit)
    if PROTOCOLS[args.protocol] == RESYNCED:
        pairs = prepare_resynced(pairs, args.out / "prepared", lengthen=args.protocol == TTS)
    return list_systems(checkpoints, pairs, args.protocol, args.data_root, args.out / "generated")


def _build_comparison(args: Namespace, progress: Progress) -> list[System]:
    systems = _parse_systems(args.systems)
    checkpoints = {name: path for name, path in systems.items() if path.is_file()}
    folders = {name: path for name, path in systems.items() if name not in checkpoints}
    _check_comparison(checkpoints, folders, args)
    if args.protocol is not None:
        return _build_list_systems(checkpoints, args)
    if args.truth is not None:
        return pair_systems(folders, find_videos(args.truth), args.limit)
    compared, clips = _build_clip_systems(checkpoints, args, progress)
    if folders:
        _, *generated = pair_systems(folders, {clip.clip: clip.video for clip in clips})
        compared += [_as_face_crops(system) for system in generated]
    return compared


def _check_comparison(checkpoints: Mapping[str, Path], folders: Mapping[str, Path], args: Namespace) -> None:
    if checkpoints and args.data_root is None:
        raise InputError(
            f"{next(iter(checkpoints.values()))}: is a checkpoint; set --data_root to the clips to run it on"
        )
    if folders and args.truth is None and args.data_root is None:
        raise InputError(f"{next(iter(folders.values()))}: is a folder; set --truth to a folder of the real videos")
    if checkpoints and args.truth is not None:
        raise InputError("--truth: must not be set with checkpoints, which are compared on --data_root; remove it")
    if args.filelist is not None and args.protocol is None:
        raise InputError("--filelist: requires --protocol, which defines its lines; set both")
    if args.speech and (not checkpoints or args.protocol is not None):
        raise InputError("--speech: requires checkpoints on the clips of --data_root, without --protocol")
    if args.protocol is not None and folders:
        raise InputError(f"{next(iter(folders.values()))}: is a folder; --protocol only runs checkpoints")


def _as_face_crops(system: System) -> System:
    return System(system.name, tuple(replace(sample, is_face_crop=True) for sample in system.samples))


def _parse_systems(words: Sequence[str]) -> dict[str, Path]:
    systems: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not name or not path:
            raise InputError(f"{word}: must be NAME=PATH, for example tuned=checkpoints/best.pth")
        if name in (*systems, REAL) or "/" in name or name.startswith("."):
            raise InputError(f"{word}: the name must be unique, without a slash, and not {REAL}; choose another")
        if not Path(path).exists():
            raise InputError(f"{word}: no such file or folder {path}; check the path")
        systems[name] = Path(path)
    return systems


def find_videos(path: Path, limit: int | None = None) -> dict[str, Path]:
    """Find videos: one file, or all below a folder, named by their relative path without suffix.

    Raises: InputError if there is none, or two have one name.
    """
    if path.is_file():
        return {path.stem: path}
    videos: dict[str, Path] = {}
    if not path.is_dir():
        raise InputError(f"{path}: no such folder or video; check the path")
    scan = scan_folder(path)
    for file in scan.with_suffix(VIDEO_SUFFIXES):
        name = file.relative_to(path).with_suffix("").as_posix()
        if name in videos:
            raise InputError(f"{file} and {videos[name]} have the same name; remove one of them")
        videos[name] = file
    if not videos:
        raise InputError(f"{path}: {explain_without_video(scan)}")
    return dict(list(videos.items())[:limit])


def pair_systems(folders: Mapping[str, Path], truth: Mapping[str, Path], limit: int | None = None) -> list[System]:
    """Pair generated videos with real ones of the same names. folders: by name of the system.

    Raises: InputError if a folder has no video with the name of a real one.
    """
    systems = []
    for name, folder in folders.items():
        videos = find_videos(folder)
        common = [clip for clip in videos if clip in truth][:limit]
        if not common:
            raise InputError(f"{folder}: none of its {len(videos)} videos is named like a real one; use the same names")
        systems.append(System(name, tuple(EvalSample(clip, videos[clip], truth=truth[clip]) for clip in common)))
    clips = dict.fromkeys(sample.clip for system in systems for sample in system.samples)
    return [System(REAL, tuple(EvalSample(clip, truth[clip]) for clip in clips)), *systems]


def video_systems(name: str, videos: Mapping[str, Path], sources: Mapping[str, Path]) -> list[System]:
    """Return generated videos without ground truth; sources: videos of the faces, by the same names."""
    samples = tuple(EvalSample(clip, path, source=sources.get(clip)) for clip, path in videos.items())
    real = [EvalSample(sample.clip, sample.source) for sample in samples if sample.source is not None]
    return [*([System(REAL, tuple(real))] if real else []), System(name, samples)]


def checkpoint_systems(
    checkpoints: Mapping[str, Path], clips: Sequence[RealClip], audio: Sequence[str], folder: Path, seed: int,
    speech: Sequence[Path] = (),
) -> list[System]:  # fmt: skip
    """Run each generator on each clip, with its own audio, with another clip's and with files of speech.

    audio: TRUE, SHUFFLED or both. folder: for the generated videos. seed: of the shuffle. speech: files with different
    stems, each a system of its own.
    Raises: InputError for SHUFFLED with fewer than two clips.
    """
    systems = [System(REAL, tuple(EvalSample(real.clip, real.video, is_face_crop=True) for real in clips))]
    files = {TRUE: [real.audio for real in clips]} | {file.stem: [file] * len(clips) for file in speech}
    if SHUFFLED in audio:
        files[SHUFFLED] = [donor.audio for donor in _shuffle(clips, seed)]
    titles = {TRUE: "", SHUFFLED: " (shuffled audio)"} | {file.stem: f" ({file.name})" for file in speech}
    for name, checkpoint in checkpoints.items():
        for kind in (*audio, *(file.stem for file in speech)):
            samples = tuple(
                EvalSample(
                    real.clip,
                    folder / name / kind / f"{real.clip}.mp4",
                    truth=real.video if kind == TRUE else None,
                    source=real.video,
                    is_face_crop=True,
                    request=GenerationRequest(checkpoint, real.video, file),
                )
                for real, file in zip(clips, files[kind], strict=True)
            )
            systems.append(System(name + titles[kind], samples))
    return systems


def _shuffle(clips: Sequence[RealClip], seed: int) -> list[RealClip]:
    """Return another clip for each clip: its successor in a random cycle, so that each is used once."""
    if len(clips) < 2:
        raise InputError(f"--audio=shuffled: requires two clips or more, got {len(clips)}; add clips")
    order = np.random.default_rng(seed).permutation(len(clips)).tolist()
    successor = {a: b for a, b in zip(order, [*order[1:], order[0]], strict=True)}
    return [clips[successor[n]] for n in range(len(clips))]


def list_systems(
    checkpoints: Mapping[str, Path], pairs: Sequence[Pair], protocol: str, data_root: Path, folder: Path
) -> list[System]:
    """Run each generator on every line of a list; results are named by the line's number from 0."""
    faces = dict.fromkeys(pair.face for pair in pairs)

    def clip_name(face: Path) -> str:
        return face.relative_to(data_root).with_suffix("").as_posix()

    systems = [System(REAL, tuple(EvalSample(clip_name(face), face) for face in faces))]
    pads = PADS[PROTOCOLS[protocol]]
    for name, checkpoint in checkpoints.items():
        samples = tuple(
            EvalSample(
                str(pair.line),
                folder / name / f"{pair.line}.mp4",
                source=pair.prepared or pair.face,
                request=GenerationRequest(
                    checkpoint, pair.prepared or pair.face, pair.audio, pads, reject_longer_audio=True
                ),
            )
            for pair in pairs
        )
        systems.append(System(name, samples))
    return systems
