"""S3FD: the detector that the published Wav2Lip weights were trained with."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from face_detection.box_ops import nms
from face_detection.fingerprint import digest_of
from face_detection.interface import DetectorError, Face
from face_detection.portions import Portions
from face_detection.s3fd_network import STRIDES, S3FDNetwork
from face_detection.working_size import shrunk

CHANNEL_MEANS = (104.0, 117.0, 123.0)  # blue, green, red means of the pictures the trunk was first trained on
PRIOR_SIZE = 4  # side of a cell's prior box, in strides
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2  # units of the offsets that the box heads give
MIN_SCORE = 0.5  # a face scores more than this
MAX_SIDE = 640  # pixels, 40 of the smallest prior boxes; 1080 x 1920 at full size would take nine times as long
MAX_OVERLAP = 0.3  # of two boxes that overlap more, the weaker goes

# What torch.load raises for text, truncated archives and random bytes; it documents no common class for them.
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError,
              struct.error)  # fmt: skip


class S3FD:
    """Finds faces with S3FD, in batches, on any torch device.

    weights: the network's state_dict, or a file that holds it.
    batch_size: pictures at a time; halved for good when the device runs out of memory.
    compat: "none" feeds blue, green, red, as the network was trained; "public" feeds red, green, blue with the same
        three means, as the public Wav2Lip code does, for boxes identical to its own.
    max_side: longer side in pixels to which larger pictures are shrunk for detection; without it `MAX_SIDE`, or with
        "public" the full size.
    dtype: numbers that the network computes in; bfloat16 where the chip does. Boxes are decoded in float32.
    """

    name = "s3fd"

    def __init__(
        self,
        weights: Mapping[str, Tensor] | Path,
        device: str | torch.device = "cpu",
        batch_size: int = 8,
        compat: str = "none",
        max_side: int | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        if batch_size < 1:
            raise DetectorError(f"batch_size is {batch_size}; S3FD needs at least 1 picture at a time")
        self.device = torch.device(device)
        self.portions = Portions(batch_size, "S3FD", "pictures")
        self.compat = compat
        self.max_side = max_side or (None if compat == "public" else MAX_SIDE)
        network = _network(weights).eval().requires_grad_(False)
        self.dtype = dtype
        self.network = network.to(self.device, dtype).to(memory_format=torch.channels_last)

    @cached_property
    def fingerprint(self) -> str:
        """What the faces that are found depend on."""
        return f"{self.name} {self.compat}, {self.dtype}, shrunk to {self.max_side}, {digest_of(self.network)}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find faces.

        frames: pictures (H, W, 3) uint8 RGB, all of one size.
        Returns: for each picture its faces, the most certain first. No box starts left of or above the picture, but
            it may end beyond it.
        """
        batches = self.portions(len(frames), lambda part: self._detect_batch(frames[part]))
        return [faces for batch in batches for faces in batch]

    @torch.inference_mode()
    def _detect_batch(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        small = [shrunk(frame, self.max_side or max(frame.shape)) for frame in frames]  # before they become floats
        pictures = torch.from_numpy(np.stack([picture for picture, _ in small])).to(self.device)
        maps = self.network(prepare(pictures, self.compat).to(self.dtype))
        boxes, scores = decode([values.float() for values in maps])
        return [_faces(*suppress(b, s), scale) for b, s, (_, scale) in zip(boxes, scores, small, strict=True)]


def prepare(frames: Tensor, compat: str = "none") -> Tensor:
    """Pictures as the network takes them.

    frames: (B, H, W, 3) uint8 RGB.
    Returns: (B, 3, H, W) float32 in -123..151, on the same device: BGR, or RGB if compat is "public".
    """
    pictures = frames.permute(0, 3, 1, 2).float()  # a view in channels_last order, then one copy
    means = torch.tensor(CHANNEL_MEANS, device=frames.device).view(3, 1, 1)
    if compat != "public":
        pictures = pictures.flip(1)
    return pictures - means


def decode(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Every cell of every level as a box and a score.

    maps: the 12 head maps of `S3FDNetwork`.
    Returns: boxes (B, N, 4) left, top, right, bottom in pixels, and scores (B, N) in [0, 1]; N = cells of all levels,
        level by level, row by row.
    """
    levels = [_decode_level(*pair) for pair in zip(maps[::2], maps[1::2], STRIDES, strict=True)]
    return torch.cat([boxes for boxes, _ in levels], dim=1), torch.cat([scores for _, scores in levels], dim=1)


def suppress(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The faces of one picture, the most certain first, each once.

    boxes: (N, 4); scores: (N,). Returns: (K, 4) and (K,).
    """
    likely = scores > MIN_SCORE  # before the costly part: a weaker box can neither win nor suppress a stronger one
    boxes, scores = boxes[likely], scores[likely]
    # Overlap is counted in whole pixels, both border pixels included: plain overlap of boxes one pixel longer.
    inclusive = boxes + boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    kept = nms(inclusive, scores, MAX_OVERLAP)
    return boxes[kept], scores[kept]


def _decode_level(conf: Tensor, offsets: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    rows, columns = conf.shape[-2:]
    y = stride * (torch.arange(rows, device=conf.device) + 0.5)
    x = stride * (torch.arange(columns, device=conf.device) + 0.5)
    priors = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # (2, h, w): x, y of the cells' centres
    size = PRIOR_SIZE * stride  # pixels
    centres = priors + CENTRE_VARIANCE * size * offsets[:, :2]  # (B, 2, h, w)
    halves = size * torch.exp(SIZE_VARIANCE * offsets[:, 2:]) / 2  # (B, 2, h, w): half width, half height
    boxes = torch.cat([centres - halves, centres + halves], dim=1).flatten(2).transpose(1, 2)  # (B, h * w, 4)
    return boxes, conf.softmax(dim=1)[:, 1].flatten(1)


def _faces(boxes: Tensor, scores: Tensor, scale: float) -> list[Face]:
    boxes = (boxes * scale).clamp(min=0)
    rows = zip(boxes.tolist(), scores.tolist(), strict=True)
    return [Face((left, top, right, bottom), score) for (left, top, right, bottom), score in rows]


def _network(weights: Mapping[str, Tensor] | Path) -> S3FDNetwork:
    source = f"{weights}" if isinstance(weights, Path) else "the given state_dict"
    state = _read(weights) if isinstance(weights, Path) else weights
    network = S3FDNetwork()
    wrong = f"{source} does not hold the weights of S3FD; remove it or give the file s3fd-619a316812.pth"
    if not isinstance(state, Mapping):
        raise DetectorError(wrong)
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:  # other keys or shapes, or values that are no tensors
        raise DetectorError(wrong) from error
    return network


def _read(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DetectorError(f"{path} cannot be opened ({error}); give a readable file of S3FD weights") from error
    except UNREADABLE as error:
        raise DetectorError(f"{path} cannot be read as S3FD weights; remove it or download it again") from error
