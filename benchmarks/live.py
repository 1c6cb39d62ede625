"""Live lip-sync at the pace of a clock: frame rate, late frames, delay, CPU time and memory.

    python -m benchmarks.live FACE [--checkpoint_path FILE] [--minutes 10] [--sizes 512x512 1280x720] [--profile]

FACE is a video of one person; its frames are resized to each size and prepared. Audio (a synthetic voice) is pushed in
pieces of 20 ms at the pace of a clock, as a microphone does. Without a checkpoint the generator has the published size
and random weights. Frames carry their audio, from which the delay is known: from the end of the 200 ms of audio that a
frame needs to its release. `--profile` prints the CPU time of each function instead, without a clock.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models import Wav2Lip
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.engine.inputs import ArraySource
from wav2lip.engine.prepared import PreparedFace
from wav2lip.execution.usage import MIB
from wav2lip.faces.crops import resize
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.live import LipStream, LiveLipSync
from wav2lip.live.fragments import AUDIO_RATE, FragmentWriter
from wav2lip.live.lipsync import PAIR
from wav2lip.live.prepare import prepare_face
from wav2lip.media import read_frames
from wav2lip.synthetic import Speaker, speak

PIECE_S = 0.02
WINDOW_END_S = 0.2  # the goal counts from the end of the window of five frames
VOICE_S = 20.0
NUM_FRAMES = 250
SETTLING_S = 5.0  # frames before it are not measured
NUM_PROFILED = 20  # functions


@dataclass(frozen=True)
class Measurement:
    """Result of one size."""

    delays: np.ndarray  # (n,) s from the end of the window of a frame to its release
    fps: float
    late: float  # share of the frames
    cpu_ms: float  # CPU time of all threads per frame
    memory: tuple[int, int]  # MiB in use after SETTLING_S and at the end

    def row(self, size: str) -> str:
        """Format a row of the table."""
        median, high = (1000 * np.percentile(self.delays, share) for share in (50, 99))
        begin, end = self.memory
        cells = (size, f"{self.fps:.2f}", f"{self.late:.2%}", f"{median:.0f} ms", f"{high:.0f} ms",
                 f"{self.cpu_ms:.1f} ms", f"{begin} MiB", f"{end} MiB")  # fmt: skip
        return f"| {' | '.join(cells)} |"


HEADER = """| size | fps | late | delay beyond 200 ms: median | 99 % | CPU time per frame | memory: start | end |
|---|---|---|---|---|---|---|---|"""


def voice() -> np.ndarray:
    """Return a voice without a zero, (n,) float32 at 16 kHz: zeros in the result are silence that the stream added."""
    samples = speak(VOICE_S, Speaker.from_seed(1), 1).wav.astype(np.float32)
    return np.where(np.abs(samples) < 1e-6, np.float32(1e-6), samples)


def measure(live: LiveLipSync, samples: np.ndarray, seconds: float) -> Measurement:
    """Feed a voice (n,) for `seconds` and take the frames."""
    start, stop = time.monotonic(), threading.Event()

    def feed() -> None:
        piece, position = round(PIECE_S * SAMPLE_RATE), 0
        while not stop.is_set() and position < seconds * SAMPLE_RATE:
            time.sleep(max(0.0, start + (position + piece) / SAMPLE_RATE - time.monotonic()))
            live.push(np.take(samples, range(position, position + piece), mode="wrap"), SAMPLE_RATE)
            position += piece
        live.end()

    feeder = threading.Thread(target=feed)
    feeder.start()
    delays: list[float] = []
    position, count, begin, cpu, memory = 0, 0, 0.0, 0.0, 0
    for frame in live:
        now = time.monotonic()
        if not begin and now - start > SETTLING_S:
            begin, cpu, memory = now, time.process_time(), _memory_mib()
        count += begin > 0
        silent = int(np.argmax(frame.audio != 0)) if frame.audio.any() else len(frame.audio)
        if begin and silent < len(frame.audio):
            spoken = start + (position - silent) / SAMPLE_RATE  # time at which the first sample of the frame was spoken
            delays.append(now - spoken - WINDOW_END_S)
        position += np.count_nonzero(frame.audio)
    stop.set()
    feeder.join()
    elapsed, cpu = time.monotonic() - begin, time.process_time() - cpu
    return Measurement(np.array(delays), count / elapsed, live.late_share, 1000 * cpu / count, (memory, _memory_mib()))


def profile(face: Path, engine: LipSync, options: LipSyncOptions, seconds: float) -> None:
    """Print the functions with the most CPU time while frames are generated and encoded in one thread."""
    stream = LipStream(PreparedFace(face), engine.generator, options=options, audio_rate=AUDIO_RATE, batch_size=PAIR)
    stream.warm_up()
    writer: FragmentWriter | None = None
    samples = voice()
    profiler = cProfile.Profile(time.process_time)
    count = 0
    with profiler:
        for first in range(0, round(seconds * SAMPLE_RATE), round(PIECE_S * SAMPLE_RATE)):
            piece = range(first, first + round(PIECE_S * SAMPLE_RATE))
            stream.push(np.take(samples, piece, mode="wrap"), SAMPLE_RATE)
            for frame in stream.frames() if stream.has_frames(PAIR) else ():
                writer = writer or FragmentWriter(*frame.image.shape[1::-1])
                writer.write(frame)
                count += 1
    print(f"{count} frames")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(NUM_PROFILED)


def _memory_mib() -> int:
    """Return the memory in use; the peak where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return pages * resource.getpagesize() // MIB


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("face", type=Path)
    parser.add_argument("--checkpoint_path", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sizes", nargs="+", default=["512x512", "1280x720"], metavar="WxH")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    engine = LipSync.from_checkpoint(args.checkpoint_path) if args.checkpoint_path else _untrained_engine()
    options = LipSyncOptions(precision=args.precision)
    frames = list(read_frames(args.face, 25))[:NUM_FRAMES]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {args.minutes:g} minutes each, {args.precision}")
    if not args.profile:
        print(HEADER)
    samples = voice()  # now, because a stream whose frames nobody takes is late
    for size in args.sizes:
        width, height = map(int, size.split("x"))
        source = ArraySource(np.stack([resize(frame, width, height) for frame in frames]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "face.w2l"
            prepare_face(engine, source, path, LipSyncOptions(), seconds=10)
            if args.profile:
                profile(path, engine, options, args.minutes * 60)
                continue
            with LiveLipSync(path, engine, options=options) as live:
                next(live)  # the generator is loaded
                print(measure(live, samples, args.minutes * 60).row(size), flush=True)


def _untrained_engine() -> LipSync:
    from face_detection import build_detector

    device = torch.device("cpu")
    return LipSync(
        Wav2Lip().eval(), device,
        lambda batch_size, compat: build_detector("mtcnn", device=device, batch_size=batch_size),
    )  # fmt: skip


if __name__ == "__main__":
    main()
