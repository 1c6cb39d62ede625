"""Speed of inference, of the generator alone and of complete videos, compared with a plain implementation.

    python -m benchmarks.inference_speed generator [--exported FILE.onnx] [--rounds 5] [--threads 2]
    python -m benchmarks.inference_speed video VIDEO [--full] [--threads 2]

Weights are random, which does not change the time. The configurations of the generator alternate; the table has medians
of wall and CPU time. Plain: float32 and NumPy preprocessing, at its fastest batch size.

A video is lip-synced to its own audio in a process of its own, start-up included. Plain, as upstream: all frames in a
list, S3FD on every full-size frame, the generator in float32 at batch 128, an MPEG-4 file, then x264. S3FD with random
weights finds nothing, so the boxes come from the Haar cascade; its time is extrapolated from three frames, or measured
on all with --full. LipSync with S3FD: S3FD runs for its cost, Haar's faces are used and Haar's time is subtracted.
Then the command with MTCNN, run twice.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.detection import FULL_SIZE, TIMED_FRAMES, CostProxy, TimedDetector, random_s3fd_weights
from face_detection.detectors.haar import Haar
from face_detection.detectors.s3fd import S3FD
from face_detection.tracking.offline_tracker import track_faces
from models import Wav2Lip
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.audio.windows import InferenceWindows
from wav2lip.checkpoints import Checkpoint, load_network, save_checkpoint
from wav2lip.devices import inference_dtype
from wav2lip.faces.crops import FACE_SIZE, crop_box, paste, resize
from wav2lip.faces.tensors import generator_input_bytes
from wav2lip.lipsync import LipSync
from wav2lip.lipsync.backends.exported import load_backend
from wav2lip.lipsync.backends.pytorch import TorchBackend
from wav2lip.lipsync.blending import FeatherBlend
from wav2lip.media import probe, read_frames
from wav2lip.media.writer import ffmpeg_binary

CPU = torch.device("cpu")
PLAIN_BATCH = 128

Generate = Callable[[np.ndarray, np.ndarray], np.ndarray]  # crops (N, R, R, 3) uint8 and mels -> faces like the crops


def build_plain(generator: Wav2Lip) -> Generate:
    """Build the generator as upstream runs it: inputs divided in float64, then cast to float32."""

    @torch.no_grad()
    def generate(crops: np.ndarray, mels: np.ndarray) -> np.ndarray:
        references = crops[..., ::-1]
        masked = references.copy()
        masked[:, crops.shape[1] // 2 :] = 0
        stacked = np.concatenate((masked, references), axis=3) / 255.0
        faces = torch.from_numpy(stacked.transpose(0, 3, 1, 2).astype(np.float32))
        out = generator(torch.from_numpy(mels), faces)
        return (out.numpy().transpose(0, 2, 3, 1) * 255.0).astype(np.uint8)[..., ::-1]

    return generate


def measure_generator(args: argparse.Namespace) -> None:
    """Measure the generator alone in all configurations."""
    torch.manual_seed(0)
    network = Wav2Lip(resolution=args.resolution).eval()
    configurations: dict[str, tuple[Generate, list[int]]] = {"plain": (build_plain(network), args.plain_batches)}

    def optimized(backend: object, precision: str, first_row: int = 0) -> Generate:
        run = backend.load(CPU, precision)  # type: ignore[attr-defined]
        return lambda crops, mels: run(mels, generator_input_bytes(crops, crops), first_row)

    for precision in ("auto", "fp32"):
        configurations[f"PyTorch, {precision}"] = (optimized(TorchBackend(network), precision), args.batches)
    lower_rows = optimized(TorchBackend(network), "auto", int(FeatherBlend.unused * args.resolution))
    configurations["PyTorch, auto, lower rows of the feathered blend"] = (lower_rows, args.batches)
    if args.exported:
        exported = load_backend(args.exported)
        if exported.has_openvino:  # type: ignore[attr-defined]
            for precision in ("auto", "fp32"):
                configurations[f"OpenVINO, {precision}"] = (optimized(exported, precision), args.batches)
        onnx = load_backend(args.exported)
        onnx.has_openvino = False  # type: ignore[attr-defined]
        configurations["ONNX Runtime, fp32"] = (optimized(onnx, "auto"), args.batches)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (PLAIN_BATCH, args.resolution, args.resolution, 3), np.uint8)
    mels = rng.uniform(-4, 4, (PLAIN_BATCH, 1, 80, 16)).astype(np.float32)
    runs = [(name, generate, batch) for name, (generate, batches) in configurations.items() for batch in batches]
    times: dict[tuple[str, int], list[tuple[float, float]]] = {(name, batch): [] for name, _, batch in runs}
    for round_number in range(args.rounds + 1):
        for name, generate, batch in runs:
            wall, cpu = time.perf_counter(), time.process_time()
            generate(crops[:batch], mels[:batch])
            if round_number:  # the first round warms up
                seconds = (time.perf_counter() - wall, time.process_time() - cpu)
                times[name, batch].append((seconds[0] / batch, seconds[1] / batch))
    medians = {key: [statistics.median(part) for part in zip(*times, strict=True)] for key, times in times.items()}
    best = [min(medians["plain", batch][n] for batch in args.plain_batches) for n in (0, 1)]
    reference = build_plain(network)(crops[:8], mels[:8]).astype(int)
    print("| configuration | batch | frames/s | speed-up | CPU ms per frame | CPU ratio | mean difference |")
    print("|---|---|---|---|---|---|---|")
    for name, generate, batch in runs:
        wall, cpu = medians[name, batch]
        difference = np.abs(generate(crops[:8], mels[:8]).astype(int) - reference)[:, args.resolution // 2 :].mean()
        print(f"| {name} | {batch} | {1 / wall:.1f} | {best[0] / wall:.2f} | {cpu * 1e3:.1f} | {best[1] / cpu:.2f} "
              f"| {difference:.3f} |")  # fmt: skip


def detect_boxes(video: Path) -> np.ndarray:
    """Detect one box per frame with Haar, (N, 4) integers; frames without one get that of the nearest frame."""
    tracks = track_faces(read_frames(video), Haar())
    boxes = np.full((tracks.frames, 4), np.nan)
    for track in sorted(tracks.tracks, key=lambda track: len(track.boxes)):
        boxes[track.start : track.stop] = track.boxes
    detected = np.flatnonzero(~np.isnan(boxes[:, 0]))
    if not len(detected):
        raise SystemExit(f"{video}: the Haar cascade detects no face; give another video")
    nearest = detected[np.abs(np.arange(len(boxes))[:, None] - detected).argmin(axis=1)]
    limit = np.array([tracks.width, tracks.height] * 2)
    return np.clip(np.rint(boxes[nearest]), 0, limit).astype(int)


def run_plain(folder: Path, video: Path, full: bool) -> None:
    """Generate a video in upstream's order; prints the seconds without S3FD's, and S3FD's, as JSON."""
    boxes = np.load(folder / "boxes.npy")
    s3fd = TimedDetector(S3FD(folder / "s3fd.pth", max_side=FULL_SIZE))
    start = time.perf_counter()
    subprocess.run([ffmpeg_binary(), "-y", "-loglevel", "error", "-i", video, "-ac", "1", "-ar", "16000",
                    folder / "sound.wav"], check=True)  # fmt: skip
    frames = list(read_frames(video))
    mel = melspectrogram(load_wav(folder / "sound.wav"))
    windows = InferenceWindows.build_public(mel, float(probe(video).require_video().fps))
    timed_frames = frames if full else frames[:TIMED_FRAMES]
    for frame in timed_frames:
        s3fd.detect([frame])
    generator = build_plain(load_network(folder / "random.pth", Wav2Lip).eval())
    height, width = frames[0].shape[:2]
    code, rate = cv2.VideoWriter.fourcc(*"DIVX"), float(probe(video).require_video().fps)
    writer = cv2.VideoWriter(str(folder / "plain.avi"), code, rate, (width, height))
    for first in range(0, len(windows), PLAIN_BATCH):
        numbers = [n % len(frames) for n in range(first, min(first + PLAIN_BATCH, len(windows)))]
        crops = np.stack([resize(crop_box(frames[n], tuple(boxes[n])), FACE_SIZE, FACE_SIZE) for n in numbers])
        mels = np.stack([windows[first + k][None] for k in range(len(numbers))])
        for n, face in zip(numbers, generator(crops, mels), strict=True):
            frame = frames[n].copy()
            paste(frame, face, tuple(boxes[n]))
            writer.write(frame[..., ::-1])
    writer.release()
    subprocess.run([ffmpeg_binary(), "-y", "-loglevel", "error", "-i", folder / "sound.wav", "-i", folder / "plain.avi",
                    folder / "plain.mp4"], check=True)  # fmt: skip
    rest = time.perf_counter() - start - s3fd.seconds
    print(json.dumps({"rest": rest, "s3fd": s3fd.seconds / len(timed_frames) * len(frames), "frames": len(frames)}))


def run_lipsync(folder: Path, video: Path) -> None:
    """Generate a video with LipSync, S3FD for its cost and Haar's faces; prints the seconds of both as JSON."""
    s3fd, haar = TimedDetector(S3FD(folder / "s3fd.pth", dtype=inference_dtype(CPU))), TimedDetector(Haar())
    lipsync = LipSync(load_backend(folder / "random.pth"), CPU, lambda batch_size, compat: CostProxy(s3fd, haar))
    lipsync(video, video, folder / "lipsync.mp4")
    print(json.dumps({"s3fd": s3fd.seconds, "haar": haar.seconds}))


def run_timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Run a command; returns its wall seconds and output."""
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env=environment)  # fmt: skip
    return time.perf_counter() - start, done.stdout


def measure_video(args: argparse.Namespace) -> None:
    """Measure every implementation on each video."""
    print("| video | implementation | seconds | of which S3FD | speed-up |\n|---|---|---|---|---|", flush=True)
    for video in args.videos:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            torch.manual_seed(0)
            save_checkpoint(folder / "random.pth", Checkpoint(Wav2Lip().state_dict()))
            torch.save(random_s3fd_weights(), folder / "s3fd.pth")
            np.save(folder / "boxes.npy", detect_boxes(video))
            environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "XDG_CACHE_HOME": name}
            module = [sys.executable, "-m", "benchmarks.inference_speed"]
            full = ["--full"] if args.full else []
            wall, output = run_timed([*module, "plain", str(folder), str(video), *full], environment)
            plain = json.loads(output.splitlines()[-1])
            measured = (
                plain["s3fd"] if args.full else plain["s3fd"] * min(TIMED_FRAMES, plain["frames"]) / plain["frames"]
            )
            plain_s = wall - measured + plain["s3fd"]
            length = probe(video).seconds
            print(f"| {video.stem}, {length:.1f} s | plain | {plain_s:.1f} | {plain['s3fd']:.1f} | 1 |", flush=True)
            wall, output = run_timed([*module, "lipsync", str(folder), str(video)], environment)
            times = json.loads(output.splitlines()[-1])
            wall -= times["haar"]  # the plain implementation gets Haar's boxes too
            print(f"| | LipSync, S3FD | {wall:.1f} | {times['s3fd']:.1f} | {plain_s / wall:.1f} |", flush=True)
            command = [sys.executable, "-m", "wav2lip.infer", "--checkpoint_path", str(folder / "random.pth"), "--face",
                       str(video), "--audio", str(video), "--outfile", str(folder / "out.mp4"), "--device", "cpu",
                       "--detector", "mtcnn"]  # fmt: skip
            for run in ("wav2lip.infer, MTCNN", "again, with cached tracks"):
                wall, _ = run_timed(command, environment)
                print(f"| | {run} | {wall:.1f} | | {plain_s / wall:.1f} |", flush=True)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="generator | video")
    generator = commands.add_parser("generator", help="the generator alone")
    generator.add_argument("--exported", type=Path, help="exported generator, .onnx")
    generator.add_argument(
        "--plain_batches", type=int, nargs="+", default=[1, 8, 32, 128], help="batch sizes of the plain implementation"
    )
    generator.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16], help="batch sizes of the others")
    generator.add_argument("--rounds", type=int, default=5)
    generator.add_argument("--resolution", type=int, default=96)
    generator.set_defaults(run=measure_generator)
    video = commands.add_parser("video", help="complete videos")
    video.add_argument("videos", type=Path, nargs="+")
    video.add_argument("--full", action="store_true", help="run S3FD on every frame instead of three")
    video.set_defaults(run=measure_video)
    for part in (generator, video):
        part.add_argument("--threads", type=int, default=torch.get_num_threads())
    for name, run in (("plain", lambda args: run_plain(args.folder, args.video, args.full)),
                      ("lipsync", lambda args: run_lipsync(args.folder, args.video))):  # fmt: skip
        subparser = commands.add_parser(name)
        subparser.add_argument("folder", type=Path)
        subparser.add_argument("video", type=Path)
        subparser.add_argument("--full", action="store_true")
        subparser.set_defaults(run=run, threads=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.run in (measure_generator, measure_video):
        print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} threads\n")
    args.run(args)


if __name__ == "__main__":
    main()
