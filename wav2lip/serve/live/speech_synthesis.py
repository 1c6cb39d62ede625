"""Text to speech with a voice of piper-tts, an optional package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wav2lip.errors import InputError
from wav2lip.lipsync.backends.onnx import read_errors


class SpeechSynthesizer:
    """Voice that reads text aloud; thread-safe."""

    def __init__(self, path: Path):
        """path: voice of piper-tts, an ONNX file with its configuration (.onnx.json) beside it.

        Raises: InputError if the package or a file is missing, or the file is not a voice.
        """
        try:
            from piper import PiperVoice
        except ModuleNotFoundError as error:
            raise InputError(
                f"--tts_voice={path}: needs {error.name}, which is not installed; pip install 'wav2lip-toolkit[tts]'"
            ) from error
        config = path.with_name(f"{path.name}.json")
        for file in (path, config):
            if not file.is_file():
                raise InputError(
                    f"--tts_voice={path}: {file} does not exist; give a .onnx file with its .onnx.json beside it"
                )
        unusable: tuple[type[Exception], ...] = (*read_errors(), AttributeError, KeyError, TypeError, ValueError)
        try:
            self._voice = PiperVoice.load(path, config)
        except unusable as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(
                f"--tts_voice={path}: is not a voice of piper-tts ({reason}); download it again"
            ) from error

    def synthesize(self, text: str) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the audio of each sentence: samples (n,) int16, and their rate in Hz."""
        for chunk in self._voice.synthesize(text):
            yield chunk.audio_int16_array, chunk.sample_rate
