"""The networks with the output shapes of their layers, computed on the meta device."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from docs.figures.canvas import AUDIO, FACE, NETWORK, arrow, box, sheet
from models import SyncNet, VisualQualityDiscriminator, Wav2Lip

Shape = tuple[int, ...]
MEL = (1, 1, 80, 16)


def output_shapes(network: nn.Module, blocks: list[nn.Module], *inputs: Shape) -> list[Shape]:
    """Return the output shape of each block for one sample, without the batch dimension."""
    shapes: list[Shape] = []
    hooks = [block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:]))) for block in blocks]
    with torch.no_grad():
        network.eval()(*(torch.empty(shape, device="meta") for shape in inputs))
    for hook in hooks:
        hook.remove()
    return shapes


def _millions(network: nn.Module) -> str:
    return f"{sum(values.numel() for values in network.parameters()) / 1e6:.1f} M weights"


def _format(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def draw_generator() -> Figure:
    """Draw the U-Net: face encoder, audio encoder, decoder and skip connections."""
    with torch.device("meta"):
        network = Wav2Lip()
    encoder, decoder = list(network.face_encoder_blocks), list(network.face_decoder_blocks)
    faces: Shape = (1, 6, network.resolution, network.resolution)
    down = output_shapes(network, encoder, MEL, faces)
    up = output_shapes(network, decoder, MEL, faces)
    figure, axes = sheet(8, 5.2)
    axes.text(2, 2.4, f"generator (models/wav2lip.py), {_millions(network)}", weight="bold")
    box(axes, 4, 4, 18, 3.6, f"faces {_format(faces[1:])}", FACE, 8)
    for row, (shape, back) in enumerate(zip(down, reversed(up), strict=True)):
        y = 10 + 5 * row
        box(axes, 4 + row, y, 18, 3.6, _format(shape), NETWORK, 8)
        box(axes, 40 - row, y, 18, 3.6, _format(back), NETWORK, 8)
        arrow(axes, (22 + row, y + 1.8), (40 - row, y + 1.8))
        arrow(axes, (13 + row - (row > 0) * 0.5, y - (2.4 if row == 0 else 1.4)), (13 + row, y))
        if row:
            arrow(axes, (49 - row, y), (49 - row + 0.5, y - 1.4))
    axes.text(31, 10 + 0.6, "skip connections", ha="center", fontsize=7.5)
    bottom = 10 + 5 * (len(down) - 1)
    audio = output_shapes(network, [network.audio_encoder], MEL, faces)[0]
    box(axes, 62, bottom - 7.6, 14, 3.6, f"mel {_format(MEL[1:])}", AUDIO, 8)
    box(axes, 62, bottom, 14, 3.6, f"audio {_format(audio)}", AUDIO, 8)
    arrow(axes, (69, bottom - 4), (69, bottom))
    axes.text(70, bottom - 2, "audio encoder", fontsize=7.5, va="center")
    arrow(axes, (62, bottom + 1.8), (52, bottom + 1.8))
    out = output_shapes(network, [network.output_block], MEL, faces)[0]
    box(axes, 62, 10, 14, 3.6, f"output {_format(out)}", FACE, 8)
    arrow(axes, (58, 11.8), (62, 11.8))
    axes.text(4, bottom + 7.6, "down: convolutions with residual blocks; up: transposed convolutions; shapes are "
              "channels x height x width", fontsize=8)  # fmt: skip
    return figure


def draw_expert_and_discriminator() -> Figure:
    """Draw the two towers of the expert, and the discriminator."""
    with torch.device("meta"):
        expert, discriminator = SyncNet(), VisualQualityDiscriminator()
    mouths: Shape = (1, 15, expert.resolution // 2, expert.resolution)
    figure, axes = sheet(8, 5.2)
    axes.text(2, 2.4, f"expert (models/syncnet.py), {_millions(expert)}", weight="bold")
    inputs = ((f"five lower faces {_format(mouths[1:])}", FACE, expert.face_encoder),
              (f"their audio {_format(MEL[1:])}", AUDIO, expert.audio_encoder))  # fmt: skip
    for number, (label, color, tower) in enumerate(inputs):
        x = 2 + 25 * number
        box(axes, x, 4, 22, 3.6, label, color, 8)
        bottom = _tower(axes, x, 9, _halvings(output_shapes(expert, list(tower), MEL, mouths)))
        arrow(axes, (x + 11, bottom), (x + 15 - 8 * number, 45))
    box(axes, 8, 45, 35, 4.4, "two unit vectors; their cosine\nis the sync score",
        AUDIO, 8)  # fmt: skip
    axes.text(54, 2.4, f"discriminator, {_millions(discriminator)}", weight="bold")
    size = discriminator.resolution
    box(axes, 54, 4, 22, 3.6, f"one lower face 3 x {size // 2} x {size}", FACE, 8)
    stages = output_shapes(discriminator, list(discriminator.face_encoder_blocks), (1, 3, 1, size, size))
    bottom = _tower(axes, 54, 9, stages)
    box(axes, 54, 45, 22, 4.4, "probability of a real image", FACE, 8)
    arrow(axes, (65, bottom), (65, 45))
    return figure


def _halvings(shapes: list[Shape]) -> list[Shape]:
    """Return the last of consecutive shapes of equal size."""
    return [here for here, after in zip(shapes, [*shapes[1:], None], strict=True)
            if after is None or after[1:] != here[1:]]  # fmt: skip


def _tower(axes: Axes, x: float, top: float, shapes: list[Shape]) -> float:
    """Draw shapes from the top down; return the lower end of the last."""
    step = 32 / (len(shapes) - 1)
    for row, shape in enumerate(shapes):
        y = top + step * row
        arrow(axes, (x + 11, y - (1.4 if row == 0 else step - 3)), (x + 11, y))
        box(axes, x + 2, y, 18, 3, _format(shape), NETWORK, 8)
    return top + 35
