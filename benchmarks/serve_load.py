"""Many clients of one server at a time: are jobs lost, how long do they take, does memory stay?

    python benchmarks/serve_load.py [--clients 20] [--jobs 5] [--seconds 1500] [--length 2] [--checkpoint FILE]

Starts python -m wav2lip.serve on loopback with a key for each client. A client uploads a face and a sound, waits for
the result, fetches it, compares its SHA-256 with the record's and begins anew; half of its jobs use the uploads of the
one before. Without --checkpoint, a thin network with random weights is served. Ends after --seconds at the latest.
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
from wav2lip.sample import write_sample
from wav2lip.serve.keys import PREFIX, hash_of, write

OPTIONS = {"box": [60, 230, 50, 210]}  # detection would be most of the work and none of the server's
SAMPLED = 0.5  # seconds between two looks at the server's memory


@dataclass
class Seen:
    """What all clients saw."""

    latencies: list[float] = field(default_factory=list)  # seconds from asking to holding the result
    refused: int = 0  # requests that were to be sent again later
    lost: list[str] = field(default_factory=list)  # what became of jobs that were taken and gave no result
    memory: list[float] = field(default_factory=list)  # MiB of the server, from before the first job on
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = {f"client{number:02d}": f"{PREFIX}benchmark{number}" for number in range(args.clients)}
        write(folder / "keys", {client: hash_of(key) for client, key in keys.items()})
        face, sound = write_sample(folder / "media", clips=2, seconds=args.length)
        process, url = start(folder, args.checkpoint or thin(folder / "thin.pth"))
        try:
            seen, begin, over = Seen(), time.monotonic(), threading.Event()
            until = begin + args.seconds
            watcher = threading.Thread(target=watch, args=(url, keys["client00"], seen, over))
            watcher.start()
            clients = [
                threading.Thread(target=client, args=(url, key, face, sound, args.jobs, until, seen))
                for key in keys.values()
            ]
            for thread in clients:
                thread.start()
            for thread in clients:
                thread.join()
            seconds = time.monotonic() - begin
            over.set()
            watcher.join()
        finally:
            process.terminate()
            code = process.wait(60)
    report(args, seen, seconds, code)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=5, help="of each client")
    parser.add_argument("--seconds", type=float, default=1500.0, help="after which no client begins another job")
    parser.add_argument("--length", type=float, default=2.0, help="seconds of each sound and video")
    parser.add_argument("--checkpoint", type=Path)
    return parser.parse_args()


def thin(path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(path, Checkpoint(Wav2Lip(width=0.125).state_dict()))
    return path


def start(folder: Path, checkpoint: Path) -> tuple[subprocess.Popen[str], str]:
    """The server's process and address."""
    words = ["--checkpoint", f"model={checkpoint}", "--data", folder / "data", "--keys", folder / "keys", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "wav2lip.serve", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://[\d.]+:\d+", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # so that its log never stops it
            return process, found[0]
    raise SystemExit("the server did not start")


def client(url: str, key: str, face: Path, sound: Path, jobs: int, until: float, seen: Seen) -> None:
    """Ask for one job after the other."""
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=120) as http:
        job: dict | None = None
        for number in range(jobs):
            if time.monotonic() > until:
                return
            begin = time.monotonic()
            job = submit(http, face, sound, job if number % 2 else None, seen)
            while job["state"] in ("queued", "running"):
                if time.monotonic() > until + 600:
                    break
                answer = http.get(f"/v1/jobs/{job['id']}", params={"wait": 20})
                if answer.status_code == 200:
                    job = answer.json()
            video = http.get(job["result"]).content if job["state"] == "done" else b""
            whole = hashlib.sha256(video).hexdigest() == job["result_sha256"]
            with seen.lock:
                seen.latencies.append(time.monotonic() - begin)
                if not whole:
                    seen.lost.append(f"{job['state']}: {job['error']}")


def submit(http: httpx.Client, face: Path, sound: Path, before: dict | None, seen: Seen) -> dict:
    """A job that was taken: of new uploads, or of those of the job before."""
    while True:
        if before is None:
            with face.open("rb") as one, sound.open("rb") as other:
                answer = http.post(
                    "/v1/jobs", files={"face": one, "audio": other}, data={"options": json.dumps(OPTIONS)}
                )
        else:
            ids = {"face": before["face"]["id"], "audio": before["audio"]["id"]}
            answer = http.post("/v1/jobs", json=ids | {"options": OPTIONS})
        if answer.status_code == 202:
            return answer.json()
        if answer.status_code not in (429, 503):
            raise SystemExit(f"{answer.status_code}: {answer.text}")
        with seen.lock:
            seen.refused += 1
        time.sleep(2)


def watch(url: str, key: str, seen: Seen, over: threading.Event) -> None:
    """Look at the server's memory, as it tells it itself."""
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as http:
        while True:
            text = http.get("/metrics").text
            found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
            if found is not None:  # Prometheus's client tells it on Linux alone
                seen.memory.append(float(found[1]) / 2**20)
            if over.wait(SAMPLED):
                return


def report(args: argparse.Namespace, seen: Seen, seconds: float, code: int) -> None:
    done = sorted(seen.latencies)
    print(f"{args.clients} clients, {len(done)} of {args.clients * args.jobs} jobs in {seconds:.0f} s")
    print(f"lost: {len(seen.lost)} {seen.lost[:3] or ''}; asked again after a refusal: {seen.refused}")
    print(f"latency: median {statistics.median(done):.1f} s, 95% {done[int(0.95 * (len(done) - 1))]:.1f} s")
    if seen.memory:
        quarters = [quarter.tolist() for quarter in np.array_split(seen.memory, 4)]
        medians = ", ".join(f"{statistics.median(quarter):.0f}" for quarter in quarters)
        print(f"server's memory: {seen.memory[0]:.0f} MiB at start, {max(seen.memory):.0f} at most; "
              f"median of each quarter: {medians}; {seen.memory[-1]:.0f} at the end")  # fmt: skip
    print(f"the server's exit code: {code}")


if __name__ == "__main__":
    main()
