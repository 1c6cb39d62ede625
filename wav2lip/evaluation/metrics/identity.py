"""Identity of the generated face, measured by a face-recognition network that the user supplies."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from wav2lip.evaluation.metrics.base import HIGHER, FrameSample, Metric, Scores, not_computed, resize_faces, to_planes
from wav2lip.evaluation.metrics.torchscript import run_network

FACE_SIZE = 112  # pixels: input of most face-recognition networks
FLAG = "--identity_network"
METRICS = (
    Metric("identity", HIGHER, "-1 to 1, 1 for the same image", "",
           "mean over frames of the cosine of the embeddings of the generated and the source's face box, both resized "
           "to 112 x 112, RGB in [-1, 1]", "cosine of face embeddings, as in Deng et al. 2019, ArcFace",
           f"the video that the face was taken from; {FLAG} (TorchScript: (N, 3, 112, 112) to (N, D))"),
)  # fmt: skip


class Identity:
    """Cosine of face embeddings; a `FrameMetric`."""

    def __init__(self, network: nn.Module | None, device: torch.device | str = "cpu"):
        """network: (N, 3, 112, 112) float32 RGB in [-1, 1] to (N, D); None: not computed."""
        self.network, self.device = network, device
        self.sums = torch.zeros(2, dtype=torch.float64)  # sum of cosines, and number of frames

    @torch.inference_mode()
    def update(self, sample: FrameSample) -> None:
        """Add frames; ignored without source or network."""
        if self.network is None or sample.source is None:
            return
        faces = torch.cat([to_planes(resize_faces(faces, FACE_SIZE)) for faces in (sample.faces, sample.source)])
        generated, source = run_network(self.network, 2 * faces.to(self.device) - 1, FLAG, "(N, D)", 2).chunk(2)
        self.sums[0] += float(F.cosine_similarity(generated, source).sum())
        self.sums[1] += len(sample.faces)

    def compute(self) -> Scores:
        """Return the mean over the frames with a source."""
        if self.network is None:
            return not_computed(METRICS, f"{FLAG} is not set; give a face-recognition network")
        cosines, frames = self.sums.tolist()
        if not frames:
            return not_computed(METRICS, "there is no source video to compare the face with; give one")
        return Scores({"identity": cosines / frames})
