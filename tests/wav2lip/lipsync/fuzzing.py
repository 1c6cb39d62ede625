"""Damaged media, one after the other, through the command line of inference; a process of its own.

    python -m tests.wav2lip.lipsync.fuzzing FOLDER FIRST COUNT

FOLDER holds `seeds/` (whole files) and `thin.pth`. Case n is determined by n. One JSON line a case goes to standard
output. A case that takes longer than `LIMIT` ends the process with a traceback of all threads.
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

LIMIT = 60.0  # seconds, of a case that usually takes less than one
PICTURES = {".png", ".jpg", ".webp"}
SOUNDS = {".wav", ".mp3", ".flac", ".ogg"}


def flipped(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some bits flipped, anywhere."""
    places = rng.integers(0, len(data), rng.integers(1, 40))
    data[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return data


def flipped_head(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some bytes of the first 300 replaced: sizes, types, counts."""
    places = rng.integers(0, min(300, len(data)), rng.integers(1, 8))
    data[places] = rng.integers(0, 256, len(places))
    return data


def flipped_tail(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same of the last 2000, where some formats keep their index."""
    places = len(data) - 1 - rng.integers(0, min(2000, len(data)), rng.integers(1, 8))
    data[places] = rng.integers(0, 256, len(places))
    return data


def cut_off(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The end is missing, perhaps all of it."""
    return data[: rng.integers(0, len(data))]


def zeroed(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretch of zeros, as after a download with holes."""
    first = rng.integers(0, len(data))
    data[first : first + rng.integers(1, 4000)] = 0
    return data


def doubled(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretch stands there twice."""
    a, b = sorted(rng.integers(0, len(data), 2).tolist())
    return np.concatenate([data[:b], data[a:]])


def left_out(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretch is missing."""
    first = rng.integers(0, len(data))
    return np.concatenate([data[:first], data[first + rng.integers(1, 3000) :]])


def noise_put_in(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretch of noise between."""
    first = rng.integers(0, len(data))
    return np.concatenate([data[:first], rng.integers(0, 256, rng.integers(1, 3000), np.uint8), data[first:]])


WAYS = (flipped, flipped_head, flipped_tail, cut_off, zeroed, doubled, left_out, noise_put_in)


def mutated(folder: Path, number: int) -> Path:
    """The damaged file of a case."""
    rng = np.random.default_rng(number)
    seeds = sorted((folder / "seeds").iterdir())
    seed, way = seeds[number % len(seeds)], WAYS[rng.integers(len(WAYS))]
    data = way(np.frombuffer(seed.read_bytes(), np.uint8).copy(), rng)
    path = folder / f"case{number}_{way.__name__}{seed.suffix}"
    path.write_bytes(data.tobytes())
    return path


def command(folder: Path, damaged: Path, number: int) -> list[str]:
    """What a user types: the damaged file as face, as sound, or as weights."""
    face, sound, weights = folder / "seeds" / "face.mp4", folder / "seeds" / "speech.wav", folder / "thin.pth"
    if damaged.suffix in SOUNDS or (damaged.suffix not in PICTURES and number % 3 == 0):
        sound = damaged
    else:
        face = damaged
    if damaged.suffix == ".pth":
        weights, face, sound = damaged, folder / "seeds" / "face.mp4", folder / "seeds" / "speech.wav"
    found = ["--detector", "haar"] if number % 7 == 0 else ["--box", "8", "56", "8", "56"]
    return ["--checkpoint_path", str(weights), "--face", str(face), "--audio", str(sound), "--device", "cpu",
            "--outfile", str(folder / "results" / f"case{number}.mp4"), *found]  # fmt: skip


def tried(folder: Path, number: int) -> dict[str, object]:
    """A case's exit code, what it said, and how long it took; code None with a traceback if it raised anything else."""
    from wav2lip import infer
    from wav2lip.errors import run

    damaged = mutated(folder, number)
    said, began, code = io.StringIO(), time.monotonic(), None
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    try:
        with contextlib.redirect_stderr(said):
            run(lambda: infer.infer(command(folder, damaged, number)))
    except SystemExit as left:
        code = left.code
    except Exception:  # noqa: BLE001 - whatever it is, it is the finding
        said.write(traceback.format_exc())
    faulthandler.cancel_dump_traceback_later()
    sentences = [line for line in said.getvalue().splitlines() if line.startswith("error: ")]
    return {"case": damaged.name, "code": code, "seconds": round(time.monotonic() - began, 2), "errors": sentences,
            "said": said.getvalue()[-3000:] if code not in (0, 2) else ""}  # fmt: skip


def main() -> None:
    """Try the cases."""
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    logging.getLogger("wav2lip").propagate = False  # warnings about damage are not what is looked at
    for number in range(first, first + count):
        print(json.dumps(tried(folder, number)), flush=True)


if __name__ == "__main__":
    main()
