"""The engines by name, and the options of a request to each."""

from __future__ import annotations

from collections.abc import Mapping

from wav2lip.lipsync.options import LipSyncOptions
from wav2lip.sadtalker.options import SadTalkerOptions

EngineOptions = LipSyncOptions | SadTalkerOptions

WAV2LIP, SADTALKER = "wav2lip", "sadtalker"
ENGINES: Mapping[str, type[EngineOptions]] = {WAV2LIP: LipSyncOptions, SADTALKER: SadTalkerOptions}
