"""A generator for ONNX Runtime or OpenVINO: python -m wav2lip.export --checkpoint_path FILE --outfile FILE.onnx

The exported network takes and gives what `models.Wav2Lip` does: `mel` (N, 1, 80, 16) in [-4, 4] and `faces`
(N, 6, R, R) in [0, 1], BGR twice, the first with its lower half 0; `painted` (N, 3, R, R) in (0, 1), BGR; all float32,
N free. Batch-norm is folded into the convolutions.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import torch

from models import Wav2Lip
from wav2lip.audio import MEL_BANDS
from wav2lip.checkpoints import load_network
from wav2lip.errors import InputError, run
from wav2lip.lipsync.exported import INPUTS, SUFFIXES
from wav2lip.lipsync.folding import folded
from wav2lip.windows import WINDOW_COLUMNS

OPSETS = range(18, 24)  # of ONNX, which torch's exporter writes and the runtimes at hand read
OUTPUT = "painted"

log = logging.getLogger(__name__)


def export(checkpoint_path: str | PathLike[str], outfile: str | PathLike[str], opset: int = OPSETS[0]) -> Path:
    """Write a checkpoint's generator as .onnx, or as OpenVINO's .xml with its .bin beside it.

    Raises: InputError if the checkpoint cannot be used, the file not written, or a package is missing.
    """
    outfile = Path(outfile)
    if outfile.suffix not in SUFFIXES:
        raise InputError(f"--outfile {outfile}: ends in none of {', '.join(SUFFIXES)}; give one that does")
    if opset not in OPSETS:
        raise InputError(f"--opset {opset}: give one from {OPSETS[0]} to {OPSETS[-1]}")
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(f"export needs {' and '.join(missing)}; pip install 'wav2lip-toolkit[onnx]'")
    if outfile.suffix == ".xml" and find_spec("openvino") is None:
        raise InputError(f"--outfile {outfile}: needs OpenVINO; pip install 'wav2lip-toolkit[openvino]'")
    generator = load_network(checkpoint_path, Wav2Lip)
    with _written_whole(outfile) as partial:
        _write(generator, partial, opset)
    log.info("%s: %.0f MB, faces of %d pixels", outfile, outfile.stat().st_size / 1e6, generator.resolution)
    return outfile


def _write(generator: Wav2Lip, outfile: Path, opset: int) -> None:
    size = generator.resolution
    example = (torch.zeros(2, 1, MEL_BANDS, WINDOW_COLUMNS), torch.zeros(2, 6, size, size))
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*axis name: batch will not be used.*")  # both inputs have the one name
        program = torch.onnx.export(
            folded(generator), example, dynamo=True, dynamic_shapes={name: {0: batch} for name in INPUTS},
            input_names=list(INPUTS), output_names=[OUTPUT], opset_version=opset, verbose=False,
        )  # fmt: skip
    assert program is not None, "the exporter of torch.export always gives one"
    if outfile.suffix == ".onnx":
        program.save(str(outfile))
        return
    import openvino

    onnx_file = outfile.with_suffix(".onnx")
    program.save(str(onnx_file))
    openvino.save_model(openvino.Core().read_model(onnx_file), outfile, compress_to_fp16=False)
    onnx_file.unlink()


@contextlib.contextmanager
def _written_whole(outfile: Path) -> Iterator[Path]:
    """A file in a folder beside the real one's place; it and what else is written there goes there when all is done.

    Raises: InputError if that cannot be.
    """
    folder = outfile.with_name(f".{outfile.stem}.{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True)
        yield folder / outfile.name
        for part in sorted(folder.iterdir()):  # OpenVINO's .bin before the .xml that names it
            os.replace(part, outfile.with_name(part.name))
    except OSError as error:
        raise InputError(f"{outfile}: could not be written ({error}); free some space or choose another") from error
    finally:
        for part in folder.glob("*"):
            part.unlink()
        if folder.is_dir():
            folder.rmdir()


def build_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.export",
        description="Write a generator as ONNX, or for OpenVINO; wav2lip.infer takes the result as --checkpoint_path.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--checkpoint_path", required=True, metavar="FILE", help="generator checkpoint")
    parser.add_argument("--outfile", required=True, metavar="FILE", help=".onnx, or .xml for OpenVINO; folder is made")
    parser.add_argument("--opset", type=int, default=OPSETS[0], metavar="N",
                        help=f"version of ONNX's operators, {OPSETS[0]} to {OPSETS[-1]}")  # fmt: skip
    return parser


def main() -> None:
    """Entry point: parse, build, run."""

    def work() -> None:
        args = build_parser().parse_args(sys.argv[1:])
        export(args.checkpoint_path, args.outfile, args.opset)

    run(work)


if __name__ == "__main__":
    main()
