"""Seconds of preprocessing many short videos on local processes and on Ray.

    python benchmarks/executors.py [--videos 200] [--seconds 2] [--workers 2] [--runs 2]

Synthetic speakers, copied under many names with one byte more each, so that no two are the same file. All per-video
stages with Haar's detector. The Ray cluster runs already, as on a real one; its start is printed apart.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import ray

from preprocess.build import DetectorFactory
from preprocess.config import FaceSettings, SegmentSettings, VideoSettings
from preprocess.ingest import find_videos
from preprocess.pipeline import VIDEO_STAGES, Job, run
from wav2lip.execution.build import ExecutorSettings
from wav2lip.synthetic import write_videos


def write_inputs(folder: Path, count: int, seconds: float) -> Path:
    """Write synthetic videos, each copied with another trailing byte."""
    paths = write_videos(folder / "speakers", count=2, seconds=seconds)
    videos = folder / "videos"
    videos.mkdir()
    for number in range(count):
        path = videos / f"{number:04d}.mp4"
        shutil.copy(paths[number % len(paths)], path)
        with path.open("ab") as file:
            file.write(number.to_bytes(4, "big"))
    return videos


def preprocess(videos: Path, out: Path, kind: str, workers: int) -> tuple[float, int]:
    """Return the seconds of a run, and the number of crops that it wrote."""
    settings = VideoSettings(FaceSettings("haar"), segments=SegmentSettings("largest", 0.8, 10.0))
    executor = ExecutorSettings(kind, workers)
    job = Job(out, settings, DetectorFactory("haar", device="cpu"), executor=executor, stages=VIDEO_STAGES)
    begin = time.perf_counter()
    run(find_videos(videos), job)
    return time.perf_counter() - begin, sum(1 for _ in out.rglob("*.jpg"))


def main() -> None:
    """Measure both executors in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=2, help="of each executor, in turn")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        videos = write_inputs(Path(name), args.videos, args.seconds)
        begin = time.perf_counter()
        ray.init("local", num_cpus=args.workers, include_dashboard=False)
        print(f"start of the cluster: {time.perf_counter() - begin:.1f} s")
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for number in range(args.runs):
            for kind in seconds:
                wall, crops = preprocess(videos, Path(name) / f"{kind}{number}", kind, args.workers)
                seconds[kind].append(wall)
                print(f"{kind}: {wall:.1f} s, {crops} crops", flush=True)
        local, on_ray = (statistics.median(values) for values in seconds.values())
        print(f"{args.videos} videos: local {local:.1f} s, ray {on_ray:.1f} s, {on_ray / local - 1:+.1%}")
        ray.shutdown()


if __name__ == "__main__":
    main()
