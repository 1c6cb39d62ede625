"""Run the inference command on corrupt files, in a process of its own.

    python -m tests.wav2lip.lipsync.fuzz_inputs FOLDER FIRST COUNT

FOLDER contains `seeds/` (valid files) and `thin.pth`. The number n determines case n. Writes one JSON line per case to
standard output. A case that exceeds `LIMIT_S` ends the process with a traceback of all threads.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import logging
import sys
import time
import traceback
from pathlib import Path

import numpy as np

LIMIT_S = 60.0  # per case; usually less than one second
IMAGE_SUFFIXES = {".png", ".jpg", ".webp"}
AUDIO_SUFFIXES = {".wav", ".mp3", ".flac", ".ogg"}


def flip_bits(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flip some bits anywhere."""
    positions = rng.integers(0, len(data), rng.integers(1, 40))
    data[positions] ^= (1 << rng.integers(0, 8, len(positions))).astype(np.uint8)
    return data


def replace_head(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace some of the first 300 bytes: sizes, types, counts."""
    positions = rng.integers(0, min(300, len(data)), rng.integers(1, 8))
    data[positions] = rng.integers(0, 256, len(positions))
    return data


def replace_tail(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace some of the last 2000 bytes, the index of some formats."""
    positions = len(data) - 1 - rng.integers(0, min(2000, len(data)), rng.integers(1, 8))
    data[positions] = rng.integers(0, 256, len(positions))
    return data


def truncate(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Truncate the file."""
    return data[: rng.integers(0, len(data))]


def zero_range(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Zero a range, as in an incomplete download."""
    first = rng.integers(0, len(data))
    data[first : first + rng.integers(1, 4000)] = 0
    return data


def duplicate_range(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Duplicate a range."""
    a, b = sorted(rng.integers(0, len(data), 2).tolist())
    return np.concatenate([data[:b], data[a:]])


def remove_range(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Remove a range."""
    first = rng.integers(0, len(data))
    return np.concatenate([data[:first], data[first + rng.integers(1, 3000) :]])


def insert_noise(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Insert noise."""
    first = rng.integers(0, len(data))
    return np.concatenate([data[:first], rng.integers(0, 256, rng.integers(1, 3000), np.uint8), data[first:]])


MUTATIONS = (flip_bits, replace_head, replace_tail, truncate, zero_range, duplicate_range, remove_range, insert_noise)


def write_case(folder: Path, number: int) -> Path:
    """Write the corrupt file of a case."""
    rng = np.random.default_rng(number)
    seeds = sorted((folder / "seeds").iterdir())
    seed, mutate = seeds[number % len(seeds)], MUTATIONS[rng.integers(len(MUTATIONS))]
    data = mutate(np.frombuffer(seed.read_bytes(), np.uint8).copy(), rng)
    path = folder / f"case{number}_{mutate.__name__}{seed.suffix}"
    path.write_bytes(data.tobytes())
    return path


def command(folder: Path, corrupt: Path, number: int) -> list[str]:
    """Return a command line with the corrupt file as face, audio or weights."""
    face, audio, weights = folder / "seeds" / "face.mp4", folder / "seeds" / "speech.wav", folder / "thin.pth"
    if corrupt.suffix in AUDIO_SUFFIXES or (corrupt.suffix not in IMAGE_SUFFIXES and number % 3 == 0):
        audio = corrupt
    else:
        face = corrupt
    if corrupt.suffix == ".pth":
        weights, face, audio = corrupt, folder / "seeds" / "face.mp4", folder / "seeds" / "speech.wav"
    face_flags = ["--detector", "haar"] if number % 7 == 0 else ["--box", "8", "56", "8", "56"]
    return ["--checkpoint_path", str(weights), "--face", str(face), "--audio", str(audio), "--device", "cpu",
            "--outfile", str(folder / "results" / f"case{number}.mp4"), *face_flags]  # fmt: skip


def run_case(folder: Path, number: int) -> dict[str, object]:
    """Return exit code, output and time of a case; code None and a traceback for an unexpected exception."""
    from wav2lip import infer
    from wav2lip.cli import run

    corrupt = write_case(folder, number)
    output, start, code = io.StringIO(), time.monotonic(), None
    faulthandler.dump_traceback_later(LIMIT_S, exit=True)
    try:
        with contextlib.redirect_stderr(output):
            run(lambda: infer.infer(command(folder, corrupt, number)))
    except SystemExit as exit_error:
        code = exit_error.code
    except Exception:  # noqa: BLE001 - any exception is a finding
        output.write(traceback.format_exc())
    faulthandler.cancel_dump_traceback_later()
    errors = [line for line in output.getvalue().splitlines() if line.startswith("error: ")]
    return {"case": corrupt.name, "code": code, "seconds": round(time.monotonic() - start, 2), "errors": errors,
            "output": output.getvalue()[-3000:] if code not in (0, 2) else ""}  # fmt: skip


def main() -> None:
    """Run the cases."""
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    logging.getLogger("wav2lip").propagate = False
    for number in range(first, first + count):
        print(json.dumps(run_case(folder, number)), flush=True)


if __name__ == "__main__":
    main()
