"""Wav2Lip library: audio, media, data set, checkpoints, inference, evaluation. Imports neither Hydra nor trainers."""

import os

__version__ = "0.1.0"

# Run operators that torch lacks on Apple GPUs on the CPU. torch reads this once, when it is imported, so the packages
# of all commands import this one first.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
