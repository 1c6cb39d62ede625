"""Export a generator for ONNX Runtime or OpenVINO: python -m wav2lip.export --checkpoint_path FILE --outfile FILE.onnx

The exported network has the inputs and output of `models.Wav2Lip`: `mel` (N, 1, 80, 16) in [-4, 4] and `faces`
(N, 6, R, R) in [0, 1], BGR twice, the first with its lower half 0; `painted` (N, 3, R, R) in (0, 1), BGR; all float32,
N variable. Batch-norm is fused into the convolutions. With --quantize the convolutions compute in INT8.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from models import Wav2Lip
from wav2lip.audio.mel import MEL_BANDS
from wav2lip.audio.windows import WINDOW_COLUMNS
from wav2lip.checkpoints import build_network, load_checkpoint
from wav2lip.cli import run
from wav2lip.errors import InputError, file_error
from wav2lip.faces.framing import KEY
from wav2lip.files import publish
from wav2lip.lipsync.backends import onnx, openvino
from wav2lip.lipsync.backends.exported import INPUTS, SUFFIXES, checkpoint_framing
from wav2lip.lipsync.optimize.fuse_batchnorm import fuse_batchnorm
from wav2lip.lipsync.optimize.quantization import (
    CALIBRATION_FACES,
    CHECK_FACES,
    FORMS,
    Inputs,
    quantize,
    read_faces,
)
from wav2lip.types import PathType

OPSETS = range(18, 24)  # ONNX operator sets that torch's exporter and both runtimes support
OUTPUT = "painted"  # a file format

log = logging.getLogger(__name__)


def export(
    checkpoint_path: PathType, outfile: PathType, opset: int = OPSETS[0], *, quantization: str | None = None,
    calibration_data: PathType | None = None,
) -> Path:  # fmt: skip
    """Export a checkpoint's generator as .onnx, or as OpenVINO's .xml and .bin.

    quantization: of `wav2lip.lipsync.optimize.quantization.FORMS`; None for float32.
    calibration_data: folder of clips, as preprocess writes it, of which quantization measures the activations.
    Raises: InputError if the checkpoint or the clips are unusable, the file cannot be written, or a package is missing.
    """
    outfile = Path(outfile)
    if outfile.suffix not in SUFFIXES:
        raise InputError(f"--outfile {outfile}: must end in {' or '.join(SUFFIXES)}; choose another name")
    if opset not in OPSETS:
        raise InputError(f"--opset {opset}: must be from {OPSETS[0]} to {OPSETS[-1]}")
    if (quantization is None) != (calibration_data is None):
        raise InputError(
            f"--quantize {quantization}, --calibration_data {calibration_data}: must be given together; for example "
            "--quantize mixed --calibration_data data, the output folder of preprocess"
        )
    required = ("onnx", "onnxscript") if quantization is None else ("onnx", "onnxscript", "onnxruntime")
    missing = [name for name in required if find_spec(name) is None]
    if missing:
        raise InputError(f"export requires {' and '.join(missing)}; pip install 'wav2lip-toolkit[onnx]'")
    if outfile.suffix == ".xml" and find_spec("openvino") is None:
        raise InputError(f"--outfile {outfile}: requires OpenVINO; pip install 'wav2lip-toolkit[openvino]'")
    checkpoint = load_checkpoint(checkpoint_path)
    generator = build_network(checkpoint, checkpoint_path, Wav2Lip)
    framing = checkpoint_framing(checkpoint_path, checkpoint.extras)
    faces = [] if calibration_data is None else read_faces(
        calibration_data, generator.resolution, CALIBRATION_FACES + CHECK_FACES
    )  # fmt: skip
    with _atomic_outputs(outfile) as partial:
        onnx_file = partial.with_suffix(".onnx")
        metadata = "{}" if framing is None else json.dumps({KEY: framing.to_json()})
        _write_onnx(generator, onnx_file, opset, metadata)
        if quantization is not None:
            _quantize(onnx_file, quantization, faces)
        if outfile.suffix == ".xml":
            _convert_to_openvino(onnx_file, partial, metadata)
    log.info("%s: %.0f MB, faces of %d pixels", outfile, outfile.stat().st_size / 1e6, generator.resolution)
    return outfile


def _write_onnx(generator: Wav2Lip, outfile: Path, opset: int, metadata: str) -> None:
    size = generator.resolution
    example = (torch.zeros(2, 1, MEL_BANDS, WINDOW_COLUMNS), torch.zeros(2, 6, size, size))
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*axis name: batch will not be used.*")  # both inputs share the name
        program = torch.onnx.export(
            fuse_batchnorm(generator), example, dynamo=True, dynamic_shapes={name: {0: batch} for name in INPUTS},
            input_names=list(INPUTS), output_names=[OUTPUT], opset_version=opset, verbose=False,
        )  # fmt: skip
    assert program is not None, "torch.export's exporter always returns one"
    program.model.metadata_props[onnx.METADATA] = metadata
    program.save(str(outfile))


def _quantize(onnx_file: Path, form: str, faces: list[Inputs]) -> None:
    """Replace the file by its quantized form, and log what that changes for the faces that did not calibrate it."""
    step = len(faces) // CHECK_FACES
    check = faces[::step]
    calibration = [face for number, face in enumerate(faces) if number % step]
    float_file = onnx_file.with_name(f"float_{onnx_file.name}")
    onnx_file.rename(float_file)
    quantize(float_file, onnx_file, form, calibration)
    networks = [onnx.load_onnx(path, torch.device("cpu")) for path in (float_file, onnx_file)]
    before, after = (np.concatenate([network(face["mel"], face["faces"]) for face in check]) for network in networks)
    lower = before.shape[2] // 2
    levels = 255 * np.abs(after - before)[:, :, lower:]
    float_file.unlink()
    log.info(
        "%s: lower halves of %d faces differ from float32 by %.2f grey levels in the mean, 99 %% of the pixels by at "
        "most %.1f", form, len(check), levels.mean(), np.percentile(levels, 99),
    )  # fmt: skip


def _convert_to_openvino(onnx_file: Path, outfile: Path, metadata: str) -> None:
    """Write OpenVINO's .xml and .bin in place of an .onnx file."""
    import openvino as ov

    model = ov.Core().read_model(onnx_file)
    model.set_rt_info(metadata, openvino.METADATA)
    ov.save_model(model, outfile, compress_to_fp16=False)
    onnx_file.unlink()


@contextlib.contextmanager
def _atomic_outputs(outfile: Path) -> Iterator[Path]:
    """Yield a path in a temporary folder, whose files are moved to the folder of `outfile` at the end.

    Raises: InputError if they cannot be written.
    """
    folder = outfile.with_name(f".{outfile.stem}.{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True)
        yield folder / outfile.name
        for file in sorted(folder.iterdir()):  # OpenVINO's .bin before the .xml that refers to it
            publish(file, outfile.with_name(file.name))
    except OSError as error:
        raise file_error(error, outfile) from error
    finally:
        for file in folder.glob("*"):
            file.unlink()
        if folder.is_dir():
            folder.rmdir()


def build_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.export",
        description="Export a generator as ONNX or for OpenVINO; wav2lip.infer takes the result as --checkpoint_path.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--checkpoint_path", required=True, metavar="FILE", help="generator checkpoint")
    parser.add_argument("--outfile", required=True, metavar="FILE", help=".onnx, or .xml for OpenVINO")
    parser.add_argument("--opset", type=int, default=OPSETS[0], metavar="N",
                        help=f"ONNX operator set, {OPSETS[0]} to {OPSETS[-1]}")  # fmt: skip
    parser.add_argument("--quantize", choices=FORMS, help="INT8: all convolutions, or mixed: without the first and "
                        "last layers, which stay in float32; requires --calibration_data")  # fmt: skip
    parser.add_argument("--calibration_data", metavar="DIR",
                        help="folder of clips, as preprocess writes it, that sets the ranges of INT8")  # fmt: skip
    return parser


def main() -> None:
    """Parse the flags and export."""

    def export_from_flags() -> None:
        args = build_parser().parse_args()
        export(args.checkpoint_path, args.outfile, args.opset, quantization=args.quantize,
               calibration_data=args.calibration_data)  # fmt: skip

    run(export_from_flags)


if __name__ == "__main__":
    main()
