"""Accuracy of experts on degraded faces, and on audio that is shifted by few frames.

    python -m benchmarks.expert_robustness EXPERT [EXPERT ...] --data_root DIR [--split val]

Every window of the clips is compared with its own audio and with audio of the same clip at least eight frames away.
Faces are degraded at the size of the network, equally in all frames. The last columns rank the own audio against that
of 1 to 4 frames away.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from models import SyncNet
from wav2lip.audio import load_wav
from wav2lip.audio.windows import SAMPLES_PER_FRAME
from wav2lip.checkpoints import load_network
from wav2lip.dataset.clip import AUDIO, Clip
from wav2lip.dataset.filelist import read_filelist
from wav2lip.sync.expert import Embedding
from wav2lip.sync.roc import roc_auc
from wav2lip.sync.syncnet_experts import SyncNetExpert

MIN_NEGATIVE_OFFSET = 8  # frames
NEAR_SHIFTS = (1, 2, 3, 4)  # frames, either way
THRESHOLD = 0.5  # of the cosine
Degrade = Callable[[np.ndarray], np.ndarray]


def compress(image: np.ndarray) -> np.ndarray:
    """Encode and decode as JPEG of quality 50."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])  # OpenCV encodes BGR
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def blur(image: np.ndarray) -> np.ndarray:
    """Blur with a standard deviation of one pixel."""
    return cv2.GaussianBlur(image, (0, 0), 1)


def scale_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the brightness, clipped at 255."""
    return cv2.convertScaleAbs(image, alpha=factor)


def shift_box(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Move the box; edge pixels are repeated."""
    move = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
    return cv2.warpAffine(image, move, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


CONDITIONS: dict[str, Degrade] = {
    "as recorded": lambda image: image,
    "JPEG 50": compress,
    "blur of 1 pixel": blur,
    "brightness + 10 %": lambda image: scale_brightness(image, 1.1),
    "brightness - 10 %": lambda image: scale_brightness(image, 0.9),
    "box 3 pixels to the right": lambda image: shift_box(image, 3, 0),
    "box 3 pixels down": lambda image: shift_box(image, 0, 3),
}


def embed_degraded(expert: SyncNetExpert, clip: Clip, degrade: Degrade) -> Embedding:
    """Embed a clip with degraded faces of the network's size."""
    first, last, present = int(clip.frames[0]), int(clip.frames[-1]), set(clip.frames.tolist())
    size = expert.network.resolution
    faces = (degrade(clip.read(n, size)) if n in present else None for n in range(first, last + 1))
    wav = load_wav(clip.path / AUDIO)[first * SAMPLES_PER_FRAME :]
    lips, audio = (torch.cat(blocks).numpy() for blocks in zip(*expert.embed_stream(faces, wav), strict=True))
    (starts,) = np.nonzero(~np.isnan(lips).any(axis=1))
    return Embedding(starts, lips[starts], audio)


def shifted_cosines(embeddings: Sequence[Embedding], shift: int) -> np.ndarray:
    """Return the cosines of lips and audio `shift` frames later, of all windows that have it."""
    cosines = []
    for embedding in embeddings:
        rows = embedding.starts + shift
        inside = (rows >= 0) & (rows < len(embedding.audio))
        cosines.append((embedding.lips[inside] * embedding.audio[rows[inside]]).sum(axis=1))
    return np.concatenate(cosines)


def negative_cosines(embeddings: Sequence[Embedding]) -> np.ndarray:
    """Return the cosines of lips and audio of the same clip at least MIN_NEGATIVE_OFFSET frames away."""
    cosines = []
    for embedding in embeddings:
        products = embedding.lips @ embedding.audio[embedding.starts].T
        distance = np.abs(embedding.starts[:, None] - embedding.starts[None])
        cosines.append(products[distance >= MIN_NEGATIVE_OFFSET])
    return np.concatenate(cosines)


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the probability that a positive cosine is higher than a negative one."""
    return roc_auc(np.concatenate([positive, negative]), np.repeat([True, False], [len(positive), len(negative)]))


def measure(expert: SyncNetExpert, clips: Sequence[Clip], degrade: Degrade) -> list[float]:
    """Return balanced accuracy, AUC, and the AUC against each of NEAR_SHIFTS."""
    embeddings = [embed_degraded(expert, clip, degrade) for clip in clips]
    positive, negative = shifted_cosines(embeddings, 0), negative_cosines(embeddings)
    accuracy = (np.mean(positive > THRESHOLD) + np.mean(negative <= THRESHOLD)) / 2
    near = [
        auc(positive, np.concatenate([shifted_cosines(embeddings, sign * shift) for sign in (-1, 1)]))
        for shift in NEAR_SHIFTS
    ]
    return [float(accuracy), auc(positive, negative), *near]


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experts", nargs="+", type=Path, help="checkpoints of train.syncnet")
    parser.add_argument("--data_root", type=Path, required=True)
    parser.add_argument("--split", default="val")
    args = parser.parse_args()
    names = read_filelist(args.data_root / "filelists" / f"{args.split}.txt", args.data_root)
    clips = [Clip.open(args.data_root / name) for name in names]
    columns = ["expert", "faces", "accuracy", "AUC", *(f"AUC at {shift}" for shift in NEAR_SHIFTS)]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for path in args.experts:
        expert = SyncNetExpert(load_network(path, SyncNet))
        for name, degrade in CONDITIONS.items():
            values = " | ".join(f"{value:.3f}" for value in measure(expert, clips, degrade))
            print(f"| {path} | {name} | {values} |", flush=True)


if __name__ == "__main__":
    main()
