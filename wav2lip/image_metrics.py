"""How like its truth a made picture is: PSNR and SSIM, for training and evaluation alike.

Pictures are (N, C, H, W) in [0, 1]; each is judged by itself, in float32 or wider, on the device it lies on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RADIUS, SIGMA = 5, 1.5  # pixels: SSIM's Gaussian window is 11 x 11
STABLE_MEAN, STABLE_SPREAD = 0.01**2, 0.03**2  # the two constants of SSIM for values in [0, 1]


def lower_halves(frames: Tensor) -> Tensor:
    """What the generator repaints, as pictures: (B, C, T, H, W) -> (B * T, C, H / 2, W).

    The mouth is in it, with the chin, the neck and the sides of the jaw; the metrics "on the mouth" are of all of it.
    """
    return frames[..., frames.shape[-2] // 2 :, :].transpose(1, 2).flatten(0, 1)


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 * log10(1 / mean squared error), of each picture: (N,).

    Higher is better: 20 is an error of a tenth of the range, 40 of a hundredth; infinite for equal pictures.
    """
    picture, truth = _wide(picture), _wide(truth)
    return -10 * (picture - truth).square().mean(dim=(1, 2, 3)).log10()


def psnr_of_all(squares: np.ndarray | float, values: np.ndarray | float) -> np.ndarray:
    """PSNR in dB of many pictures of bytes together, as FFmpeg's filter psnr averages; infinite for equal ones.

    squares: the sum of the squared differences of all bytes. values: how many bytes these are.
    """
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 * np.asarray(values, np.float64) / np.asarray(squares, np.float64))


def ssim(picture: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each picture, (N,): the mean over its pixels and channels.

    Higher is better; in [-1, 1], 1 for equal pictures. As defined by Wang et al. 2004 (Image quality assessment: from
    error visibility to structural similarity): means, variances and covariance under a Gaussian window, at each place
    where the window lies wholly in the picture; so a picture has at least 11 rows and columns.
    """
    picture, truth = _wide(picture), _wide(truth)
    middle = truth.mean(dim=(1, 2, 3), keepdim=True)
    picture, truth = picture - middle, truth - middle  # near 0, where squares are subtracted with less rounding
    shade_p, shade_t = _blurred(picture), _blurred(truth)
    spread_p = _blurred(picture.square()) - shade_p.square()
    spread_t = _blurred(truth.square()) - shade_t.square()
    together = _blurred(picture * truth) - shade_p * shade_t
    mean_p, mean_t = shade_p + middle, shade_t + middle
    brightness = (2 * mean_p * mean_t + STABLE_MEAN) / (mean_p.square() + mean_t.square() + STABLE_MEAN)
    structure = (2 * together + STABLE_SPREAD) / (spread_p + spread_t + STABLE_SPREAD)
    return (brightness * structure).mean(dim=(1, 2, 3))


def _blurred(pictures: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H - 10, W - 10).

    Sums of shifted pictures: a convolution on a GPU may round its factors to 10 bits (TF32), which is too coarse for
    the variances of an even patch.
    """
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    bell = (offsets / SIGMA).square().mul(-0.5).exp()
    weights = (bell / bell.sum()).tolist()
    for dim in (2, 3):
        size = pictures.shape[dim] - 2 * RADIUS
        blurred = weights[0] * pictures.narrow(dim, 0, size)
        for start, weight in enumerate(weights[1:], start=1):
            blurred = blurred.add_(pictures.narrow(dim, start, size), alpha=weight)
        pictures = blurred
    return pictures


def _wide(pictures: Tensor) -> Tensor:
    return pictures.to(torch.promote_types(pictures.dtype, torch.float32))
