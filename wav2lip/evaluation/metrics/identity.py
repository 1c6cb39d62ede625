"""Whether the made face is still the same person, for a face-recognition network that the user brings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from wav2lip.crops import resize
from wav2lip.evaluation.metrics.look import Look, as_values
from wav2lip.evaluation.metrics.metric import HIGHER, Metric, Scores, not_computed
from wav2lip.evaluation.metrics.scripted import asked

SIDE = 112  # pixels: what most networks of face recognition take
FLAG = "--identity_network"
METRICS = (
    Metric("identity", HIGHER, "-1 to 1, 1 for the same picture", "",
           "mean over frames of the cosine of the vectors of the made and the source's face box, both resized to "
           "112 x 112, RGB in [-1, 1]", "cosine of face embeddings, as in Deng et al. 2019, ArcFace",
           f"the video that the face was taken from; {FLAG} (TorchScript: (N, 3, 112, 112) to (N, D))"),
)  # fmt: skip


class Identity:
    """Takes the frames of one video."""

    def __init__(self, network: nn.Module | None, device: torch.device | str = "cpu"):
        """network: (N, 3, 112, 112) float32 RGB in [-1, 1] to (N, D); None where none is given."""
        self.network, self.device = network, device
        self._sum, self._frames = 0.0, 0

    @torch.inference_mode()
    def add(self, look: Look) -> None:
        """The next frame; passed over where there is no source, or no network."""
        if self.network is None or look.source is None:
            return
        faces = torch.cat([as_values(resize(face, SIDE, SIDE)) for face in (look.face, look.source)])
        made, source = asked(self.network, 2 * faces.to(self.device) - 1, FLAG, "(N, D)", 2)
        self._sum += float(F.cosine_similarity(made, source, dim=0))
        self._frames += 1

    def scores(self) -> Scores:
        """Mean over the frames that had a source."""
        if self.network is None:
            return not_computed(METRICS, f"no network of face recognition is given; give {FLAG} FILE")
        if not self._frames:
            return not_computed(METRICS, "there is no source video to compare the face with; give one")
        return Scores({"identity": self._sum / self._frames})
