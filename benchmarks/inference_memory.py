"""Peak memory of inference by video length, compared with a plain implementation that holds every frame.

    python benchmarks/inference_memory.py [--seconds 10 120 1800] [--size 512] [--plain_up_to 60] [--face VIDEO]

Both run in processes of their own with the same small random generator and a fixed face box. The plain implementation
reads all frames into a list before it generates, as upstream does; it is skipped for long videos. --face loops a video
to each length and detects its face with MTCNN, without the plain implementation. Unix only: it reads the peak from the
kernel.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
import torch

from models import Wav2Lip
from wav2lip.audio.windows import FPS
from wav2lip.checkpoints import Checkpoint, load_network, save_checkpoint
from wav2lip.faces.crops import FACE_SIZE, crop_box, paste, resize
from wav2lip.faces.tensors import from_network, generator_input, to_network
from wav2lip.lipsync import mel_windows_from_file
from wav2lip.media import VideoWriter, read_frames
from wav2lip.media.writer import ffmpeg_binary

LEFT, TOP, RIGHT, BOTTOM = BOX = (100, 40, 200, 160)
SAMPLE_RATE = 16_000  # Hz
PLAIN_BATCH = 128  # upstream's default


def make_inputs(folder: Path, seconds: int, size: int, face: Path | None) -> None:
    """Write a video of moving stripes, or a looped one, a tone of the same length and a checkpoint."""
    y, x = np.mgrid[:size, :size]
    frames = [np.repeat(((x + y + 9 * n) % 256).astype(np.uint8)[..., None], 3, axis=2) for n in range(FPS)]
    with wave.open(str(folder / "sound.wav"), "wb") as wav:
        wav.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        wav.writeframes((9000 * np.sin(np.arange(seconds * SAMPLE_RATE) * 0.1)).astype("<i2").tobytes())
    with VideoWriter(folder / "second.mp4", FPS) as video:
        for frame in frames:
            video.write(frame)
    subprocess.run(
        [ffmpeg_binary(), "-loglevel", "error", "-stream_loop", "-1", "-i", face or folder / "second.mp4",
         "-an", "-t", str(seconds), "-c", "copy", folder / "face.mp4"], check=True,
    )  # fmt: skip
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))


@torch.inference_mode()
def run_plain(folder: Path) -> None:
    """Generate a video in upstream's order: all frames, all crops, then batches."""
    generator = load_network(folder / "thin.pth", Wav2Lip).eval()
    frames = list(read_frames(folder / "face.mp4"))
    windows = mel_windows_from_file(folder / "sound.wav", FPS, "public")  # type: ignore[arg-type]
    crops = [resize(crop_box(frame, BOX), FACE_SIZE, FACE_SIZE) for frame in frames]
    with VideoWriter(folder / "plain.mp4", FPS, folder / "sound.wav") as video:
        for start in range(0, len(windows), PLAIN_BATCH):
            numbers = range(start, min(start + PLAIN_BATCH, len(windows)))
            faces = to_network(torch.from_numpy(np.stack([crops[n] for n in numbers])))
            mels = torch.from_numpy(np.stack([windows[n][None] for n in numbers]))
            for n, face in zip(numbers, from_network(generator(mels, generator_input(faces, faces))), strict=True):
                paste(frames[n], face.numpy(), BOX)
                video.write(frames[n])


def measure_peak_mib(command: list[str]) -> float:
    """Run a command and return the peak resident memory in MiB of the largest among its processes."""
    script = f"import resource, subprocess, sys; subprocess.run({command!r}, check=True, stderr=subprocess.DEVNULL); " \
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"  # fmt: skip
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return int(result.stdout.split()[-1]) / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 120, 1800], help="lengths of the videos")
    parser.add_argument("--size", type=int, default=512, help="width and height of the frames")
    parser.add_argument("--plain_up_to", type=int, default=60, help="skip the plain implementation beyond so many s")
    parser.add_argument("--face", type=Path, help="video to loop, whose face is detected")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        run_plain(args.plain)
        return
    resource.getrusage(resource.RUSAGE_SELF)  # missing on Windows; fail before the work
    print("| video | plain, MiB | wav2lip.infer, MiB |\n|---|---|---|")
    for seconds in args.seconds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_inputs(folder, seconds, args.size, args.face)
            box_flags = ["--box", *map(str, (TOP, BOTTOM, LEFT, RIGHT))]
            face_flags = ["--detector", "mtcnn", "--no_cache"] if args.face else box_flags
            infer = [sys.executable, "-m", "wav2lip.infer", "--checkpoint_path", f"{folder}/thin.pth",
                     "--face", f"{folder}/face.mp4", "--audio", f"{folder}/sound.wav",
                     "--outfile", f"{folder}/out.mp4", "--device", "cpu", *face_flags]  # fmt: skip
            plain = [sys.executable, __file__, "--plain", name]
            run_both = seconds <= args.plain_up_to and not args.face
            plain_cell = f"{measure_peak_mib(plain):.0f}" if run_both else "-"
            video = f"{args.face.stem}, looped" if args.face else f"{args.size}x{args.size}, fixed box"
            print(f"| {seconds} s, {video} | {plain_cell} | {measure_peak_mib(infer):.0f} |", flush=True)


if __name__ == "__main__":
    main()
