"""SyncNet v2, which defines LSE-D and LSE-C (lip-sync error, distance and confidence; Prajwal et al. 2020).

`offset_curve` with a `SyncNetV2Expert` follows upstream's evaluation step by step, quirks included, so that scores are
comparable with published ones: LSE-D is the minimum of the curve, LSE-C its median minus the minimum. Upstream prints
the offset with the opposite sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import SyncNetV2
from models.syncnet_v2 import WINDOW_FRAMES
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.mfcc import CEPSTRA_RATE, mfcc
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME, window_starts
from wav2lip.checkpoints import load_checkpoint, load_weights
from wav2lip.dataset.clip import AUDIO, Clip
from wav2lip.errors import InputError
from wav2lip.faces.crops import resize
from wav2lip.faces.tensors import to_network
from wav2lip.media import read_audio
from wav2lip.sync.expert import (
    BATCH_V2_WINDOWS,
    BATCH_WINDOWS,
    Embedding,
    batched,
    clip_span,
    concatenate,
    frame_blocks,
    stack_windows,
)
from wav2lip.types import PathType

FACE_SIZE = 224  # pixels, width and height
COLUMNS_PER_FRAME = int(CEPSTRA_RATE / FPS)  # 4
WINDOW_COLUMNS = WINDOW_FRAMES * COLUMNS_PER_FRAME  # 20 cepstra
BLANK_FACE = np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8)  # input for missing frames, whose windows are dropped


def load_syncnet_v2(path: PathType, device: torch.device | str = "cpu") -> SyncNetV2:
    """Load SyncNet v2 from syncnet_v2.model or a re-saved copy of it, frozen and in eval mode.

    Files of the first torch versions, and files without the batch counters that came later, are supported.
    Raises: InputError if the file is missing, corrupt, of another network, or would run code when opened.
    """
    network = SyncNetV2()
    load_weights(network, load_checkpoint(path).state_dict, path)
    network.netcnnlip.to(memory_format=torch.channels_last_3d)  # a third faster on a CPU
    return network.to(device).eval().requires_grad_(False)


class SyncNetV2Expert:
    """SyncNet v2 as a sync expert.

    It was trained to minimize Euclidean distances. `estimate_offset` uses inner products, which is equivalent: over all
    windows of a clip the mean squared distance is a constant minus twice the mean product. Embeddings keep their norms.
    """

    pads_audio = True  # as upstream's evaluation does

    def __init__(self, network: SyncNetV2):
        """network: as returned by `load_syncnet_v2`."""
        self.network = network
        self.device = next(network.parameters()).device

    def distance(self, lips: Tensor, audio: Tensor) -> Tensor:
        """Return the Euclidean distance along the last dimension."""
        return F.pairwise_distance(lips, audio)

    @torch.inference_mode()
    def embed_stream(self, frames: Iterable[np.ndarray | None], wav: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Embed all windows of a video; see `StreamingExpert`.

        n frames give n - 5 windows, as in upstream's evaluation: a window requires one further frame after it.
        Raises: ValueError if wav is empty or not finite.
        """
        cepstra, num_frames = mfcc(wav), len(wav) // SAMPLES_PER_FRAME
        if num_frames <= WINDOW_FRAMES:
            return
        columns = np.lib.stride_tricks.sliding_window_view(cepstra, WINDOW_COLUMNS, axis=1)  # (13, windows, 20)
        windows = columns[:, ::COLUMNS_PER_FRAME].swapaxes(0, 1)  # one for each frame
        faces = (frame if frame is None else resize(frame, FACE_SIZE, FACE_SIZE) for frame in frames)
        for first, block in frame_blocks(islice(faces, num_frames), BATCH_V2_WINDOWS, WINDOW_FRAMES):
            count = len(block) - WINDOW_FRAMES
            lips = self._embed_lips(np.stack([BLANK_FACE if face is None else face for face in block[:-1]]))
            missing = torch.tensor([face is None for face in block[:-1]])
            lips[missing.unfold(0, WINDOW_FRAMES, 1).any(dim=1)] = torch.nan
            yield lips, self._embed_audio(windows[first : first + count].copy())

    @torch.inference_mode()
    def embed(self, clip: Clip) -> Embedding:
        """Embed a clip; see `Expert`. Only the audio that is embedded is read."""
        frames, begin, end = clip_span(clip)
        starts = window_starts(frames)
        runs = np.split(starts, np.flatnonzero(np.diff(starts) > 1) + 1)  # without gaps
        lips = [self._clip_lips(clip, batch) for run in runs for batch in batched(run, BATCH_V2_WINDOWS)]
        audio = [self._embed_audio(batch).numpy() for batch in batched(_read_cepstra(clip, begin, end), BATCH_WINDOWS)]
        return Embedding(starts - begin, concatenate(lips), concatenate(audio))

    def _clip_lips(self, clip: Clip, starts: np.ndarray) -> np.ndarray:
        """starts: (B,) consecutive frames. Returns: (B, 1024)."""
        frames = range(int(starts[0]), int(starts[-1]) + WINDOW_FRAMES)
        return self._embed_lips(np.stack([clip.read(frame, FACE_SIZE) for frame in frames])).numpy()

    def _embed_lips(self, faces: np.ndarray) -> Tensor:
        """faces: (T, 224, 224, 3) uint8 RGB. Returns: (T - 4, 1024)."""
        values = 255 * to_network(torch.from_numpy(faces).to(self.device))  # (T, 3, 224, 224)
        return self.network.embed_lips(values.transpose(0, 1)[None])[0].cpu()

    def _embed_audio(self, cepstra: np.ndarray) -> Tensor:
        """cepstra: (B, 13, 20). Returns: (B, 1024)."""
        return self.network.embed_audio(torch.from_numpy(cepstra[:, None]).to(self.device)).cpu()


def _read_cepstra(clip: Clip, begin: int, end: int) -> np.ndarray:
    """Return the cepstra windows that start with frames begin..end-1, up to the end of the audio: (T, 13, 20) float32.

    Raises: InputError if the audio cannot be read, is not finite or ends before `begin`.
    """
    first = max(0, begin - 1)  # pre-emphasis requires the sample before
    try:
        # The last cepstrum of a window extends into the next frame.
        cepstra = mfcc(_read_audio(clip, first, end + WINDOW_FRAMES))
    except ValueError as error:
        raise InputError(f"{clip.path / AUDIO}: cannot be scored for sync ({error}); remove the clip") from error
    return stack_windows(cepstra, [COLUMNS_PER_FRAME * (f - first) for f in range(begin, end)], WINDOW_COLUMNS)


def _read_audio(clip: Clip, first: int, end: int) -> np.ndarray:
    """Return the samples of frames first..end-1; fewer if the audio ends earlier."""
    samples = (end - first) * SAMPLES_PER_FRAME
    blocks, length = [np.zeros(0, np.float32)], 0
    for block in read_audio(clip.path / AUDIO, SAMPLE_RATE, start=first / FPS, seek=True):
        blocks.append(block)
        length += len(block)
        if length >= samples:
            break
    return np.concatenate(blocks)[:samples]
