"""What Gradio would do for whoever asks, and this page does not: hand out the server's files, fetch addresses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import safehttpx
from fastapi.testclient import TestClient

from tests.wav2lip.serve.conftest import HERE, files_in
from wav2lip.errors import InputError
from wav2lip.serve.app import create_app
from wav2lip.serve.keys import change
from wav2lip.serve.page.visitors import Visitors


@pytest.fixture
def visited(monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """A server of this machine that Gradio may take for one of the internet; its address and what it was asked for."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"content of another server")

        def log_message(self, *_) -> None:  # type: ignore[no-untyped-def]
            pass

    async def believed(_host: str) -> str:
        return "127.0.0.1"

    monkeypatch.setattr(safehttpx, "async_validate_url", believed)
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/a.png", asked
        server.shutdown()
        thread.join()


def function_of(client, name: str, event: str) -> int:  # type: ignore[no-untyped-def]
    """The number of the page's function for an event of a part of it."""
    config = client.get("/config").json()
    (part,) = [part["id"] for part in config["components"] if part["props"].get("elem_id") == name]
    (found,) = [one["id"] for one in config["dependencies"] if [part, event] in map(list, one["targets"])]
    return int(found)


def joined(client, number: int, *data: object) -> dict:  # type: ignore[no-untyped-def]
    """What a function of the page says to values that are sent as a browser sends them."""
    join(client, "visitor", number, *data)
    return said_to(client, "visitor")


def join(client, session: str, number: int, *data: object) -> None:  # type: ignore[no-untyped-def]
    body = {"data": data, "fn_index": number, "session_hash": session}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200


def said_to(client, session: str) -> dict:  # type: ignore[no-untyped-def]
    told = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
    messages = [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")]
    (said,) = [message for message in messages if message["msg"] == "process_completed"]
    return said


def called(client, name: str, *data: object) -> str:  # type: ignore[no-untyped-def]
    """What a named function says to values that are sent as a program sends them."""
    number = client.post(f"/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
    return str(client.get(f"/gradio_api/call/{name}/{number}").text)


def file(path: object) -> dict[str, object]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_a_picture_of_the_server_is_not_given_to_who_names_it_as_a_recording(server, tmp_path, pictures):
    client = server()
    for named in pictures:
        said = joined(client, function_of(client, "recorded", "stop_recording"), file(named))
        assert not said["success"], named
        assert joined(client, function_of(client, "face", "change"), file(named))["success"] is False, named
        assert "upload the file itself" in called(client, "doctor", [file(named)]), named
    assert files_in(tmp_path / "data/page") == []


@pytest.fixture
def pictures(tmp_path, media) -> list[object]:
    """Files that are taken by their endings, outside the page's folder and in the data folder beside it."""
    picture, secret = tmp_path / "private.png", tmp_path / "data" / "uploads" / "somebody's.mp4"
    secret.parent.mkdir(parents=True)
    picture.write_bytes(b"\x89PNG")
    secret.write_bytes(b"somebody's")
    return [picture, secret, media / "face.mp4"]


def test_an_upload_is_taken_as_a_recording(server, media):
    client = server()
    with (media / "sound.wav").open("rb") as sound:
        (path,) = client.post("/gradio_api/upload", files={"files": sound}).json()
    said = joined(client, function_of(client, "recorded", "stop_recording"), file(path))
    assert said["success"]
    given = client.get(f"/gradio_api/file={said['output']['data'][0]['path']}")
    assert given.content == (media / "sound.wav").read_bytes()


def test_an_address_is_not_fetched_for_a_client(server, tmp_path, visited):
    address, asked = visited
    client = server()
    said = joined(client, function_of(client, "recorded", "stop_recording"), file(address))
    assert not said["success"] and "upload the file itself" in said["output"]["error"]
    assert client.get(f"/gradio_api/file={address}").status_code == 404
    assert client.get(f"/gradio_api/file={address.replace(':', '%3A')}").status_code == 404
    assert client.get(f"/gradio_api/proxy={address}").status_code == 404
    assert "upload the file itself" in called(client, "doctor", [file(address)])
    nested = {"path": "a.png", "more": file(address)}
    assert not joined(client, function_of(client, "recorded", "stop_recording"), nested)["success"]
    assert asked == [] and files_in(tmp_path / "data/page") == []


def test_what_the_page_was_sent_counts_as_kept_and_more_is_refused(server, tmp_path, media):
    client = server(disk_mib=1)
    sent = tmp_path / "data/page/0f/clip.mp4"
    sent.parent.mkdir(parents=True)
    sent.write_bytes(bytes(1 << 20))
    for path, field in (("/gradio_api/upload", "files"), ("/v1/uploads", "file")):
        with (media / "sound.wav").open("rb") as sound:
            assert client.post(path, files={field: sound}).status_code == 503
    assert files_in(tmp_path / "data/page") == [sent]
    sent.unlink()
    with (media / "sound.wav").open("rb") as sound:
        assert client.post("/gradio_api/upload", files={"files": sound}).status_code == 200


def test_one_visitors_order_does_not_wait_for_anothers(server, monkeypatch):
    both = threading.Barrier(2, timeout=20)

    def meet(*_) -> None:  # type: ignore[no-untyped-def]
        both.wait()
        raise InputError("both are here")

    monkeypatch.setattr(Visitors, "submit", meet)
    client = server()
    config = client.get("/config").json()
    (order,) = [
        one["id"] for one in config["dependencies"] if len(one["inputs"]) == 12 and one["api_name"] != "predict"
    ]
    usual = {part["id"]: part["props"].get("value") for part in config["components"]}
    data = [usual[part] for part in next(one["inputs"] for one in config["dependencies"] if one["id"] == order)]
    for visitor in ("ann", "bob"):
        join(client, visitor, order, *data)
    for visitor in ("ann", "bob"):
        assert "both are here" in str(said_to(client, visitor)["output"])


def test_who_has_a_key_can_log_out_on_the_page(server, tmp_path, capsys):
    assert "logout" not in server().get("/config").text
    change(["add", "ann", "--file", str(tmp_path / "keys")])
    client = server(keys=tmp_path / "keys")
    client.post("/login", data={"key": capsys.readouterr().out.strip()})
    page = client.get("/config").text
    assert 'method=\\"post\\" action=\\"logout\\"' in page
    left = client.post("/logout", follow_redirects=False)
    assert (left.status_code, left.headers["location"]) == (303, "login")
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
def test_routes_of_gradio_that_the_page_does_not_use_are_shut(open_server, request_line):
    method, path = request_line.split()
    answer = open_server.request(method, path)
    assert (answer.status_code, answer.json()) == (404, {"error": "there is nothing at this address"})


@pytest.fixture(scope="module")
def open_server(tmp_path_factory, settings_for) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(tmp_path_factory.mktemp("open") / "data")), HERE) as client:
        yield client
