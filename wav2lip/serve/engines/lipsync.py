"""Jobs of the Wav2Lip engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wav2lip.engine.interface import IsCancelled, OnProgress
from wav2lip.engines import EngineOptions
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSyncOptions
from wav2lip.lipsync.audio_input import check_num_voices
from wav2lip.serve.engines.interface import Generated, JobFiles
from wav2lip.serve.engines.named_files import NamedFiles
from wav2lip.serve.jobs.job import Job
from wav2lip.serve.jobs.model_pool import ModelPool
from wav2lip.serve.settings import Settings


class LipSyncEngine:
    """Generators of the settings, a bounded number of which is in memory."""

    def __init__(self, settings: Settings, models: ModelPool, files: NamedFiles):
        self._max_pixels = settings.frame_pixels
        self._models, self._files = models, files

    @property
    def models(self) -> Sequence[str]:
        """See `JobEngine`."""
        return self._models.names

    @property
    def choices(self) -> Mapping[str, Sequence[str | int]]:
        """See `JobEngine`."""
        return self._files.choices(LipSyncOptions)

    def load(self) -> None:
        """See `JobEngine`."""
        self._models.load_all()

    def check(self, options: EngineOptions, num_audio: int) -> None:
        """See `JobEngine`."""
        assert isinstance(options, LipSyncOptions)
        self._files.check(options)
        if not num_audio:
            raise InputError("audio: is missing; send a file or the id of an upload")
        check_num_voices(num_audio, options)

    def run(self, job: Job, files: JobFiles, progress: OnProgress, is_cancelled: IsCancelled) -> Generated:
        """See `JobEngine`."""
        assert isinstance(job.options, LipSyncOptions)
        model = self._models.get(job.model)
        progress("faces", 0, 0)
        options = replace(self._files.resolve(job.options), max_pixels=self._max_pixels)
        result = model.lipsync(files.face, list(files.audio), files.result, options, progress, is_cancelled)
        return Generated(result, model.sha256)
