"""Visual-quality discriminator: classifies the lower half of a face as real or generated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.blocks import LEAKY_SLOPE, Conv, LeakyConvBlock, fold_time, scale_channels
from models.resolutions import PUBLISHED_RESOLUTION, Shape, infer_shape, resize_conv, resize_factors
from models.spectral_norm import accept_both_forms, apply_spectral_norm

# Comments give the output size for the lower half of a 96 x 96 crop.
FACE_ENCODER = [
    [Conv(32, 7, 1, 3)],  # 48 x 96
    [Conv(64, 5, (1, 2), 2), Conv(64, 5, 1, 2)],  # 48 x 48
    [Conv(128, 5, 2, 2), Conv(128, 5, 1, 2)],  # 24 x 24
    [Conv(256, 5, 2, 2), Conv(256, 5, 1, 2)],  # 12 x 12
    [Conv(512, 3, 2, 1), Conv(512, 3, 1, 1)],  # 6 x 6
    [Conv(512, 3, 2, 1), Conv(512, 3, 1, 1)],  # 3 x 3
    [Conv(512, 3), Conv(512, 1)],  # 1 x 1
]
DOWNSAMPLE_CHANNELS = 32  # channels of added stages, see models.resolutions


def face_encoder(factors: tuple[int, ...]) -> list[list[Conv]]:
    """Return the published table with a downsampling stage for each factor after its first convolution."""
    first, *others = FACE_ENCODER
    return [
        first,
        *([resize_conv(DOWNSAMPLE_CHANNELS, factor), Conv(DOWNSAMPLE_CHANNELS, 5, 1, 2)] for factor in factors),
        *others,
    ]


class VisualQualityDiscriminator(nn.Module):
    """Score each frame independently, without audio."""

    def __init__(
        self, width: float = 1.0, resolution: int = PUBLISHED_RESOLUTION, spectral_norm: bool = False,
        init: str = "pytorch",
    ):  # fmt: skip
        """width: factor on the published channels, a multiple of 1/16.
        resolution: width and height of the faces in pixels: 96, 192, 288 or 384.
        spectral_norm: divide the weights of each convolution by their largest singular value; see models.spectral_norm.
        init: distribution of the initial weights: "pytorch", upstream's, or "he" (He et al. 2015, section 2.2). The
            network has no normalization, so with upstream's each layer shrinks the signal, and the scores of a new
            network hardly depend on the image; with He's they do from the first step on. Without effect on a
            network with spectral_norm, which sets the scale of the weights itself.
        The published network has width 1 and resolution 96.
        """
        super().__init__()
        self.resolution = resolution
        self.face_encoder_blocks = nn.ModuleList()
        channels = 3
        for table in face_encoder(resize_factors(resolution)):
            stage = []
            for conv in table:
                out = scale_channels(conv.channels, width)
                stage.append(LeakyConvBlock(channels, out, conv))
                channels = out
            self.face_encoder_blocks.append(nn.Sequential(*stage))
        self.binary_pred = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())
        if spectral_norm:
            apply_spectral_norm(self)
        elif init == "he":
            self.apply(_init_he)
        accept_both_forms(self)

    def forward(
        self, faces: Tensor, return_logits: bool = False, return_features: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Score the lower halves of T frames of B samples of resolution R.

        faces: (B, 3, T, R, R) float32 in [0, 1], BGR.
        Returns: (T * B, 1) probability that a lower half is real, or its logit; row t * B + b is frame t of sample b.
            With `return_features` also the outputs of all stages, (T * B, C, h, w) each.
        """
        x = fold_time(faces)
        x = x[:, :, x.shape[2] // 2 :]  # (T * B, 3, R / 2, R)
        features = []
        for block in self.face_encoder_blocks:
            x = block(x)
            if return_features:
                features.append(x)
        score, sigmoid = self.binary_pred
        logits = score(x).flatten(1)  # (T * B, 512, 1, 1) -> (T * B, 1)
        # In 16 bits a confident probability rounds to 1, where the gradient of the cross-entropy vanishes.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = logits if return_logits else sigmoid(logits)
        return (scores, features) if return_features else scores

    @staticmethod
    def infer_shape(state_dict: Mapping[str, Tensor]) -> Shape:
        """Infer the width and resolution of the network from its weights.

        Raises: KeyError for another network's weights, ValueError for an unknown resolution.
        """
        return infer_shape(
            state_dict, "face_encoder_blocks.{}.0.conv_block.0.weight", FACE_ENCODER[0][0], len(FACE_ENCODER)
        )


def _init_he(module: nn.Module) -> None:
    """Draw the weights of a convolution so that leaky ReLUs preserve the variance; set its bias to 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
