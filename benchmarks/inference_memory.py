"""Peak memory of inference against the length of the video, beside the plain way that holds every frame.

    python benchmarks/inference_memory.py [--seconds 10 120 1800] [--size 512] [--plain_up_to 60] [--face VIDEO]

Both run in processes of their own, with the same thin random generator and a fixed face box. The plain way reads all
frames into a list and makes the result from it, as the public release does; it is left out where it would need too
much. With --face, a video is looped to these lengths and its face found by MTCNN, without the plain way. Unix only: it
asks the kernel for the peak.
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
from wav2lip.checkpoints import Checkpoint, load_network, save_checkpoint
from wav2lip.crops import FACE_SIZE, cut, from_network, generator_input, paste, resize, to_network
from wav2lip.lipsync import sound_windows
from wav2lip.media import VideoWriter, read_frames
from wav2lip.media.writer import ffmpeg_binary

BOX = (100, 40, 200, 160)  # left, top, right, bottom


def make_inputs(folder: Path, seconds: int, size: int, face: Path | None) -> None:
    """A video of moving stripes, or one that is looped, and a tone of the same length."""
    y, x = np.mgrid[:size, :size]
    pictures = [np.repeat(((x + y + 9 * n) % 256).astype(np.uint8)[..., None], 3, axis=2) for n in range(25)]
    with wave.open(str(folder / "sound.wav"), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes((9000 * np.sin(np.arange(seconds * 16_000) * 0.1)).astype("<i2").tobytes())
    with VideoWriter(folder / "second.mp4", 25) as video:
        for frame in pictures:
            video.write(frame)
    subprocess.run(
        [ffmpeg_binary(), "-loglevel", "error", "-stream_loop", "-1", "-i", face or folder / "second.mp4",
         "-an", "-t", str(seconds), "-c", "copy", folder / "face.mp4"], check=True,
    )  # fmt: skip
    save_checkpoint(folder / "thin.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))


@torch.inference_mode()
def plain(folder: Path) -> None:
    """The public release's order of work: all frames, then all faces, then batches of 128."""
    generator = load_network(folder / "thin.pth", Wav2Lip).eval()
    frames = list(read_frames(folder / "face.mp4"))
    windows = sound_windows(folder / "sound.wav", 25, "public")  # type: ignore[arg-type]
    crops = [resize(cut(frame, BOX), FACE_SIZE, FACE_SIZE) for frame in frames]
    with VideoWriter(folder / "plain.mp4", 25, folder / "sound.wav") as video:
        for first in range(0, len(windows), 128):
            numbers = range(first, min(first + 128, len(windows)))
            faces = to_network(torch.from_numpy(np.stack([crops[n] for n in numbers])))
            mels = torch.from_numpy(np.stack([windows[n][None] for n in numbers]))
            for n, face in zip(numbers, from_network(generator(mels, generator_input(faces, faces))), strict=True):
                paste(frames[n], face.numpy(), BOX)
                video.write(frames[n])


def peak(command: list[str]) -> float:
    """Peak resident memory, in MiB, of a command: of the largest process among it and its children."""
    watch = f"import resource, subprocess, sys; subprocess.run({command!r}, check=True, stderr=subprocess.DEVNULL); " \
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", watch], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 120, 1800], help="lengths of the videos")
    parser.add_argument("--size", type=int, default=512, help="width and height of the frames")
    parser.add_argument("--plain_up_to", type=int, default=60, help="seconds; longer videos are made one way only")
    parser.add_argument("--face", type=Path, help="video to loop, whose face is found")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain:
        plain(args.plain)
        return
    resource.getrusage(resource.RUSAGE_SELF)  # not on Windows: better to fail here than after the work
    print("| video | plain, MiB | here, MiB |\n|---|---|---|")
    for seconds in args.seconds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_inputs(folder, seconds, args.size, args.face)
            top_bottom_left_right = [str(BOX[i]) for i in (1, 3, 0, 2)]
            where = ["--detector", "mtcnn", "--no_cache"] if args.face else ["--box", *top_bottom_left_right]
            ours = [sys.executable, "-m", "wav2lip.infer", "--checkpoint_path", f"{folder}/thin.pth", "--face",
                    f"{folder}/face.mp4", "--audio", f"{folder}/sound.wav", "--outfile", f"{folder}/out.mp4",
                    "--device", "cpu", *where]  # fmt: skip
            theirs = [sys.executable, __file__, "--plain", name]
            plainly = f"{peak(theirs):.0f}" if seconds <= args.plain_up_to and not args.face else "-"
            what = f"{args.face.stem}, looped" if args.face else f"{args.size}x{args.size}, fixed box"
            print(f"| {seconds} s, {what} | {plainly} | {peak(ours):.0f} |", flush=True)


if __name__ == "__main__":
    main()
