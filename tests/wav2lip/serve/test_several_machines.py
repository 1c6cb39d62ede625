"""Two servers and three workers on one PostgreSQL: killed at random, and an outage of the database."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy
from sqlalchemy import text

from tests.helpers.postgresql import PostgresqlServer, postgresql_server
from tests.helpers.serve import OPTIONS, UNLIMITED, bearer
from wav2lip.errors import InputError
from wav2lip.serve.__main__ import serve
from wav2lip.serve.auth.api_keys import hash_key, write_key_file
from wav2lip.serve.worker import work

CLIENTS = [f"client{number}" for number in range(8)]
JOBS = 200
KILLS = 5
KILL_DELAY_S = 1.0  # after the submission of JOBS / KILLS jobs has begun
START_TIMEOUT_S = 300.0  # of the processes; a busy machine takes minutes
DEADLINE_S = 600.0  # for all jobs after the last kill
FINAL = ("done", "failed", "cancelled")


class Member:
    """Process of a server or worker, which can be killed and started again."""

    def __init__(self, name: str, folder: Path, module: str, flags: list[str]):
        self._command = [sys.executable, "-m", module, *flags, "--data", str(folder / name)]
        self._log = folder / f"{name}.log"
        self.starts = 0

    def start(self) -> None:
        with self._log.open("w") as log:
            self.process = subprocess.Popen(self._command, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        self.starts += 1

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def log(self) -> str:
        return self._log.read_text()

    @property
    def is_ready(self) -> bool:
        return self.url() is not None or "running jobs of" in self.log()

    def url(self) -> str | None:
        match = re.search(r"http://127\.0\.0\.1:\d+", self.log())
        return match and match[0]


class Fleet:
    """Servers and workers that share a database and a folder."""

    def __init__(self, folder: Path, media: Path, url: str, servers: int, workers: int):
        self.keys = {client: f"key of {client}".replace(" ", "-") for client in CLIENTS}
        write_key_file(folder / "keys", {client: hash_key(key) for client, key in self.keys.items()})
        self.files = folder / "files"
        shared = ["--database", url, "--storage", str(self.files)]
        server = [*shared, "--no_worker", "--checkpoint", "thin", "--port", "0", "--keys", str(folder / "keys"),
                  "--requests_per_minute", str(UNLIMITED), "--queue_length", "1000",
                  "--queued_per_client", "1000"]  # fmt: skip
        worker = [*shared, "--checkpoint", f"thin={media / 'thin.pth'}", "--device", "cpu", "--lease_seconds", "4"]
        self.servers = [Member(f"server{n}", folder, "wav2lip.serve", server) for n in range(servers)]
        self.workers = [Member(f"worker{n}", folder, "wav2lip.serve.worker", worker) for n in range(workers)]
        self.members = [*self.servers, *self.workers]

    def wait_until_ready(self) -> None:
        """Wait until all processes are ready; a job whose three runs are killed in a row would fail."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not all(member.is_ready for member in self.members):
            assert time.monotonic() < deadline, [member.log() for member in self.members if not member.is_ready]
            time.sleep(0.2)

    def request(self, client: str, method: str, path: str, **arguments: object) -> dict:
        """Send a request to any server that answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            url = random.choice(self.servers).url()
            try:
                if url is not None:
                    headers = bearer(self.keys[client])
                    response = httpx.request(method, url + path, headers=headers, timeout=60, **arguments)  # type: ignore[arg-type]
                    if response.status_code < 500:
                        return response.raise_for_status().json()
            except httpx.TransportError:  # a killed server
                pass
            assert time.monotonic() < deadline, (method, path)
            time.sleep(0.2)

    def upload(self, client: str, path: Path) -> str:
        content = path.read_bytes()
        return self.request(client, "POST", "/v1/uploads", files={"file": (path.name, content)})["id"]

    def submit(self, client: str, face: str, audio: str) -> str:
        job = {"face": face, "audio": audio, "options": OPTIONS}
        return self.request(client, "POST", "/v1/jobs", json=job)["id"]


@contextmanager
def fleet(folder: Path, media: Path, servers: int, workers: int) -> Iterator[tuple[Fleet, PostgresqlServer]]:
    with postgresql_server() as database:
        fleet = Fleet(folder, media, database.url, servers, workers)
        try:
            for member in fleet.members:
                member.start()
            fleet.wait_until_ready()
            yield fleet, database
        finally:
            for member in fleet.members:
                member.kill()


def rows(url: str, query: str) -> list[sqlalchemy.Row]:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(text(query)))
    finally:
        engine.dispose()


@pytest.mark.slow
def test_no_job_is_lost_or_done_twice_while_everything_is_killed(media, tmp_path):
    with fleet(tmp_path, media, servers=2, workers=3) as (machines, database):
        files = {client: [machines.upload(client, media / name) for name in ("face.mp4", "audio.wav")]
                 for client in CLIENTS}  # fmt: skip
        submitted: list[str] = []
        tickets = threading.Semaphore(0)

        def submit_with_tickets() -> None:
            for number in range(JOBS):
                tickets.acquire()
                client = CLIENTS[number % len(CLIENTS)]
                submitted.append(machines.submit(client, *files[client]))

        submission = threading.Thread(target=submit_with_tickets)
        submission.start()
        victims = random.Random(0)
        for number in range(KILLS):
            tickets.release(JOBS // KILLS)
            if number == KILLS // 2:
                database.stop()
                time.sleep(2)
                database.start()
            time.sleep(KILL_DELAY_S)
            victim = victims.choice(machines.members)
            victim.kill()
            victim.start()
            machines.wait_until_ready()
        submission.join()
        wait_until_finished(database.url)
        jobs = rows(database.url, "SELECT * FROM jobs ORDER BY number")
        events = rows(database.url, "SELECT * FROM job_events ORDER BY number")
    assert len(submitted) == JOBS
    assert set(submitted) <= {job.id for job in jobs}  # a server may die between the commit and the response
    assert {job.state for job in jobs} == {"done"}
    check_histories(jobs, events)
    check_one_running_job_per_client(jobs, events)
    for job in jobs:
        video = (machines.files / "results" / job.result_name).read_bytes()
        assert hashlib.sha256(video).hexdigest() == job.result_sha256
    counts = Counter(event.event for event in events)
    print(f"{len(jobs)} jobs, {counts}, starts {[member.starts for member in machines.members]}")
    assert counts["lost"] > 0  # some kills have hit a running job


def wait_until_finished(url: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while remaining := rows(url, "SELECT id, state FROM jobs WHERE state IN ('queued', 'running')"):
        assert time.monotonic() < deadline, remaining
        time.sleep(1)


def check_histories(jobs: list[sqlalchemy.Row], events: list[sqlalchemy.Row]) -> None:
    """Check that each job was started, lost any number of times and done once, by runs of consecutive numbers."""
    by_job: dict[int, list[sqlalchemy.Row]] = defaultdict(list)
    for event in events:
        by_job[event.job_number].append(event)
    assert by_job.keys() == {job.number for job in jobs}
    for job in jobs:
        expected = [("queued", 0)]
        for run in range(1, job.runs):
            expected += [("started", run), ("lost", run)]
        expected += [("started", job.runs), ("done", job.runs)]
        assert [(event.event, event.run) for event in by_job[job.number]] == expected


def check_one_running_job_per_client(jobs: list[sqlalchemy.Row], events: list[sqlalchemy.Row]) -> None:
    clients, running = {job.number: job.client for job in jobs}, Counter()
    for event in events:  # in the order of their transactions
        client = clients[event.job_number]
        running[client] += {"started": 1, "lost": -1, "done": -1}.get(event.event, 0)
        assert 0 <= running[client] <= 1, event


@pytest.mark.slow
def test_job_starts_and_is_cancelled_by_notifications(media, tmp_path):
    with fleet(tmp_path, media, servers=1, workers=1) as (machines, database):
        client = CLIENTS[0]
        face, audio, long = (machines.upload(client, media / name) for name in ("face.mp4", "audio.wav", "minute.wav"))
        for _ in range(7):
            wait_for(machines, client, machines.submit(client, face, audio), "done")
        delays = [job.started - job.created for job in rows(database.url, "SELECT created, started FROM jobs")]
        assert statistics.median(delays) < 1.0  # polling alone takes half of its interval, 2.5 s
        running = machines.submit(client, face, long)
        wait_for(machines, client, running, "running", lambda job: job["progress"]["done"] > 0)
        machines.request(client, "POST", f"/v1/jobs/{running}/cancel")
        wait_for(machines, client, running, "cancelled")
        interrupted = machines.submit(client, face, long)
        wait_for(machines, client, interrupted, "running")
        assert machines.workers[0].stop() == 0
        assert machines.request(client, "GET", f"/v1/jobs/{interrupted}")["state"] == "queued"
        (attempts,) = rows(database.url, f"SELECT attempts, runs FROM jobs WHERE id = '{interrupted}'")
        assert tuple(attempts) == (0, 1)


def wait_for(machines: Fleet, client: str, job_id: str, state: str,
             condition: Callable[[dict], bool] = lambda _job: True) -> None:  # fmt: skip
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ((job := machines.request(client, "GET", f"/v1/jobs/{job_id}"))["state"] == state and condition(job)):
        assert job["state"] not in FINAL and time.monotonic() < deadline, job
        time.sleep(0.1)


@pytest.mark.parametrize("flags", [[], ["--database", "sqlite:///x"], ["--database", "postgresql+psycopg://x"]])
def test_worker_needs_postgresql_and_storage(media, flags):
    with pytest.raises(InputError, match="--database=postgresql"):
        work(["--checkpoint", str(media / "thin.pth"), *flags])


@pytest.mark.parametrize(("flags", "keyword"), [
    ([], "--database=postgresql"), (["--database", "sqlite:///x", "--storage", "x"], "--database=postgresql"),
    (["--database", "postgresql+psycopg://x", "--storage", "x", "--live_faces", "x"], "--live_faces"),
])  # fmt: skip
def test_server_without_worker_needs_shared_database_and_no_live_faces(flags, keyword):
    with pytest.raises(InputError, match=keyword):
        serve(["--checkpoint", "a name", "--no_worker", *flags])
