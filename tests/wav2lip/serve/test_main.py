"""The server as a process: shutdown, recovery, hostile bodies and startup errors."""

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
from pathlib import Path

import httpx
import pytest

from tests.helpers.media import write_video
from tests.helpers.serve import list_files, server_process, submit_job, wait_for_end
from wav2lip.errors import InputError
from wav2lip.serve.__main__ import serve, warn_if_public
from wav2lip.serve.settings import Settings

BOUNDARY = "----frontier"
BLOCK_BYTES = 1 << 16


def multipart_head(path: str, field: str, *headers: str) -> bytes:
    """Build the start of a multipart request up to the content of its file."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        *headers,
    ]
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.mp4"\r\n\r\n'
    body = f"{len(part):x}\r\n{part}\r\n" if "Transfer-Encoding: chunked" in headers else part
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def send_endless_body(port: int, path: str, field: str, max_bytes: int) -> bytes:
    """Send an endless body until the server stops reading, which must be before `max_bytes`; returns the response."""
    chunk = f"{BLOCK_BYTES:x}\r\n".encode() + bytes(BLOCK_BYTES) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(multipart_head(path, field, "Transfer-Encoding: chunked"))
        sent = 0
        try:
            while sent < max_bytes:
                connection.sendall(chunk)
                sent += BLOCK_BYTES
        except OSError:  # the server has closed the connection
            pass
        assert sent < max_bytes, "the server read everything"
        try:
            return connection.recv(4096)
        except ConnectionResetError:
            return b""


@pytest.mark.slow
def test_endless_slow_and_huge_bodies_are_rejected(media, tmp_path):
    data = tmp_path / "data"
    with server_process(media, data, "--upload_mib", "1", "--upload_seconds", "2") as server:
        for path, field in [("/v1/jobs", "face"), ("/v1/uploads", "file"), ("/gradio_api/upload", "files")]:
            response = send_endless_body(server.port, path, field, 64 << 20)
            assert b" 413 " in response.partition(b"\r\n")[0] or response == b"", (path, response)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow:
            slow.sendall(multipart_head("/v1/jobs", "face", "Content-Length: 100000"))
            assert b" 408 " in slow.recv(4096)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as huge:
            huge.sendall(multipart_head("/v1/uploads", "file", "Content-Length: 999999999999"))
            assert b" 413 " in huge.recv(4096)
        large_json = server.client.post(
            "/v1/jobs", content=b" " * (1 << 21), headers={"Content-Type": "application/json"}
        )
        assert large_json.status_code == 413 and "1 MiB" in large_json.json()["error"]
        assert list_files(data / "uploads") == [] and list_files(data / "page") == []
        assert server.client.get("/healthz").status_code == 200
        assert server.stop(signal.SIGTERM) == 0


def wait_for_frames(client: httpx.Client, job_id: str) -> None:
    """Wait until some frames of a job are generated, long before all 750 are."""
    deadline = time.monotonic() + 60
    while (job := client.get(f"/v1/jobs/{job_id}").json())["progress"]["done"] < 20:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


@pytest.mark.slow
def test_jobs_survive_kill_and_shutdown(media, tmp_path):
    data = tmp_path / "data"
    with server_process(media, data) as server:
        running = submit_job(server.client, media, "long.wav").json()["id"]
        queued = submit_job(server.client, media).json()["id"]
        wait_for_frames(server.client, running)
        server.stop(signal.SIGKILL)
    with server_process(media, data) as server:
        assert server.client.get(f"/v1/jobs/{queued}").json()["state"] == "queued"
        wait_for_frames(server.client, running)
        assert server.stop(signal.SIGTERM) == 0  # while the job runs
    with server_process(media, data) as server:
        jobs = [wait_for_end(server.client, job_id) for job_id in (running, queued)]
        assert [(job["state"], job["frames"]) for job in jobs] == [("done", 750), ("done", 10)]
        assert {path.name.partition(".")[0] for path in list_files(data / "results")} == {running, queued}
        assert server.stop(signal.SIGINT) == 0


@pytest.mark.slow
def test_examples_of_serving_page_run(media, portrait, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    python_example = re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1]  # type: ignore[index]
    curl_example = re.search(r"^curl .*?$", page, flags=re.MULTILINE)[0]  # type: ignore[index]
    write_video(tmp_path / "person.mp4", [portrait] * 5)
    shutil.copy(media / "audio.wav", tmp_path / "speech.wav")
    with server_process(media, tmp_path / "data") as server:
        python = subprocess.run([sys.executable, "-c", python_example.replace(":7860", f":{server.port}")],
                                cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
        assert python.returncode == 0, python.stderr
        assert (tmp_path / "result.mp4").stat().st_size > 1000
        if shutil.which("curl"):
            curl = subprocess.run(shlex.split(curl_example.replace(":7860", f":{server.port}")), cwd=tmp_path,
                                  capture_output=True, text=True, check=True)  # fmt: skip
            job = wait_for_end(server.client, json.loads(curl.stdout)["id"])
            assert job["state"] == "done" and job["options"]["fit"] == "pingpong"


@pytest.mark.parametrize(
    ("flags", "keyword"),
    [
        (["--checkpoint", "nowhere.pth"], "nowhere.pth"),
        (["--checkpoint", "a/b=THIN"], "'a/b'"),
        (["--checkpoint", "THIN", "--checkpoint", "THIN"], "thin is used twice"),
        (["--checkpoint", "THIN", "--workers", "0"], "--workers=0"),
        (["--checkpoint", "AUDIO"], "audio.wav"),
        (["--checkpoint", "THIN", "--keys", "nowhere"], "--keys=nowhere"),
        (["--checkpoint", "THIN", "--database", "mysql://x"], "--database=mysql://x"),
        (["--checkpoint", "THIN", "--host", "192.0.2.1"], "--host=192.0.2.1"),
    ],
)
def test_startup_error_is_one_sentence(media, tmp_path, flags, keyword):
    files = {"THIN": str(media / "thin.pth"), "AUDIO": str(media / "audio.wav")}
    arguments = [flag.replace("THIN", files["THIN"]).replace("AUDIO", files["AUDIO"]) for flag in flags]
    with pytest.raises(InputError) as error:
        serve(["--data", str(tmp_path / "data"), "--port", "0", *arguments])
    assert keyword in str(error.value) and "\n" not in str(error.value)


def test_import_of_gradio_uses_data_folder(media, tmp_path):
    temp = tmp_path / "tmp"
    temp.mkdir()
    (temp / "gradio").write_text("a file of another user where Gradio would create its folder")
    arguments = ["--checkpoint", str(media / "audio.wav"), "--data", str(tmp_path / "data"), "--port", "0"]
    process = subprocess.run([sys.executable, "-m", "wav2lip.serve", *arguments], capture_output=True, text=True,
                             env=os.environ | {"TMPDIR": str(temp)})  # fmt: skip
    assert process.returncode == 2 and "Traceback" not in process.stderr, process.stderr
    assert "audio.wav" in process.stderr


def test_process_ends_although_a_thread_never_returns():
    program = (
        "import threading, time; from wav2lip.serve.process import exit_after; "
        "threading.Thread(target=time.sleep, args=(60,)).start(); exit_after(0.1)"
    )
    start = time.monotonic()
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert time.monotonic() - start < 30


def test_missing_package_names_pip_extra(media, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # makes its import fail
    with pytest.raises(InputError, match=r"uvicorn.*pip install 'wav2lip-toolkit\[web\]'"):
        serve(["--checkpoint", str(media / "thin.pth"), "--data", str(tmp_path / "data")])


def test_public_server_without_keys_logs_warning(caplog):
    warn_if_public(Settings(host="0.0.0.0"))
    assert len(caplog.messages) == 1 and "--keys" in caplog.messages[0]
    caplog.clear()
    for settings in (Settings(), Settings(host="::1"), Settings(host="0.0.0.0", keys=Path("keys"))):
        warn_if_public(settings)
    assert caplog.messages == []
