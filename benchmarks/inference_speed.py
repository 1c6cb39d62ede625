"""How fast a result is made: the generator alone, and a whole video, beside the plain way of the public release.

    python -m benchmarks.inference_speed generator [--exported FILE.onnx] [--rounds 5] [--threads 2]
    python -m benchmarks.inference_speed video VIDEO [--full] [--threads 2]

Weights are random: they take the same time. The generator's rows take turns; the medians of wall and CPU time are
given. Plain: float32, one numpy picture made for the network after the other, at the batch size that suits it best.

A video is lip-synced to its own sound by processes of their own, start-up included. Plain: all frames in a list, S3FD
on every full-size frame, the generator in float32 at batch 128, an MPEG-4 file, then x264. S3FD with random weights
finds nothing, so the boxes are those of the Haar cascade, found beforehand; its seconds are measured on three frames
and multiplied, or with --full on all. Here: the same S3FD through `LipSync`, run for its cost on whatever pictures it
is given, with Haar's faces as its answer, whose seconds are taken off; then the command as it comes, with MTCNN, a
first and a second time.
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

from benchmarks.detection import FULL_SIZE, TIMED, CostOf, Timed, random_weights
from face_detection.haar import Haar
from face_detection.s3fd import S3FD
from face_detection.sparse import track_faces
from models import Wav2Lip
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.checkpoints import Checkpoint, load_network, save_checkpoint
from wav2lip.crops import FACE_SIZE, cut, hidden_and_shown, paste, resize
from wav2lip.devices import inference_dtype
from wav2lip.lipsync import LipSync
from wav2lip.lipsync.blending import Feather
from wav2lip.lipsync.exported import load_generator
from wav2lip.lipsync.repaint import TorchGenerator
from wav2lip.media import probe, read_frames
from wav2lip.media.writer import ffmpeg_binary
from wav2lip.windows import InferenceWindows

CPU = torch.device("cpu")
RELEASE_BATCH = 128

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]  # crops (N, R, R, 3) uint8 and mels -> faces like the crops


def plain_paint(generator: Wav2Lip) -> Paint:
    """The generator as the release uses it: pictures divided in float64, then float32."""

    @torch.no_grad()
    def paint(crops: np.ndarray, mels: np.ndarray) -> np.ndarray:
        shown = crops[..., ::-1]
        hidden = shown.copy()
        hidden[:, crops.shape[1] // 2 :] = 0
        both = np.concatenate((hidden, shown), axis=3) / 255.0
        faces = torch.from_numpy(both.transpose(0, 3, 1, 2).astype(np.float32))
        out = generator(torch.from_numpy(mels), faces)
        return (out.numpy().transpose(0, 2, 3, 1) * 255.0).astype(np.uint8)[..., ::-1]

    return paint


def measure_generator(args: argparse.Namespace) -> None:
    """Frames a second of the generator alone, in turns."""
    torch.manual_seed(0)
    network = Wav2Lip(resolution=args.resolution).eval()
    ways: dict[str, tuple[Paint, list[int]]] = {"plain": (plain_paint(network), args.plain_batches)}

    def ours(generator: object, precision: str, top: int = 0) -> Paint:
        painter = generator.on(CPU, precision)  # type: ignore[attr-defined]
        return lambda crops, mels: painter(mels, hidden_and_shown(crops, crops), top)

    for precision in ("auto", "fp32"):
        ways[f"here, {precision}"] = (ours(TorchGenerator(network), precision), args.batches)
    lower = ours(TorchGenerator(network), "auto", int(Feather.unused * args.resolution))
    ways["here, auto, the part that a soft seam takes"] = (lower, args.batches)
    if args.exported:
        exported = load_generator(args.exported)
        if exported.with_openvino:  # type: ignore[attr-defined]
            for precision in ("auto", "fp32"):
                ways[f"OpenVINO, {precision}"] = (ours(exported, precision), args.batches)
        onnx = load_generator(args.exported)
        onnx.with_openvino = False  # type: ignore[attr-defined]
        ways["ONNX Runtime, fp32"] = (ours(onnx, "auto"), args.batches)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (RELEASE_BATCH, args.resolution, args.resolution, 3), np.uint8)
    mels = rng.uniform(-4, 4, (RELEASE_BATCH, 1, 80, 16)).astype(np.float32)
    runs = [(name, paint, batch) for name, (paint, batches) in ways.items() for batch in batches]
    spent: dict[tuple[str, int], list[tuple[float, float]]] = {(name, batch): [] for name, _, batch in runs}
    for turn in range(args.rounds + 1):
        for name, paint, batch in runs:
            wall, own = time.perf_counter(), time.process_time()
            paint(crops[:batch], mels[:batch])
            if turn:  # the first makes ready
                seconds = (time.perf_counter() - wall, time.process_time() - own)
                spent[name, batch].append((seconds[0] / batch, seconds[1] / batch))
    medians = {key: [statistics.median(part) for part in zip(*times, strict=True)] for key, times in spent.items()}
    best = [min(medians["plain", batch][n] for batch in args.plain_batches) for n in (0, 1)]
    reference = plain_paint(network)(crops[:8], mels[:8]).astype(int)
    print("| way | batch | frames/s | times the best plain | CPU ms a frame | times less | grey levels off |")
    print("|---|---|---|---|---|---|---|")
    for name, paint, batch in runs:
        wall, own = medians[name, batch]
        off = np.abs(paint(crops[:8], mels[:8]).astype(int) - reference)[:, args.resolution // 2 :].mean()
        print(f"| {name} | {batch} | {1 / wall:.1f} | {best[0] / wall:.2f} | {own * 1e3:.1f} | {best[1] / own:.2f} "
              f"| {off:.3f} |")  # fmt: skip


def boxes_of(video: Path) -> np.ndarray:
    """One box a frame, (N, 4) whole pixels, by the Haar cascade, the last or the next known where it finds none."""
    tracks = track_faces(read_frames(video), Haar())
    boxes = np.full((tracks.frames, 4), np.nan)
    for track in sorted(tracks.tracks, key=lambda track: len(track.boxes)):
        boxes[track.start : track.stop] = track.boxes
    known = np.flatnonzero(~np.isnan(boxes[:, 0]))
    if not len(known):
        raise SystemExit(f"{video}: the Haar cascade finds no face in it")
    nearest = known[np.abs(np.arange(len(boxes))[:, None] - known).argmin(axis=1)]
    limit = np.array([tracks.width, tracks.height] * 2)
    return np.clip(np.rint(boxes[nearest]), 0, limit).astype(int)


def plain(folder: Path, video: Path, full: bool) -> None:
    """The release's order of work; prints its seconds, S3FD's apart, as JSON."""
    boxes = np.load(folder / "boxes.npy")
    s3fd = Timed(S3FD(folder / "s3fd.pth", max_side=FULL_SIZE))
    began = time.perf_counter()
    subprocess.run([ffmpeg_binary(), "-y", "-loglevel", "error", "-i", video, "-ac", "1", "-ar", "16000",
                    folder / "sound.wav"], check=True)  # fmt: skip
    frames = list(read_frames(video))
    mel = melspectrogram(load_wav(folder / "sound.wav"))
    windows = InferenceWindows.public(mel, float(probe(video).require_video().fps))
    looked = frames if full else frames[:TIMED]
    for frame in looked:
        s3fd.detect([frame])
    generator = plain_paint(load_network(folder / "random.pth", Wav2Lip).eval())
    height, width = frames[0].shape[:2]
    code, rate = cv2.VideoWriter.fourcc(*"DIVX"), float(probe(video).require_video().fps)
    writer = cv2.VideoWriter(str(folder / "plain.avi"), code, rate, (width, height))
    for first in range(0, len(windows), RELEASE_BATCH):
        numbers = [n % len(frames) for n in range(first, min(first + RELEASE_BATCH, len(windows)))]
        crops = np.stack([resize(cut(frames[n], tuple(boxes[n])), FACE_SIZE, FACE_SIZE) for n in numbers])
        mels = np.stack([windows[first + k][None] for k in range(len(numbers))])
        for n, face in zip(numbers, generator(crops, mels), strict=True):
            frame = frames[n].copy()
            paste(frame, face, tuple(boxes[n]))
            writer.write(frame[..., ::-1])
    writer.release()
    subprocess.run([ffmpeg_binary(), "-y", "-loglevel", "error", "-i", folder / "sound.wav", "-i", folder / "plain.avi",
                    folder / "plain.mp4"], check=True)  # fmt: skip
    rest = time.perf_counter() - began - s3fd.seconds
    print(json.dumps({"rest": rest, "s3fd": s3fd.seconds / len(looked) * len(frames), "frames": len(frames)}))


def ours(folder: Path, video: Path) -> None:
    """The library with an S3FD that costs what it costs and answers with Haar's faces; prints the seconds of both."""
    s3fd, haar = Timed(S3FD(folder / "s3fd.pth", dtype=inference_dtype(CPU))), Timed(Haar())
    lipsync = LipSync(load_generator(folder / "random.pth"), CPU, lambda batch_size, compat: CostOf(s3fd, haar))
    lipsync(video, video, folder / "ours.mp4")
    print(json.dumps({"s3fd": s3fd.seconds, "haar": haar.seconds}))


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Wall seconds of a process, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env=environment)  # fmt: skip
    return time.perf_counter() - began, done.stdout


def measure_video(args: argparse.Namespace) -> None:
    """Seconds of each way for each video."""
    print("| video | way | seconds | of which S3FD | times faster |\n|---|---|---|---|---|", flush=True)
    for video in args.videos:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            torch.manual_seed(0)
            save_checkpoint(folder / "random.pth", Checkpoint(Wav2Lip().state_dict()))
            torch.save(random_weights(), folder / "s3fd.pth")
            np.save(folder / "boxes.npy", boxes_of(video))
            environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "XDG_CACHE_HOME": name}
            again = [sys.executable, "-m", "benchmarks.inference_speed"]
            full = ["--full"] if args.full else []
            wall, said = timed([*again, "plain", str(folder), str(video), *full], environment)
            told = json.loads(said.splitlines()[-1])
            measured = told["s3fd"] if args.full else told["s3fd"] * min(TIMED, told["frames"]) / told["frames"]
            whole = wall - measured + told["s3fd"]
            length = probe(video).seconds
            print(f"| {video.stem}, {length:.1f} s | plain | {whole:.1f} | {told['s3fd']:.1f} | 1 |", flush=True)
            wall, said = timed([*again, "ours", str(folder), str(video)], environment)
            spent = json.loads(said.splitlines()[-1])
            wall -= spent["haar"]  # whose faces the plain way was given too
            print(f"| | here, S3FD | {wall:.1f} | {spent['s3fd']:.1f} | {whole / wall:.1f} |", flush=True)
            command = [sys.executable, "-m", "wav2lip.infer", "--checkpoint_path", str(folder / "random.pth"), "--face",
                       str(video), "--audio", str(video), "--outfile", str(folder / "out.mp4"), "--device", "cpu",
                       "--detector", "mtcnn"]  # fmt: skip
            for run in ("the command, MTCNN", "the same again"):
                wall, _ = timed(command, environment)
                print(f"| | {run} | {wall:.1f} | | {whole / wall:.1f} |", flush=True)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True, metavar="generator | video")
    generator = kinds.add_parser("generator", help="the generator alone")
    generator.add_argument("--exported", type=Path, help="the same generator as .onnx")
    generator.add_argument("--plain_batches", type=int, nargs="+", default=[1, 8, 32, 128], help="faces at a time")
    generator.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16], help="the same, of the other ways")
    generator.add_argument("--rounds", type=int, default=5)
    generator.add_argument("--resolution", type=int, default=96)
    generator.set_defaults(run=measure_generator)
    video = kinds.add_parser("video", help="a whole video")
    video.add_argument("videos", type=Path, nargs="+")
    video.add_argument("--full", action="store_true", help="run S3FD on every frame instead of three")
    video.set_defaults(run=measure_video)
    for part in (generator, video):
        part.add_argument("--threads", type=int, default=torch.get_num_threads())
    for name, run in (("plain", lambda args: plain(args.folder, args.video, args.full)),
                      ("ours", lambda args: ours(args.folder, args.video))):  # fmt: skip
        hidden = kinds.add_parser(name)
        hidden.add_argument("folder", type=Path)
        hidden.add_argument("video", type=Path)
        hidden.add_argument("--full", action="store_true")
        hidden.set_defaults(run=run, threads=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.run in (measure_generator, measure_video):
        print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {args.threads} threads\n")
    args.run(args)


if __name__ == "__main__":
    main()
