"""INT8 generators: grey levels lost and frames per second, beside float32 of the same runtime.

    python -m benchmarks.quantization --checkpoint_path FILE --data_root DIR [--rounds 5]

Exports the checkpoint in float32, INT8 and mixed, calibrated with the training clips of DIR, and compares the lower
halves of faces of its validation clips with those of float32 under the same runtime. Times are CPU times of one thread
on pairs of faces, as a live stream generates them; the configurations alternate, and the medians of the rounds count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models import Wav2Lip
from wav2lip.checkpoints import load_network
from wav2lip.dataset.filelist import read_filelist
from wav2lip.export import export
from wav2lip.lipsync.backends.exported import SUFFIXES
from wav2lip.lipsync.backends.onnx import load_onnx
from wav2lip.lipsync.backends.openvino import compile_openvino
from wav2lip.lipsync.backends.pytorch import TorchBackend
from wav2lip.lipsync.optimize.quantization import FORMS, read_faces

CPU = torch.device("cpu")
NUM_FACES, PAIR, TIMED_PAIRS = 64, 2, 10

Pairs = list[tuple[np.ndarray, np.ndarray]]  # mels and faces of two frames
Infer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # mels, faces (N, 6, R, R) -> (N, 3, R, R), all float32


def torch_infer(checkpoint: Path, precision: str) -> Infer:
    """Return PyTorch's generator with the interface of the exported ones."""
    generator = TorchBackend(load_network(checkpoint, Wav2Lip)).load(CPU, precision)

    def infer(mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(np.round(faces * 255).astype(np.uint8).transpose(0, 2, 3, 1))
        return generator(mels, images)[..., ::-1].transpose(0, 3, 1, 2) / np.float32(255)

    return infer


def build(checkpoint: Path, data: Path, folder: Path) -> dict[str, dict[str, Infer]]:
    """Return the configurations by runtime; the first of each is its float32."""
    files = {}
    for suffix in SUFFIXES:
        for form in (None, *FORMS):
            path = folder / f"{form or 'float32'}{suffix}"
            files[suffix, form] = export(checkpoint, path, quantization=form, calibration_data=data if form else None)
    onnx = {form or "float32": load_onnx(files[".onnx", form], CPU) for form in (None, *FORMS)}
    openvino = {"float32": compile_openvino(files[".xml", None], "fp32"),
                "bf16": compile_openvino(files[".xml", None], "auto")}  # fmt: skip
    openvino |= {form: compile_openvino(files[".xml", form], "auto") for form in FORMS}
    torch_forms = {"float32": torch_infer(checkpoint, "fp32"), "auto": torch_infer(checkpoint, "auto")}
    return {"PyTorch": torch_forms, "ONNX Runtime": onnx, "OpenVINO": openvino}


def measure(configurations: dict[str, dict[str, Infer]], pairs: Pairs, rounds: int) -> None:
    """Print a row for each configuration."""
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for runtime, forms in configurations.items():
            for form, infer in forms.items():
                begin = time.process_time()
                for pair in pairs[:TIMED_PAIRS]:
                    infer(*pair)
                elapsed = (time.process_time() - begin) / (TIMED_PAIRS * PAIR)
                times.setdefault((runtime, form), []).append(1000 * elapsed)
    columns = ("runtime", "form", "CPU ms per frame", "frames per second of one thread", "ratio to float32",
               "grey levels: mean", "99 %", "largest")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for runtime, forms in configurations.items():
        outputs = {form: np.concatenate([infer(*pair) for pair in pairs]) for form, infer in forms.items()}
        truth = outputs["float32"]
        base = statistics.median(times[runtime, "float32"])
        for form, output in outputs.items():
            levels = 255 * np.abs(output - truth)[:, :, truth.shape[2] // 2 :]
            milliseconds = statistics.median(times[runtime, form])
            cells = (runtime, form, f"{milliseconds:.1f}", f"{1000 / milliseconds:.1f}", f"{base / milliseconds:.2f}",
                     f"{levels.mean():.2f}", f"{np.percentile(levels, 99):.1f}", f"{levels.max():.0f}")  # fmt: skip
            print(f"| {' | '.join(cells)} |")


def read_pairs(data: Path, resolution: int) -> Pairs:
    """Read faces of the validation clips in pairs."""
    names = read_filelist(data / "filelists" / "val.txt", data)
    faces = [face for name in names for face in read_faces(data / name, resolution, NUM_FACES // len(names))]
    return [
        (np.concatenate([face["mel"] for face in pair]), np.concatenate([face["faces"] for face in pair]))
        for pair in zip(faces[::PAIR], faces[1::PAIR], strict=False)
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint_path", type=Path, required=True)
    parser.add_argument("--data_root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        configurations = build(args.checkpoint_path, args.data_root, Path(folder))
        resolution = load_network(args.checkpoint_path, Wav2Lip).resolution
        measure(configurations, read_pairs(args.data_root, resolution), args.rounds)


if __name__ == "__main__":
    main()
