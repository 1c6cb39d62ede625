"""Load test of the server with many clients: lost jobs, latency and memory.

    python benchmarks/serve_load.py [--clients 20] [--jobs 5] [--seconds 1500] [--length 2] [--checkpoint FILE]

Starts python -m wav2lip.serve on loopback with a key for each client. A client uploads a face and an audio file, waits
for the result, downloads it, compares its SHA-256 with the record's, and repeats; half of its jobs reuse the uploads of
the previous one. Without --checkpoint the model is small and random. No job starts after --seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import torch

from models import Wav2Lip
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.serve.auth.api_keys import PREFIX, hash_key, write_key_file
from wav2lip.synthetic import write_videos

OPTIONS = {"box": [60, 230, 50, 210]}  # detection would dominate, and it is not what is measured
MEMORY_INTERVAL_S = 0.5
RETRY_INTERVAL_S = 2
GRACE_S = 600  # for a job that was submitted in time


@dataclass
class Measurements:
    """Measurements of all clients."""

    latencies_s: list[float] = field(default_factory=list)  # from submission to the downloaded result
    retries: int = 0  # submissions rejected by limits
    lost_jobs: list[str] = field(default_factory=list)  # states of accepted jobs without a valid result
    memory_mib: list[float] = field(default_factory=list)  # of the server, from before the first job
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = {f"client{number:02d}": f"{PREFIX}benchmark{number}" for number in range(args.clients)}
        write_key_file(folder / "keys", {client: hash_key(key) for client, key in keys.items()})
        face, audio = write_videos(folder / "media", count=2, seconds=args.length)
        process, url = start_server(folder, args.checkpoint or write_small_checkpoint(folder / "thin.pth"))
        try:
            measurements, start, finished = Measurements(), time.monotonic(), threading.Event()
            deadline = start + args.seconds
            monitor = threading.Thread(target=sample_memory, args=(url, keys["client00"], measurements, finished))
            monitor.start()
            clients = [
                threading.Thread(target=run_client, args=(url, key, face, audio, args.jobs, deadline, measurements))
                for key in keys.values()
            ]
            for thread in clients:
                thread.start()
            for thread in clients:
                thread.join()
            seconds = time.monotonic() - start
            finished.set()
            monitor.join()
        finally:
            process.terminate()
            exit_code = process.wait(60)
    print_report(args, measurements, seconds, exit_code)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=5, help="jobs per client")
    parser.add_argument("--seconds", type=float, default=1500.0, help="submit no job after this time")
    parser.add_argument("--length", type=float, default=2.0, help="seconds of audio and video")
    parser.add_argument("--checkpoint", type=Path)
    return parser.parse_args()


def write_small_checkpoint(path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(Wav2Lip(width=0.125).state_dict()))
    return path


def start_server(folder: Path, checkpoint: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the server; returns its process and base URL."""
    flags = ["--checkpoint", f"model={checkpoint}", "--data", folder / "data", "--keys", folder / "keys", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "wav2lip.serve", *map(str, flags)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r"http://[\d.]+:\d+", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # drains the log
            return process, match[0]
    raise SystemExit("the server did not start")


def run_client(
    url: str, key: str, face: Path, audio: Path, jobs: int, deadline: float, measurements: Measurements
) -> None:  # fmt: skip
    """Run one job after the other."""
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=120) as http:
        job: dict | None = None
        for number in range(jobs):
            if time.monotonic() > deadline:
                return
            start = time.monotonic()
            job = submit(http, face, audio, job if number % 2 else None, measurements)
            while job["state"] in ("queued", "running"):
                if time.monotonic() > deadline + GRACE_S:
                    break
                response = http.get(f"/v1/jobs/{job['id']}", params={"wait": 20})
                if response.status_code == 200:
                    job = response.json()
            video = http.get(job["result"]).content if job["state"] == "done" else b""
            is_valid = hashlib.sha256(video).hexdigest() == job["result_sha256"]
            with measurements.lock:
                measurements.latencies_s.append(time.monotonic() - start)
                if not is_valid:
                    measurements.lost_jobs.append(f"{job['state']}: {job['error']}")


def submit(
    http: httpx.Client, face: Path, audio: Path, previous: dict | None, measurements: Measurements
) -> dict:  # fmt: skip
    """Submit until accepted, with new uploads or those of the previous job; returns the job."""
    while True:
        if previous is None:
            with face.open("rb") as face_file, audio.open("rb") as audio_file:
                files = {"face": face_file, "audio": audio_file}
                response = http.post("/v1/jobs", files=files, data={"options": json.dumps(OPTIONS)})
        else:
            ids = {"face": previous["face"]["id"], "audio": previous["audio"]["id"]}
            response = http.post("/v1/jobs", json=ids | {"options": OPTIONS})
        if response.status_code == 202:
            return response.json()
        if response.status_code not in (429, 503):
            raise SystemExit(f"{response.status_code}: {response.text}")
        with measurements.lock:
            measurements.retries += 1
        time.sleep(RETRY_INTERVAL_S)


def sample_memory(url: str, key: str, measurements: Measurements, finished: threading.Event) -> None:
    """Sample the server's memory from its metrics."""
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as http:
        while True:
            text = http.get("/metrics").text
            match = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
            if match is not None:  # exported on Linux only
                measurements.memory_mib.append(float(match[1]) / 2**20)
            if finished.wait(MEMORY_INTERVAL_S):
                return


def print_report(args: argparse.Namespace, measurements: Measurements, seconds: float, exit_code: int) -> None:
    latencies, memory = sorted(measurements.latencies_s), measurements.memory_mib
    print(f"{args.clients} clients, {len(latencies)} of {args.clients * args.jobs} jobs in {seconds:.0f} s")
    print(f"lost: {len(measurements.lost_jobs)} {measurements.lost_jobs[:3] or ''}; retries: {measurements.retries}")
    percentile = latencies[int(0.95 * (len(latencies) - 1))]
    print(f"latency: median {statistics.median(latencies):.1f} s, 95th percentile {percentile:.1f} s")
    if memory:
        quarters = [quarter.tolist() for quarter in np.array_split(memory, 4)]
        medians = ", ".join(f"{statistics.median(quarter):.0f}" for quarter in quarters)
        print(f"server memory: {memory[0]:.0f} MiB at start, {max(memory):.0f} at most; "
              f"median of each quarter: {medians}; {memory[-1]:.0f} at the end")  # fmt: skip
    print(f"exit code of the server: {exit_code}")


if __name__ == "__main__":
    main()
