"""PSNR and SSIM of image batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RADIUS, SIGMA = 5, 1.5  # pixels: SSIM's Gaussian window is 11 x 11
C1, C2 = 0.01**2, 0.03**2  # stabilize SSIM for values in [0, 1]


def lower_halves(frames: Tensor) -> Tensor:
    """Return the region that the generator paints, as images: (B, C, T, H, W) -> (B * T, C, H / 2, W).

    It contains the mouth, the chin, the neck and the sides of the jaw; "mouth" metrics cover all of it.
    """
    return frames[..., frames.shape[-2] // 2 :, :].transpose(1, 2).flatten(0, 1)


def psnr_from_errors(squares: np.ndarray | float, values: np.ndarray | float) -> np.ndarray:
    """Return the PSNR in dB of 8-bit images, averaged as FFmpeg's filter psnr does; infinite for equal images.

    squares: sum of the squared differences of all bytes. values: number of bytes.
    """
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 * np.asarray(values, np.float64) / np.asarray(squares, np.float64))


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each image, (N,), averaged over pixels and channels; 1 for equal images.

    images, truth: (N, C, H, W) in [0, 1], at least 11 x 11; computed in float32 or wider.
    Follows Wang et al. 2004 (Image quality assessment: from error visibility to structural similarity): means,
    variances and covariance under a Gaussian window, at each position where the window lies inside the image.
    """
    images, truth = _to_float(images), _to_float(truth)
    middle = truth.mean(dim=(1, 2, 3), keepdim=True)
    images, truth = images - middle, truth - middle  # near 0, where differences of squares round less
    mean_i, mean_t = _blur(images), _blur(truth)
    variance_i = _blur(images.square()) - mean_i.square()
    variance_t = _blur(truth.square()) - mean_t.square()
    covariance = _blur(images * truth) - mean_i * mean_t
    mean_i, mean_t = mean_i + middle, mean_t + middle
    luminance = (2 * mean_i * mean_t + C1) / (mean_i.square() + mean_t.square() + C1)
    structure = (2 * covariance + C2) / (variance_i + variance_t + C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _blur(images: Tensor) -> Tensor:
    """Blur images (N, C, H, W) to (N, C, H - 10, W - 10).

    Sums shifted images, because a convolution on a GPU may round its factors to 10 bits (TF32), which is too coarse for
    the variances of a flat region.
    """
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    gaussian = (offsets / SIGMA).square().mul(-0.5).exp()
    weights = (gaussian / gaussian.sum()).tolist()
    for dim in (2, 3):
        size = images.shape[dim] - 2 * RADIUS
        blurred = weights[0] * images.narrow(dim, 0, size)
        for start, weight in enumerate(weights[1:], start=1):
            blurred = blurred.add_(images.narrow(dim, start, size), alpha=weight)
        images = blurred
    return images


def _to_float(images: Tensor) -> Tensor:
    return images.to(torch.promote_types(images.dtype, torch.float32))
