"""Peak memory and time of preprocessing by video length and number of processes.

    python benchmarks/preprocessing.py [--video FILE] [--seconds 10 120 1800] [--workers 1 2] [--detector mtcnn]

A short video is looped to each length by copying packets. All stages run, from probe to report. The memory is that of
the largest process; holding every frame, as upstream does, takes at least width x height x 3 bytes per frame. Unix
only: it reads the peak from the kernel.
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

from wav2lip.audio.windows import FPS
from wav2lip.media import probe
from wav2lip.synthetic import write_videos

MIB = 2**20


def loop_video(video: Path, seconds: int, folder: Path) -> Path:
    """Write a video that repeats another up to a length."""
    looped = folder / f"{seconds}s" / f"{video.stem}.mp4"
    looped.parent.mkdir()
    source = ffmpeg.input(str(video), stream_loop=-1, t=seconds)
    ffmpeg.output(source, str(looped), c="copy").run(cmd=get_ffmpeg_exe(), quiet=True)
    return looped


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; returns its seconds and the peak resident memory in MiB of the largest among its processes."""
    script = f"import resource, subprocess, sys; subprocess.run({command!r}, check=False, stdout=subprocess.DEVNULL, " \
             "stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"  # fmt: skip
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    return seconds, int(result.stdout.split()[-1]) / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="video to loop; default: a synthetic one")
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 120, 1800], help="lengths of the videos")
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="numbers of processes")
    parser.add_argument("--detector", default="mtcnn", help="mtcnn or haar")
    parser.add_argument("--no-sync", action="store_true", help="without the sync stage, which holds up to an hour")
    parser.add_argument("--chunk-minutes", type=float, default=10.0, help="length of the chunks of a long video")
    args = parser.parse_args()
    print("| video | processes | seconds | times real time | peak, MiB | all frames in memory, MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = args.video or write_videos(folder / "synthetic", count=1, seconds=10)[0]
        for seconds in args.seconds:
            looped = loop_video(video, seconds, folder)
            stream = probe(looped).require_video()
            all_frames_mib = stream.width * stream.height * 3 * seconds * FPS / MIB
            for workers in args.workers:
                out = folder / f"{seconds}-{workers}"
                options = [f"workers={workers}", f"detector={args.detector}", f"chunk_minutes={args.chunk_minutes}"]
                options += ["sync.enabled=false"] if args.no_sync else []
                command = [sys.executable, "-m", "preprocess", f"videos={looped}", f"out={out}", *options]
                elapsed, peak_mib = measure(command)
                processed = json.loads((out / "dataset.json").read_text())["totals"]["seconds_in"]
                size = f"{seconds} s at {stream.width}x{stream.height}"
                print(f"| {size} | {workers} | {elapsed:.0f} | {processed / elapsed:.1f} | {peak_mib:.0f} "
                      f"| {all_frames_mib:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
