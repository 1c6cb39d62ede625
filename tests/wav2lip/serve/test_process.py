"""The command: one real process, its limits on what comes in, and what becomes of its jobs when it dies."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import write_video
from tests.wav2lip.serve.conftest import MANY, ended, files_in, submit
from wav2lip.errors import InputError
from wav2lip.serve.__main__ import serve, warn_of_openness
from wav2lip.serve.service import claimed
from wav2lip.serve.settings import Settings

BOUNDARY = "----frontier"


class Server:
    """A process that serves; `client` talks to it."""

    def __init__(self, media: Path, data: Path, *flags: str):
        words = ["--checkpoint", f"thin={media / 'thin.pth'}", "--data", str(data), "--port", "0", "--device", "cpu",
                 "--requests_per_minute", str(MANY)]  # fmt: skip
        self.process = subprocess.Popen([sys.executable, "-m", "wav2lip.serve", *words, *flags],
                                        stderr=subprocess.PIPE, text=True)  # fmt: skip
        assert self.process.stderr is not None
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError("".join(self.lines))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def stop(self, how: signal.Signals) -> int:
        self.client.close()
        self.process.send_signal(how)
        return self.process.wait(30)


@contextmanager
def serving(media: Path, data: Path, *flags: str) -> Iterator[Server]:
    server = Server(media, data, *flags)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)
        server.process.stderr.close()  # type: ignore[union-attr]


def head(path: str, field: str, *lines: str) -> bytes:
    """The beginning of a multipart request whose file goes on and on."""
    words = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        *lines,
    ]
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.mp4"\r\n\r\n'
    body = f"{len(part):x}\r\n{part}\r\n" if "Transfer-Encoding: chunked" in lines else part
    return ("\r\n".join(words) + "\r\n\r\n" + body).encode()


def answer_to_endless(port: int, path: str, field: str, most: int) -> bytes:
    """What comes back from a body without an end, of which that many bytes are sent at most."""
    block = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as to:
        to.sendall(head(path, field, "Transfer-Encoding: chunked"))
        sent = 0
        try:
            while sent < most:
                to.sendall(block)
                sent += 1 << 16
        except OSError:  # it does not listen any more
            pass
        assert sent < most, "it took everything"
        try:
            return to.recv(4096)
        except ConnectionResetError:
            return b""


@pytest.mark.slow
def test_endless_slow_and_huge_bodies_are_cut_off_and_nothing_of_them_is_left(media, tmp_path):
    data = tmp_path / "data"
    with serving(media, data, "--upload_mib", "1", "--upload_seconds", "2") as server:
        for path, field in [("/v1/jobs", "face"), ("/v1/uploads", "file"), ("/gradio_api/upload", "files")]:
            answer = answer_to_endless(server.port, path, field, 64 << 20)
            assert b" 413 " in answer.partition(b"\r\n")[0] or answer == b"", (path, answer)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow:
            slow.sendall(head("/v1/jobs", "face", "Content-Length: 100000"))
            assert b" 408 " in slow.recv(4096)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as huge:
            huge.sendall(head("/v1/uploads", "file", "Content-Length: 999999999999"))
            assert b" 413 " in huge.recv(4096)
        words = server.client.post("/v1/jobs", content=b" " * (1 << 21), headers={"Content-Type": "application/json"})
        assert words.status_code == 413 and "larger than 1 MiB" in words.json()["error"]
        assert files_in(data / "uploads") == [] and files_in(data / "page") == []
        assert server.client.get("/healthz").status_code == 200
        assert server.stop(signal.SIGTERM) == 0


def job_that_runs(client: httpx.Client, media: Path) -> str:
    """The id of a job of eight seconds of sound, once some of its frames are made."""
    job = submit(client, media, "seconds.wav").json()["id"]  # type: ignore[arg-type]
    wait_for_frames(client, job)
    return job


def wait_for_frames(client: httpx.Client, job: str) -> None:
    """Return once some frames of a job are made, and long before all 200 are."""
    until = time.monotonic() + 60
    while (seen := client.get(f"/v1/jobs/{job}").json())["progress"]["done"] < 20:
        assert time.monotonic() < until, seen
        time.sleep(0.05)


@pytest.mark.slow
def test_jobs_outlive_a_server_that_is_killed_or_stopped(media, tmp_path):
    data = tmp_path / "data"
    with serving(media, data) as server:
        running = job_that_runs(server.client, media)
        waiting = submit(server.client, media).json()["id"]  # type: ignore[arg-type]
        server.stop(signal.SIGKILL)
    with serving(media, data) as server:
        assert server.client.get(f"/v1/jobs/{waiting}").json()["state"] == "queued"
        wait_for_frames(server.client, running)
        assert server.stop(signal.SIGTERM) == 0  # an orderly stop in the middle of it
    with serving(media, data) as server:
        jobs = [ended(server.client, job) for job in (running, waiting)]  # type: ignore[arg-type]
        assert [(job["state"], job["frames"]) for job in jobs] == [("done", 200), ("done", 10)]
        assert {path.stem for path in files_in(data / "results")} == {running, waiting}
        assert server.stop(signal.SIGINT) == 0


@pytest.mark.slow
def test_the_examples_of_the_docs_run_as_they_stand(media, portrait, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1]  # type: ignore[index]
    asked = re.search(r"^curl .*?$", page, flags=re.MULTILINE)[0]  # type: ignore[index]
    write_video(tmp_path / "person.mp4", [portrait] * 5)
    shutil.copy(media / "sound.wav", tmp_path / "speech.wav")
    with serving(media, tmp_path / "data") as server:
        done = subprocess.run([sys.executable, "-c", example.replace(":7860", f":{server.port}")],
                              cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "result.mp4").stat().st_size > 1000
        if shutil.which("curl"):
            curl = subprocess.run(shlex.split(asked.replace(":7860", f":{server.port}")), cwd=tmp_path,
                                  capture_output=True, text=True, check=True)  # fmt: skip
            job = ended(server.client, json.loads(curl.stdout)["id"])  # type: ignore[arg-type]
            assert job["state"] == "done" and job["options"]["fit"] == "pingpong"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--checkpoint", "nowhere.pth"], "nowhere.pth is no file"),
        (["--checkpoint", "a/b=THIN"], "'a/b' is no name"),
        (["--checkpoint", "THIN", "--checkpoint", "THIN"], "thin is given twice"),
        (["--checkpoint", "THIN", "--workers", "0"], "--workers is 0"),
        (["--checkpoint", "SOUND"], "sound.wav"),
        (["--checkpoint", "THIN", "--keys", "nowhere"], "--keys nowhere: cannot be read"),
        (["--checkpoint", "THIN", "--database", "mysql://x"], "--database mysql://x"),
        (["--checkpoint", "THIN", "--host", "192.0.2.1"], "--host 192.0.2.1"),
    ],
)
def test_what_cannot_be_served_ends_with_one_sentence(media, tmp_path, flags, says):
    words = [flag.replace("THIN", str(media / "thin.pth")).replace("SOUND", str(media / "sound.wav")) for flag in flags]
    with pytest.raises(InputError) as refused:
        serve(["--data", str(tmp_path / "data"), "--port", "0", *words])
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_gradio_keeps_to_the_data_folder_from_its_import_on(media, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (temporary / "gradio").write_text("another user's, in whose folder nothing can be made")
    words = ["--checkpoint", str(media / "sound.wav"), "--data", str(tmp_path / "data"), "--port", "0"]
    done = subprocess.run([sys.executable, "-m", "wav2lip.serve", *words], capture_output=True, text=True,
                          env=os.environ | {"TMPDIR": str(temporary)})  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "sound.wav" in done.stderr


def test_without_its_packages_the_command_says_what_to_install(media, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not there
    with pytest.raises(InputError, match=r"the web app needs uvicorn.*pip install 'wav2lip-toolkit\[web\]'"):
        serve(["--checkpoint", str(media / "thin.pth"), "--data", str(tmp_path / "data")])


def test_a_server_that_others_reach_without_keys_is_warned_of(caplog):
    warn_of_openness(Settings(host="0.0.0.0"))
    assert len(caplog.messages) == 1 and "--keys" in caplog.messages[0]
    caplog.clear()
    for settings in (Settings(), Settings(host="::1"), Settings(host="0.0.0.0", keys=Path("keys"))):
        warn_of_openness(settings)
    assert caplog.messages == []


def test_two_servers_do_not_share_a_folder(tmp_path):
    settings = Settings(data=tmp_path / "data")
    with claimed(settings), pytest.raises(InputError, match="is used by another server"), claimed(settings):
        pass
    with claimed(settings):
        pass


def test_a_data_folder_that_is_a_file_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(InputError, match="--data .* cannot be written to"), claimed(Settings(data=tmp_path / "data")):
        pass
