"""Wav2Lip generator: generates the lower half of a face so that it matches the audio."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.blocks import Conv, ConvBlock, UpConvBlock, conv_stack, fold_time, scale_channels, unfold_time
from models.resolutions import PUBLISHED_RESOLUTION, Shape, infer_shape, resize_conv, resize_factors

# Comments give the output size for 96 x 96 crops.
FACE_ENCODER = [
    [Conv(16, 7, 1, 3)],  # 96 x 96
    [Conv(32, 3, 2, 1), Conv(32, 3, 1, 1, residual=True), Conv(32, 3, 1, 1, residual=True)],  # 48 x 48
    [Conv(64, 3, 2, 1), *[Conv(64, 3, 1, 1, residual=True)] * 3],  # 24 x 24
    [Conv(128, 3, 2, 1), *[Conv(128, 3, 1, 1, residual=True)] * 2],  # 12 x 12
    [Conv(256, 3, 2, 1), *[Conv(256, 3, 1, 1, residual=True)] * 2],  # 6 x 6
    [Conv(512, 3, 2, 1), Conv(512, 3, 1, 1, residual=True)],  # 3 x 3
    [Conv(512, 3), Conv(512, 1)],  # 1 x 1
]
# One residual block of 256 channels fewer than SyncNet's, so their weights are not interchangeable.
AUDIO_ENCODER = [
    Conv(32, 3, 1, 1),  # 80 x 16
    Conv(32, 3, 1, 1, residual=True),
    Conv(32, 3, 1, 1, residual=True),
    Conv(64, 3, (3, 1), 1),  # 27 x 16
    Conv(64, 3, 1, 1, residual=True),
    Conv(64, 3, 1, 1, residual=True),
    Conv(128, 3, 3, 1),  # 9 x 6
    Conv(128, 3, 1, 1, residual=True),
    Conv(128, 3, 1, 1, residual=True),
    Conv(256, 3, (3, 2), 1),  # 3 x 3
    Conv(256, 3, 1, 1, residual=True),
    Conv(512, 3),  # 1 x 1
    Conv(512, 1),
]
# The output of each stage is concatenated with the encoder map of its size. The first row of every stage but stage 0
# is a transposed convolution.
FACE_DECODER = [
    [Conv(512, 1)],  # 1 x 1
    [Conv(512, 3), Conv(512, 3, 1, 1, residual=True)],  # 3 x 3
    [Conv(512, 3, 2, 1), *[Conv(512, 3, 1, 1, residual=True)] * 2],  # 6 x 6
    [Conv(384, 3, 2, 1), *[Conv(384, 3, 1, 1, residual=True)] * 2],  # 12 x 12
    [Conv(256, 3, 2, 1), *[Conv(256, 3, 1, 1, residual=True)] * 2],  # 24 x 24
    [Conv(128, 3, 2, 1), *[Conv(128, 3, 1, 1, residual=True)] * 2],  # 48 x 48
    [Conv(64, 3, 2, 1), *[Conv(64, 3, 1, 1, residual=True)] * 2],  # 96 x 96
]
OUTPUT = Conv(32, 3, 1, 1)
# Channels of the stages that larger resolutions add, see models.resolutions.
DOWNSAMPLE_CHANNELS, UPSAMPLE_CHANNELS = 16, 32


def face_encoder(factors: tuple[int, ...]) -> list[list[Conv]]:
    """Return the published table with a downsampling stage for each factor after its first convolution."""
    first, *others = FACE_ENCODER
    added = (
        [resize_conv(DOWNSAMPLE_CHANNELS, factor), *[Conv(DOWNSAMPLE_CHANNELS, 3, 1, 1, residual=True)] * 2]
        for factor in factors
    )
    return [first, *added, *others]


def face_decoder(factors: tuple[int, ...]) -> list[list[Conv]]:
    """Return the published table with an upsampling stage for each factor at its end, in reverse order."""
    added = (
        [resize_conv(UPSAMPLE_CHANNELS, f), *[Conv(UPSAMPLE_CHANNELS, 3, 1, 1, residual=True)] * 2]
        for f in reversed(factors)
    )
    return [*FACE_DECODER, *added]


def grow_weights(weights: Mapping[str, Tensor], resolution: int, larger: int) -> dict[str, Tensor]:
    """Return the weights that a network of a larger resolution takes over from one of a smaller one.

    They are those of the first convolution, the published stages and the last convolution; the stages that the larger
    resolution adds, and the output's first convolution behind them, are not among them (progressive growing, Karras et
    al. 2018, arXiv 1710.10196).
    weights: state_dict of a Wav2Lip of `resolution` pixels.
    Returns: a part of the state_dict of one of `larger` pixels and the same width.
    """
    added, added_larger = len(resize_factors(resolution)), len(resize_factors(larger))
    grown = {}
    for key, value in weights.items():
        part, block, *rest = key.split(".")
        number = int(block)
        if part == "face_encoder_blocks" and number > 0:
            number = number + added_larger - added if number > added else -1
        is_added = number < 0 or (part == "face_decoder_blocks" and number >= len(FACE_DECODER))
        if not is_added and (part, number) != ("output_block", 0):
            grown[".".join([part, str(number), *rest])] = value
    return grown


class Wav2Lip(nn.Module):
    """U-Net over the face with an audio embedding as bottleneck."""

    def __init__(self, width: float = 1.0, resolution: int = PUBLISHED_RESOLUTION):
        """width: factor on the published channels, a multiple of 1/16.
        resolution: width and height of the faces in pixels: 96, 192, 288 or 384.
        The published network has width 1 and resolution 96.
        """
        super().__init__()
        self.resolution, factors = resolution, resize_factors(resolution)
        self.face_encoder_blocks = nn.ModuleList()
        channels, skips = 6, []
        for table in face_encoder(factors):
            self.face_encoder_blocks.append(conv_stack(channels, table, width))
            channels = scale_channels(table[-1].channels, width)
            skips.append(channels)
        self.audio_encoder = conv_stack(1, AUDIO_ENCODER, width)
        self.face_decoder_blocks = nn.ModuleList()
        channels = scale_channels(AUDIO_ENCODER[-1].channels, width)
        for stage, table in enumerate(face_decoder(factors)):
            first = ConvBlock if stage == 0 else UpConvBlock
            out = scale_channels(table[0].channels, width)
            self.face_decoder_blocks.append(
                nn.Sequential(first(channels, out, table[0]), *conv_stack(out, table[1:], width))
            )
            channels = out + skips[-1 - stage]
        out = scale_channels(OUTPUT.channels, width)
        self.output_block = nn.Sequential(ConvBlock(channels, out, OUTPUT), nn.Conv2d(out, 3, 1), nn.Sigmoid())

    def forward(
        self, mel: Tensor, faces: Tensor, return_features: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Generate faces for B samples of T frames of R x R pixels; four-dimensional input has one frame per sample.

        Frames are independent of each other, except for batch-norm statistics in training mode.
        mel: (B, 1, 80, 16) or (B, T, 1, 80, 16) float32 in [-4, 4], the audio around each frame.
        faces: (B, 6, R, R) or (B, 6, T, R, R) float32 in [0, 1], BGR twice: the target face with its lower half set
            to 0, then an unmasked reference face of the same person.
        Returns: (B, 3, R, R) or (B, 3, T, R, R) float32 in (0, 1), BGR. With `return_features` also the outputs of
            all decoder stages, (B, C, h, w) or (T * B, C, h, w) each.
        """
        features: list[Tensor] | None = [] if return_features else None
        if faces.dim() == 4:
            frames = self._generate(mel, faces, features)
        else:
            folded = self._generate(mel.transpose(0, 1).flatten(0, 1), fold_time(faces), features)
            frames = unfold_time(folded, batch=len(faces))
        return frames if features is None else (frames, features)

    def _generate(self, mel: Tensor, faces: Tensor, features: list[Tensor] | None) -> Tensor:
        skips = []
        for block in self.face_encoder_blocks:
            faces = block(faces)
            skips.append(faces)
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = block(x)
            if features is not None:
                features.append(x)
            x = torch.cat([x, skips.pop()], dim=1)
        return self.output_block(x)

    @staticmethod
    def infer_shape(state_dict: Mapping[str, Tensor]) -> Shape:
        """Infer the width and resolution of the network from its weights.

        Raises: KeyError for another network's weights, ValueError for an unknown resolution.
        """
        return infer_shape(
            state_dict, "face_encoder_blocks.{}.0.conv_block.0.weight", FACE_ENCODER[0][0], len(FACE_ENCODER)
        )
