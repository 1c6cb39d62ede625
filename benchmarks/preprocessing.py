"""Peak memory and time of preprocessing against the length of a video and the number of processes.

    python benchmarks/preprocessing.py [--video FILE] [--seconds 10 120 1800] [--workers 1 2] [--detector mtcnn]

A long video is a short one over and over, with its packets copied. All stages run, from the probe to the report. Memory
is that of the largest process; a plain reader that holds every frame, as the public release does, needs at least
width x height x 3 bytes for each. Unix only: it asks the kernel for the peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ffmpeg
from imageio_ffmpeg import get_ffmpeg_exe

from wav2lip.media import probe
from wav2lip.sample import write_sample


def looped(video: Path, seconds: int, folder: Path) -> Path:
    """A video repeated until it lasts so long."""
    longer = folder / f"{seconds}s" / f"{video.stem}.mp4"
    longer.parent.mkdir()
    source = ffmpeg.input(str(video), stream_loop=-1, t=seconds)
    ffmpeg.output(source, str(longer), c="copy").run(cmd=get_ffmpeg_exe(), quiet=True)
    return longer


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds that a command took, and the peak resident memory in MiB of the largest of its processes."""
    watch = f"import resource, subprocess, sys; subprocess.run({command!r}, check=False, stdout=subprocess.DEVNULL, " \
            "stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watch], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    return seconds, int(done.stdout.split()[-1]) / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="video to repeat; by default a synthetic talking head")
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 120, 1800], help="lengths")
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="processes")
    parser.add_argument("--detector", default="mtcnn", help="mtcnn or haar")
    parser.add_argument("--no-sync", action="store_true", help="without learning from up to an hour of the clips")
    parser.add_argument("--part-minutes", type=float, default=10.0, help="parts in which a long video is worked on")
    args = parser.parse_args()
    print("| video | processes | seconds | times real time | peak, MiB | every frame held, MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = args.video or write_sample(folder / "sample", clips=1, seconds=10)[0]
        for seconds in args.seconds:
            longer = looped(video, seconds, folder)
            picture = probe(longer).require_video()
            held = picture.width * picture.height * 3 * seconds * 25 / 2**20
            for workers in args.workers:
                out = folder / f"{seconds}-{workers}"
                options = [f"workers={workers}", f"detector={args.detector}", f"part_minutes={args.part_minutes}"]
                options += ["sync.enabled=false"] if args.no_sync else []
                took, peak = measured([sys.executable, "-m", "preprocess", f"videos={longer}", f"out={out}", *options])
                done = json.loads((out / "dataset.json").read_text())["totals"]["seconds_in"]
                size = f"{seconds} s at {picture.width}x{picture.height}"
                print(f"| {size} | {workers} | {took:.0f} | {done / took:.1f} | {peak:.0f} | {held:.0f} |", flush=True)


if __name__ == "__main__":
    main()
