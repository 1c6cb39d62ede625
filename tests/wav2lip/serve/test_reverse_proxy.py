"""The server behind nginx, configured as docs/serving.md says: at the root of a host, and under a path."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.helpers.serve import find_free_port, server_process, submit_job, wait_for_end

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"
CONFIG = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


@contextmanager
def nginx(folder: Path, server: str, port: int) -> Iterator[None]:
    """Run nginx with a server block; skip the test where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    folder.mkdir()
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, server=server))
    if os.geteuid() == 0:  # its workers run as nobody
        for parent in (folder, *folder.parents):
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o055)
    process = subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/nothing", timeout=1)
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "error.log").read_text()
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def read_examples(server_port: int, port: int) -> tuple[str, str]:
    """Return the server blocks of the documentation, for these ports and without TLS."""
    whole, location = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    whole = whole.replace("443 ssl", f"127.0.0.1:{port}").replace("7860", str(server_port))
    prefix = (
        f"server {{ listen 127.0.0.1:{port}; server_name video.example.org; client_max_body_size 1100m; {location} }}"
    )
    return whole, prefix.replace("7860", str(server_port))


@pytest.mark.slow
@pytest.mark.parametrize("root", ["", "/lipsync"])
def test_page_queue_and_assets_work_behind_nginx(media, tmp_path, root):
    port, flags = find_free_port(), ["--proxy", "127.0.0.1", "--allowed_host", "video.example.org"]
    with server_process(media, tmp_path / "data", *flags, "--root_path", root) as server:
        example = read_examples(server.port, port)[bool(root)]
        with nginx(tmp_path / "nginx", example, port), httpx.Client(
            base_url=f"http://127.0.0.1:{port}{root}", headers={"Host": "video.example.org"}, timeout=60,
            follow_redirects=True,
        ) as client:  # fmt: skip
            page = client.get("/")
            assert page.status_code == 200 and f"Path={root or '/'};" in page.headers["set-cookie"]
            assets = set(re.findall(r"""(?:src|href)=["'](?:\./|/[^"']*?/)?(assets/[^"']+)["']""", page.text))
            assert len(assets) >= 2
            assert {client.get(f"/{asset}").status_code for asset in assets} == {200}
            config = client.get("/config").json()
            assert config["root"].endswith(f"video.example.org{root}")
            with (media / "audio.wav").open("rb") as audio:
                (path,) = client.post("/gradio_api/upload", files={"files": audio}).json()
            assert client.get(f"/gradio_api/file={path}").content == (media / "audio.wav").read_bytes()
            event_id = client.post("/gradio_api/call/history", json={"data": []}).json()["event_id"]
            assert "event: complete" in client.get(f"/gradio_api/call/history/{event_id}").text
            job = wait_for_end(client, submit_job(client, media).json()["id"])
            assert job["state"] == "done" and client.get(job["result"]).status_code == 200
            own = {"Origin": "https://video.example.org", "Sec-Fetch-Site": "same-origin"}
            assert client.post("/v1/jobs", headers=own).status_code == 422
            assert client.post("/v1/jobs", headers={"Origin": "https://evil.example"}).status_code == 403
            assert f"{root}/openapi.json" in client.get("/docs").text
            assert json.loads(client.get("/openapi.json").text)["paths"]["/v1/jobs"]
