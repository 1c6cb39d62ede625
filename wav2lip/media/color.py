"""Colors of frames: HDR and wide gamuts to BT.709, the color space of results, and transparency to white."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

PQ, HLG = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67
HDR_TRANSFERS = (PQ, HLG)
# x and y of red, green and blue (ITU-R BT.709, BT.2020, SMPTE RP 431-2 and EG 432-1); white is D65.
CHROMATICITIES = {
    ColorPrimaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    ColorPrimaries.SMPTE431: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
WIDE_PRIMARIES = set(CHROMATICITIES) - {ColorPrimaries.BT709}
WHITE = (0.3127, 0.3290)
SDR_GAMMA = 2.4  # ITU-R BT.1886
REFERENCE_WHITE_NITS = 203.0  # of SDR white in an HDR signal, ITU-R BT.2408
HLG_PEAK_NITS, HLG_GAMMA = 1000.0, 1.2  # nominal display of ITU-R BT.2100
SHOULDER = 0.95  # signal level from which highlights are compressed: the levels of SDR content are not changed below
HDR_PROBLEM = "its HDR or wide-gamut colors are converted to BT.709"
GRID = 65  # entries of the 3D table per channel
COLORSPACE_UNSPECIFIED = 2  # FFmpeg's AVCOL_SPC_UNSPECIFIED


def is_bt709(transfer: int, primaries: int) -> bool:
    """Return True if colors are shown as they are: SDR with the primaries of BT.709, or none stated."""
    return transfer not in (*HDR_TRANSFERS, ColorTrc.LINEAR) and primaries not in WIDE_PRIMARIES


def convert_to_bt709(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Convert the color of pixels.

    rgb: (..., 3) nonlinear R'G'B' in [0, 1] of a video with that transfer function and primaries.
    Returns: (..., 3) nonlinear BT.709 in [0, 1]; reference white of HDR becomes white, highlights are compressed.
    """
    if primaries not in CHROMATICITIES:
        primaries = ColorPrimaries.BT2020 if transfer in HDR_TRANSFERS else ColorPrimaries.BT709
    to_xyz = _rgb_to_xyz(primaries)
    light = _display_light(np.asarray(rgb, np.float64), transfer)
    light = light @ (np.linalg.inv(_rgb_to_xyz(ColorPrimaries.BT709)) @ to_xyz).T
    signal = np.maximum(light, 0) ** (1 / SDR_GAMMA)
    peak = signal.max(axis=-1, keepdims=True)  # scaling all channels by it preserves the hue
    room = 1 - SHOULDER
    compressed = SHOULDER + room * -np.expm1(-np.maximum(peak - SHOULDER, 0) / room)
    return np.where(peak > SHOULDER, signal * compressed / np.maximum(peak, SHOULDER), signal)


def _display_light(rgb: np.ndarray, transfer: int) -> np.ndarray:
    """Return linear light relative to SDR white."""
    if transfer == PQ:  # SMPTE ST 2084
        power = rgb ** (1 / 78.84375)
        nits = 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        return nits / REFERENCE_WHITE_NITS
    if transfer == HLG:  # ITU-R BT.2100
        a = 0.17883277
        b = 1 - 4 * a
        c = 0.5 - a * np.log(4 * a)
        scene = np.where(rgb <= 0.5, rgb**2 / 3, (np.exp((rgb - c) / a) + b) / 12)
        # Per channel like SDR cameras and zimg, which keeps their saturation; BT.2100 scales by the luminance.
        return scene**HLG_GAMMA * HLG_PEAK_NITS / REFERENCE_WHITE_NITS
    return rgb if transfer == ColorTrc.LINEAR else rgb**SDR_GAMMA


def _rgb_to_xyz(primaries: int) -> np.ndarray:
    """Return the matrix (3, 3) from linear RGB to XYZ; white has a luminance of 1."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*CHROMATICITIES[ColorPrimaries(primaries)], WHITE)]).T
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])


def convert_image_to_bt709(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Convert the color of an image (H, W, 3) uint8; see `convert_to_bt709`."""
    rows = (convert_to_bt709(row / 255.0, transfer, primaries) for row in rgb)  # bounds the memory
    return np.stack([np.rint(row.clip(0, 1) * 255).astype(np.uint8) for row in rows])


def flatten_alpha(rgba: np.ndarray) -> tuple[np.ndarray, bool]:
    """Composite an image (H, W, 4) uint8 over white; also return whether any pixel is transparent."""
    alpha = rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3]), False
    weighted = rgba[..., :3].astype(np.uint16) * alpha + 255 * (255 - alpha.astype(np.uint16))
    return ((weighted + 127) // 255).astype(np.uint8), True


@lru_cache
def _cube(transfer: int, primaries: int) -> str:
    """Return the conversion as the text of a .cube file, red fastest."""
    levels = np.linspace(0, 1, GRID)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    table = convert_to_bt709(np.stack([red, green, blue], axis=-1), transfer, primaries).clip(0, 1).reshape(-1, 3)
    return f"LUT_3D_SIZE {GRID}\n" + ("%.5f %.5f %.5f\n" * len(table)) % tuple(table.ravel())


class ColorConverter:
    """Convert frames of one video to BT.709 with FFmpeg's 3D lookup table."""

    def __init__(self) -> None:
        self._key: tuple[int, ...] = ()
        self._graph: av.filter.Graph | None = None

    def convert(self, frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
        """Return a frame in 16-bit RGB of that size in pixels."""
        if frame.colorspace == COLORSPACE_UNSPECIFIED and not frame.format.is_rgb:
            frame.colorspace = Colorspace.BT2020
        rgb = frame.reformat(width, height, "gbrp16le")
        key = frame.color_trc, frame.color_primaries, width, height
        if self._graph is None or key != self._key:
            self._key, self._graph = key, _build_graph(*key)
        self._graph.vpush(rgb)
        return self._graph.vpull()


def _build_graph(transfer: int, primaries: int, width: int, height: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("gbrp16le"), time_base=Fraction(1, 25)
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bt709.cube"
        path.write_text(_cube(transfer, primaries))
        table = graph.add("lut3d", file=str(path), interp="tetrahedral")
    graph.link_nodes(source, table, graph.add("buffersink")).configure()
    return graph
