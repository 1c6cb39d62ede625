"""Restrictions of Gradio: it serves no files of the server and fetches no URLs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import safehttpx
from fastapi.testclient import TestClient

from tests.helpers.serve import BASE_URL, bearer, list_files
from wav2lip.errors import InputError
from wav2lip.serve import ui
from wav2lip.serve.app import create_app
from wav2lip.serve.auth.api_keys import manage_keys

REJECTION = "upload the file itself"


@pytest.fixture
def other_server(monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """A server that Gradio takes for one on the internet: the URL of a file, and the paths requested so far."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"content of another server")

        def log_message(self, *_) -> None:  # type: ignore[no-untyped-def]
            pass

    async def resolve(_host: str) -> str:
        return "127.0.0.1"

    monkeypatch.setattr(safehttpx, "async_validate_url", resolve)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/a.png", requests
        server.shutdown()
        thread.join()


def find_handler(client, elem_id: str, event: str) -> int:  # type: ignore[no-untyped-def]
    """Return the index of the handler of a component's event."""
    config = client.get("/config").json()
    (component,) = [c["id"] for c in config["components"] if c["props"].get("elem_id") == elem_id]
    (index,) = [d["id"] for d in config["dependencies"] if [component, event] in map(list, d["targets"])]
    return int(index)


def call_handler(client, index: int, *data: object) -> dict:  # type: ignore[no-untyped-def]
    """Call a handler as a browser does; return its last message."""
    join_queue(client, "session", index, *data)
    return read_queue(client, "session")


def join_queue(client, session: str, index: int, *data: object) -> None:  # type: ignore[no-untyped-def]
    body = {"data": data, "fn_index": index, "session_hash": session}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200


def read_queue(client, session: str) -> dict:  # type: ignore[no-untyped-def]
    stream = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
    messages = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    (completed,) = [message for message in messages if message["msg"] == "process_completed"]
    return completed


def call_by_name(client, name: str, *data: object) -> str:  # type: ignore[no-untyped-def]
    """Call a named function as gradio_client does; return the event stream."""
    event_id = client.post(f"/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
    return str(client.get(f"/gradio_api/call/{name}/{event_id}").text)


def file_value(path: object) -> dict[str, object]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


@pytest.fixture
def server_files(tmp_path, media) -> list[object]:
    """Files with media suffixes: outside the data folder, another client's upload, and elsewhere."""
    image, upload = tmp_path / "private.png", tmp_path / "data" / "uploads" / "private.mp4"
    upload.parent.mkdir(parents=True)
    image.write_bytes(b"\x89PNG")
    upload.write_bytes(b"private")
    return [image, upload, media / "face.mp4"]


def test_files_of_the_server_are_rejected_as_inputs(start_server, tmp_path, server_files):
    client = start_server()
    for path in server_files:
        value = file_value(path)
        recording = find_handler(client, "audio_recording", "stop_recording")
        assert not call_handler(client, recording, value)["success"], path
        assert not call_handler(client, find_handler(client, "face", "change"), value)["success"], path
        assert REJECTION in call_by_name(client, "doctor", [value]), path
    assert list_files(tmp_path / "data/page") == []


def test_upload_is_accepted_as_recording(start_server, media):
    client = start_server()
    with (media / "audio.wav").open("rb") as audio:
        (path,) = client.post("/gradio_api/upload", files={"files": audio}).json()
    message = call_handler(client, find_handler(client, "audio_recording", "stop_recording"), file_value(path))
    assert message["success"]
    response = client.get(f"/gradio_api/file={message['output']['data'][0]['path']}")
    assert response.content == (media / "audio.wav").read_bytes()


def test_urls_are_never_fetched(start_server, tmp_path, other_server):
    url, requests = other_server
    client = start_server()
    handler = find_handler(client, "audio_recording", "stop_recording")
    message = call_handler(client, handler, file_value(url))
    assert not message["success"] and REJECTION in message["output"]["error"]
    assert client.get(f"/gradio_api/file={url}").status_code == 404
    assert client.get(f"/gradio_api/file={url.replace(':', '%3A')}").status_code == 404
    assert client.get(f"/gradio_api/proxy={url}").status_code == 404
    assert REJECTION in call_by_name(client, "doctor", [file_value(url)])
    nested = {"path": "a.png", "more": file_value(url)}
    assert not call_handler(client, handler, nested)["success"]
    assert requests == [] and list_files(tmp_path / "data/page") == []


def upload_file(client, media) -> str:  # type: ignore[no-untyped-def]
    with (media / "audio.wav").open("rb") as audio:
        return str(client.post("/gradio_api/upload", files={"files": audio}).json()[0])


def test_sessions_events_and_files_belong_to_their_client(start_server, tmp_path, media, key_file):
    path, keys = key_file
    ann = start_server(keys=path)
    ann.headers.update(bearer(keys["ann"]))
    index = find_handler(ann, "audio", "change")
    upload = upload_file(ann, media)
    link = tmp_path / "link"
    link.symlink_to("/")
    aliases = [f"{link}{upload}", *([f"/proc/self/root{upload}"] if Path("/proc/self/root").exists() else [])]
    join_queue(ann, "ann's session", index, file_value(upload))
    event_id = ann.post("/gradio_api/call/history", json={"data": []}).json()["event_id"]
    requests: list[tuple[str, str, dict]] = [
        ("GET", f"/gradio_api/file={upload}", {}),
        ("GET", f"/gradio_api/file={upload.replace('/page/', '/page/../page/')}", {}),
        *(("GET", f"/gradio_api/file={alias}", {}) for alias in aliases),
        *(("POST", "/gradio_api/call/doctor", {"data": [[file_value(alias)]]}) for alias in aliases),
        ("GET", f"/gradio_api/file={media / 'audio.wav'}", {}),
        ("GET", "/gradio_api/queue/data?session_hash=ann's+session", {}),
        ("GET", "/gradio_api/heartbeat/ann's session", {}),
        ("GET", f"/gradio_api/call/history/{event_id}", {}),
        ("POST", "/gradio_api/cancel", {"session_hash": "ann's session", "fn_index": index, "event_id": event_id}),
        ("POST", "/gradio_api/cancel", {"session_hash": "bob's session", "fn_index": index, "event_id": event_id}),
        ("POST", "/gradio_api/queue/join", {"session_hash": "ann's session", "fn_index": index, "data": [None]}),
        ("POST", "/gradio_api/queue/join", {"session_hash": "b", "fn_index": index, "data": [file_value(upload)]}),
        ("POST", "/gradio_api/call/doctor", {"data": [[file_value(upload)]]}),
    ]
    for method, url, body in requests:
        response = ann.request(method, url, json=body or None, headers=bearer(keys["bob"]))
        assert (response.status_code, response.json()) == (404, {"error": "not found"}), (method, url)
    assert read_queue(ann, "ann's session")["success"]
    assert "complete" in ann.get(f"/gradio_api/call/history/{event_id}").text
    assert ann.get(f"/gradio_api/file={upload}").content == (media / "audio.wav").read_bytes()
    # The same content has the same path, which then belongs to both.
    with (media / "audio.wav").open("rb") as audio:
        assert ann.post("/gradio_api/upload", files={"files": audio}, headers=bearer(keys["bob"])).json() == [upload]
    assert ann.get(f"/gradio_api/file={upload}", headers=bearer(keys["bob"])).status_code == 200


def test_page_names_no_other_host(module_server):
    headers = {name: "http://evil.example" for name in ("X-Forwarded-Host", "X-Gradio-Server", "X-Forwarded-Prefix")}
    for path in ("/", "/config"):
        response = module_server.get(path, headers=headers)
        assert response.status_code == 200 and "evil.example" not in response.text


def test_page_uploads_count_against_disk_mib(start_server, tmp_path, media):
    client = start_server(disk_mib=1)
    upload = tmp_path / "data/page/0f/clip.mp4"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(bytes(1 << 20))
    for path, field in (("/gradio_api/upload", "files"), ("/v1/uploads", "file")):
        with (media / "audio.wav").open("rb") as audio:
            assert client.post(path, files={field: audio}).status_code == 503
    assert list_files(tmp_path / "data/page") == [upload]
    upload.unlink()
    with (media / "audio.wav").open("rb") as audio:
        assert client.post("/gradio_api/upload", files={"files": audio}).status_code == 200


def test_page_uploads_count_against_client_mib(start_server, key_file):
    path, keys = key_file
    client = start_server(keys=path, client_mib=1)
    client.headers.update(bearer(keys["ann"]))
    files = {"files": ("a.wav", bytes(1 << 20))}
    statuses = [client.post("/gradio_api/upload", files=files).status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert client.post("/gradio_api/upload", files=files, headers=bearer(keys["bob"])).status_code == 200


def test_submits_of_two_clients_run_in_parallel(start_server, monkeypatch):
    barrier = threading.Barrier(2, timeout=20)

    def wait_for_other(*_) -> None:  # type: ignore[no-untyped-def]
        barrier.wait()
        raise InputError("both are here")

    monkeypatch.setattr(ui, "build_lipsync_form", wait_for_other)
    client = start_server()
    config = client.get("/config").json()
    (submit,) = [d for d in config["dependencies"] if len(d["inputs"]) == 14 and d["api_name"] != "predict"]
    defaults = {component["id"]: component["props"].get("value") for component in config["components"]}
    data = [defaults[component] for component in submit["inputs"]]
    for session in ("ann", "bob"):
        join_queue(client, session, submit["id"], *data)
    for session in ("ann", "bob"):
        assert "both are here" in str(read_queue(client, session)["output"])


def test_page_has_a_logout_form_only_with_keys(start_server, tmp_path, capsys):
    assert "logout" not in start_server().get("/config").text
    manage_keys(["add", "ann", "--file", str(tmp_path / "keys")])
    client = start_server(keys=tmp_path / "keys")
    client.post("/login", data={"key": capsys.readouterr().out.strip()})
    page = client.get("/config").text
    assert 'method=\\"post\\" action=\\"logout\\"' in page
    response = client.post("/logout", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "login")
    assert client.get("/config").status_code == 401


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /gradio_api/process_recording", "GET /monitoring/summary", "GET /monitoring", "GET /gradio_api/deep_link",
        "GET /gradio_api/proxy=http://127.0.0.1/", "GET /gradio_api/vibe-code", "POST /gradio_api/vibe-edit",
        "POST /gradio_api/stream/x", "GET /gradio_api/dev/reload", "POST /gradio_api/component_server",
        "POST /gradio_api/run/history", "GET /gradio_api/file/etc/passwd",
    ],
)  # fmt: skip
def test_unused_gradio_routes_are_not_found(module_server, request_line):
    method, path = request_line.split()
    response = module_server.request(method, path)
    assert (response.status_code, response.json()) == (404, {"error": "not found"})


@pytest.fixture(scope="module")
def module_server(tmp_path_factory, make_settings) -> Iterator[TestClient]:
    with TestClient(create_app(make_settings(tmp_path_factory.mktemp("server") / "data")), BASE_URL) as client:
        yield client
