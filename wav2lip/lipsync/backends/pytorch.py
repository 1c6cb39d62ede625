"""Generator of a checkpoint, run by PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from models import Wav2Lip
from wav2lip.devices import inference_dtype
from wav2lip.errors import InputError
from wav2lip.faces.framing import FaceFraming
from wav2lip.faces.tensors import from_network
from wav2lip.lipsync.optimize.fuse_batchnorm import fuse_batchnorm
from wav2lip.lipsync.optimize.onednn_prepack import prepack_weights
from wav2lip.lipsync.optimize.partial_decoder import decode_lower_rows

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """A generator network; it is copied to each device and not modified."""

    def __init__(self, network: Wav2Lip, framing: FaceFraming | None = None):
        """framing: of the network's training data; None: unknown."""
        self.network, self.resolution, self.framing = network, network.resolution, framing

    def load(self, device: torch.device, precision: str) -> TorchGenerator:
        """Load an optimized copy of the network onto a device."""
        return TorchGenerator(self.network, device, precision)


class TorchGenerator:
    """Generator with fused batch norm, in channels-last memory format and the given precision."""

    def __init__(self, network: Wav2Lip, device: torch.device, precision: str):
        self.device = device
        self.dtype = inference_dtype(device) if precision == "auto" else DTYPES[precision]
        self.network: Wav2Lip = fuse_batchnorm(network).to(device, self.dtype).to(memory_format=torch.channels_last)
        if device.type == "cpu" and self.dtype != torch.float16:
            prepack_weights(self.network)

    @torch.inference_mode()
    def __call__(self, mels: np.ndarray, faces: np.ndarray, first_row: int = 0) -> np.ndarray:
        mel = torch.from_numpy(mels).to(self.device, self.dtype)
        stacked = torch.from_numpy(faces).to(self.device).permute(0, 3, 1, 2)  # channels-last, no copy
        generated = decode_lower_rows(self.network, mel, stacked.to(self.dtype).div_(255), first_row)
        if self.dtype == torch.float16 and not bool(generated.isfinite().all()):
            raise InputError("--precision=fp16: this generator overflows in it; use bf16 or fp32")
        lower = from_network(generated).cpu().numpy()
        return np.concatenate([faces[:, :first_row, :, 2::-1], lower], axis=1) if first_row else lower
