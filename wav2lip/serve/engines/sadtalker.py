"""Jobs of the SadTalker engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wav2lip.engine.interface import IsCancelled, OnProgress
from wav2lip.engines import SADTALKER, EngineOptions
from wav2lip.errors import InputError
from wav2lip.hashing import hash_file_cached
from wav2lip.lipsync.mouth_stage import MouthStage
from wav2lip.sadtalker import SadTalker, SadTalkerOptions
from wav2lip.sadtalker.checkpoints import CheckpointFolder
from wav2lip.serve.engines.interface import Generated, JobFiles
from wav2lip.serve.engines.named_files import NamedFiles
from wav2lip.serve.jobs.job import Job
from wav2lip.serve.settings import Settings
from wav2lip.weights.catalog import BY_NAME, KEYED_FILES
from wav2lip.weights.verification import verify_file

SIZES = (256, 512)  # pixels of the renderers
OLD_SIZE = 256  # pixels of the only renderer of version 0.0.1
MAPPINGS = ("mapping", "mapping_full")  # networks in files of their own


class SadTalkerEngine:
    """The published checkpoints in a folder, loaded by the first job."""

    def __init__(self, settings: Settings, files: NamedFiles):
        """Raises: InputError if the folder has no renderer."""
        assert settings.sadtalker is not None
        self._files, self._max_pixels = files, settings.frame_pixels
        self._checkpoints = _find_checkpoints(settings.sadtalker)
        self._engine = SadTalker.from_checkpoint(
            settings.sadtalker, settings.device, s3fd_weights=settings.s3fd_weights,
            landmark_weights=settings.landmark_weights,
            load_mouth=lambda path: MouthStage.from_checkpoint(path, settings.device, settings.s3fd_weights),
        )  # fmt: skip

    @property
    def models(self) -> Sequence[str]:
        """See `JobEngine`."""
        return (SADTALKER,)

    @property
    def choices(self) -> Mapping[str, Sequence[str | int]]:
        """See `JobEngine`."""
        return {**self._files.choices(SadTalkerOptions), "size": tuple(self._checkpoints)}

    def load(self) -> None:
        """See `JobEngine`."""
        for folder in self._checkpoints.values():
            mappings = (KEYED_FILES[network][0] for network in MAPPINGS)
            for name in (folder.renderer_file.name, *mappings):
                verify_file(folder.path / name, BY_NAME[name])

    def check(self, options: EngineOptions, num_audio: int) -> None:
        """See `JobEngine`."""
        assert isinstance(options, SadTalkerOptions)
        self._files.check(options)
        if options.size not in self._checkpoints:
            raise InputError(f"size={options.size}: must be one of {', '.join(map(str, self._checkpoints))}")
        if num_audio > 1:
            raise InputError(f"audio: {num_audio} files: must be one, of the person in the photo")
        if num_audio and options.idle is not None:
            raise InputError("idle: makes a video without speech; remove the audio or idle")
        if not num_audio and options.idle is None and options.full_video is None:
            raise InputError("audio: is missing; send speech, or set idle to the seconds of a video without it")

    def run(self, job: Job, files: JobFiles, progress: OnProgress, is_cancelled: IsCancelled) -> Generated:
        """See `JobEngine`."""
        assert isinstance(job.options, SadTalkerOptions)
        options = replace(self._files.resolve(job.options), max_pixels=self._max_pixels, ref_video=files.reference)
        sha256 = hash_file_cached(self._checkpoints[options.size].renderer_file)
        result = self._engine(files.face, next(iter(files.audio), None), files.result, options, progress, is_cancelled)
        return Generated(result, sha256)


def _find_checkpoints(path: Path) -> dict[int, CheckpointFolder]:
    """Return the checkpoints of each size that the folder has. Raises: InputError if it has none."""
    found, problem = {}, None
    for size in SIZES:
        try:
            folder = CheckpointFolder(path, size)
        except InputError as error:
            problem = problem or error
            continue
        if not folder.is_old or size == OLD_SIZE:
            found[size] = folder
    if not found and problem is not None:
        raise InputError(f"--sadtalker={path}: cannot be used ({problem})") from problem
    return found
