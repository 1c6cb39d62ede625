"""Routes: from two files to a playable video, and what a client sees on the way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import av
import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi.testclient import TestClient

from tests.helpers.serve import BASE_URL, FRAMES, OPTIONS, UNLIMITED, list_files, submit_job, wait_for_end
from wav2lip.serve.app import create_app
from wav2lip.serve.jobs.inspection import MediaInspector


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory, make_settings):
    """One application for tests that do not check everything it stores."""
    app = create_app(make_settings(tmp_path_factory.mktemp("api"), queued_per_client=100))
    with TestClient(app, BASE_URL, client=("127.0.0.1", 50000)) as client:
        yield client


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wait_for_state(client, job_id: str, *states: str) -> dict:
    """Poll a job until it is in one of these states."""
    deadline = time.monotonic() + 60
    while (job := client.get(f"/v1/jobs/{job_id}").json())["state"] not in states:
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
    return job


def test_submit_job_returns_video_and_record(start_server, media, tmp_path):
    client = start_server()
    response = submit_job(client, media)
    assert response.status_code == 202
    job = wait_for_end(client, response.json()["id"])
    assert (job["state"], job["error"], job["frames"], job["fps"]) == ("done", None, FRAMES, 25.0)
    assert job["progress"] == {"stage": "done", "done": FRAMES, "total": FRAMES}
    assert job["model"] == "thin" and job["checkpoint_sha256"] == sha256(media / "thin.pth")
    assert job["face"]["name"] == "face.mp4" and job["face"]["sha256"] == sha256(media / "face.mp4")
    assert job["audio"]["sha256"] == sha256(media / "audio.wav")
    assert job["options"]["box"] == OPTIONS["box"] and job["options"]["fit"] == "loop"
    assert job["seconds"]["waited"] >= 0 and job["seconds"]["ran"] > 0
    assert job["created"] <= job["started"] <= job["finished"]
    video = tmp_path / "result.mp4"
    video.write_bytes(client.get(job["result"]).content)
    assert (job["result_sha256"], job["result_size"]) == (sha256(video), video.stat().st_size)
    with av.open(str(video)) as container:
        assert len(list(container.decode(video=0))) == FRAMES
        assert container.streams.audio
    assert [listed["id"] for listed in client.get("/v1/jobs").json()] == [job["id"]]


def test_result_supports_range_requests(shared_client, media):
    client = shared_client
    result = wait_for_end(client, submit_job(client, media).json()["id"])["result"]
    complete = client.get(result)
    part = client.get(result, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, complete.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(complete.content)}"
    assert complete.headers["content-type"] == "video/mp4" and complete.headers["accept-ranges"] == "bytes"
    assert client.head(result).headers["content-length"] == str(len(complete.content))
    assert client.get(result, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_upload_ids_are_accepted_in_json_and_forms(shared_client, media):
    client = shared_client
    ids = []
    for name in ("face.mp4", "audio.wav"):
        response = client.post("/v1/uploads", files={"file": (name, (media / name).read_bytes())})
        assert response.status_code == 201
        ids.append(response.json()["id"])
        assert client.get(f"/v1/uploads/{ids[-1]}").json() == response.json()
    face = client.get(f"/v1/uploads/{ids[0]}").json()
    assert (face["width"], face["height"], face["still"], face["seconds"]) == (64, 64, False, None)
    assert client.get(f"/v1/uploads/{ids[1]}").json()["seconds"] == pytest.approx(0.4, abs=0.01)
    json_response = client.post("/v1/jobs", json={"face": ids[0], "audio": ids[1], "model": "thin", "options": OPTIONS})
    form_response = client.post(
        "/v1/jobs",
        data={"face": ids[0], "options": json.dumps(OPTIONS)},
        files={"audio": (media / "audio.wav").read_bytes()},
    )
    assert [response.status_code for response in (json_response, form_response)] == [202, 202]
    first, second = (wait_for_end(client, response.json()["id"]) for response in (json_response, form_response))
    assert first["state"] == second["state"] == "done"
    assert first["result_sha256"] == second["result_sha256"]  # same files, options and weights


def test_same_file_twice_gives_independent_uploads(shared_client, media):
    client = shared_client
    first, second = (
        client.post("/v1/uploads", files={"file": ("a.mp4", (media / "face.mp4").read_bytes())}).json() for _ in "12"
    )
    assert first["id"] != second["id"] and first["sha256"] == second["sha256"]
    assert client.delete(f"/v1/uploads/{first['id']}").status_code == 204
    assert client.get(f"/v1/uploads/{first['id']}").status_code == 404
    assert client.get(f"/v1/uploads/{second['id']}").status_code == 200


def test_rejected_job_is_rolled_back_in_a_thread(start_server, media, monkeypatch):
    client = start_server()
    uploads, calls = client.app.state.service.uploads, []
    remove = uploads.remove

    def remove_outside_event_loop(*arguments: str) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        calls.append(arguments)
        remove(*arguments)

    monkeypatch.setattr(uploads, "remove", remove_outside_event_loop)
    files = {"face": (media / "face.mp4").read_bytes(), "audio": b"Dear diary,"}
    assert client.post("/v1/jobs", files=files).status_code == 422
    assert len(calls) == 1 and list_files(uploads.folder) == []


def test_cancel_ends_queued_and_running_jobs(start_server, media, tmp_path):
    client = start_server(requests_per_minute=UNLIMITED)
    running, queued = (submit_job(client, media, "minute.wav").json()["id"] for _ in range(2))
    third = submit_job(client, media).json()["id"]
    assert client.get(f"/v1/jobs/{third}").json()["position"] in (2, 3)
    frame_counts, deadline = set(), time.monotonic() + 60
    while len(frame_counts) < 3:
        assert time.monotonic() < deadline, frame_counts
        time.sleep(0.02)
        progress = wait_for_state(client, running, "running")["progress"]
        assert progress["stage"] in ("loading", "faces", "lips")
        if progress["stage"] == "lips":
            assert progress["total"] == 1500  # 60 s at 25 fps
            frame_counts.add(progress["done"])
    assert min(frame_counts) < 1500
    cancelled = client.post(f"/v1/jobs/{queued}/cancel").json()
    assert (cancelled["state"], cancelled["position"]) == ("cancelled", None)
    assert client.get(f"/v1/jobs/{running}/result").status_code == 409
    client.post(f"/v1/jobs/{running}/cancel")
    assert wait_for_end(client, running)["state"] == "cancelled"
    message = client.get(f"/v1/jobs/{running}/result").json()["error"]
    assert running in message and "cancelled" in message
    assert wait_for_end(client, third)["state"] == "done"
    assert client.post(f"/v1/jobs/{third}/cancel").json()["state"] == "done"
    assert [path.stem for path in (tmp_path / "data" / "results").iterdir()] == [third]


def test_delete_job_keeps_record_without_video(start_server, media, tmp_path):
    client = start_server()
    job = wait_for_end(client, submit_job(client, media).json()["id"])
    deleted = client.delete(f"/v1/jobs/{job['id']}").json()
    assert (deleted["state"], deleted["result"], deleted["result_sha256"]) == ("done", None, job["result_sha256"])
    assert client.get(job["result"]).status_code == 409
    assert list((tmp_path / "data" / "results").iterdir()) == []


def test_failed_job_names_clients_files_only(shared_client, media):
    client = shared_client
    failed = wait_for_end(client, submit_job(client, media, box=[50, 60, 500, 600]).json()["id"])
    assert failed["state"] == "failed"
    assert "box" in failed["error"] and str(media.parent) not in failed["error"] and "uploads" not in failed["error"]
    assert wait_for_end(client, submit_job(client, media).json()["id"])["state"] == "done"  # the worker survives


@pytest.mark.parametrize(
    ("form", "keyword"),
    [
        ({"options": '{"fps": 0}'}, "fps=0"),
        ({"options": '{"fit": "stretch"}'}, "loop, pingpong, freeze, trim"),
        ({"options": '{"fitt": "loop"}'}, "fitt"),
        ({"options": '{"face_like": "/etc/passwd"}'}, "face_like"),
        ({"options": '{"start": 1e999}'}, "start"),
        ({"options": '{"pads": [0, 0]}'}, "pads"),
        ({"options": "not json"}, "JSON"),
        ({"options": '{"faces": "<script>alert(1)</script>"}'}, "<script>"),
        ({"model": "../../etc/passwd"}, "'../../etc/passwd'"),
        ({"model": "thin'; DROP TABLE jobs; --"}, "model="),
    ],
)
def test_invalid_options_are_rejected(shared_client, media, form, keyword):
    files = {name: (media / file).read_bytes() for name, file in (("face", "face.mp4"), ("audio", "audio.wav"))}
    response = shared_client.post("/v1/jobs", files=files, data=form)
    assert response.status_code in (404, 422)
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"] and keyword in response.json()["error"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize("method", ["get", "delete"])
@pytest.mark.parametrize(
    "forged_id", ["x", "../../jobs.sqlite3", "' OR '1'='1", "%00", "a" * 5000, "🙂", "..%2f..%2fsecret"]
)
def test_forged_ids_are_not_found(shared_client, method, forged_id):
    for kind in ("jobs", "uploads"):
        response = getattr(shared_client, method)(f"/v1/{kind}/{forged_id}")
        assert response.status_code in (404, 405), response.text  # paths with more slashes reach the web page
        assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"face": 1}', b"\xff\xfe", b'{"face": "\\ud800", "audio": "\\u0000"}', b""]
)
def test_malformed_json_is_rejected(shared_client, body):
    response = shared_client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (404, 422)
    assert list(response.json()) == ["error"]


def test_hostile_file_names_are_never_used_as_paths(start_server, media, tmp_path):
    client = start_server()
    names = ["../../x.mp4", "C:\\Windows\\x.mp4", "'; DROP TABLE uploads; --.mp4", "<img src=x onerror=alert(1)>.mp4",
             "nul\x00in.mp4", "/etc/passwd", "con", "‮gpj.exe", "n" * 4000]  # fmt: skip
    for name in names:
        response = client.post("/v1/uploads", files={"file": (name, (media / "face.mp4").read_bytes())})
        assert response.status_code == 201, (name, response.text)
        stored_name = response.json()["name"]
        assert len(stored_name) <= 200 and "\x00" not in stored_name
    stored = {path.name for path in (tmp_path / "data" / "uploads").iterdir()}
    assert len(stored) == len(names) and all(len(name) == 32 for name in stored)
    assert not (tmp_path / "x.mp4").exists() and not (tmp_path.parent / "x.mp4").exists()


def test_openapi_describes_every_option_offline(shared_client):
    schema = shared_client.get("/openapi.json").json()
    options = schema["components"]["schemas"]["LipSyncOptions"]["properties"]
    assert all(field.get("description") for field in options.values()) and len(options) > 15
    assert options["fit"]["enum"] == ["loop", "pingpong", "freeze", "trim"]
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/result", "/v1/uploads"} <= set(schema["paths"])
    page = shared_client.get("/docs").text
    assert "https://" not in page and "swagger-ui-bundle.js" in page


def test_models_health_and_metrics(start_server, media):
    client = start_server()
    assert client.get("/v1/models").json() == [{"name": "thin", "engine": "wav2lip", "default": True}]
    assert client.get("/healthz").json()["status"] == "ok"
    wait_for_end(client, submit_job(client, media).json()["id"])
    lines = client.get("/metrics").text.splitlines()
    assert 'wav2lip_jobs_ended_total{engine="wav2lip",state="done"} 1.0' in lines
    assert 'wav2lip_job_seconds_count{engine="wav2lip",state="done"} 1.0' in lines
    assert "wav2lip_jobs_queued 0.0" in lines


def test_internal_error_has_no_traceback(start_server, monkeypatch):
    client = start_server()
    monkeypatch.setattr(client.app.state.service.jobs, "list", lambda _client: 1 / 0)
    response = client.get("/v1/jobs")
    assert (response.status_code, list(response.json())) == (500, ["error"])
    assert "ZeroDivision" not in response.text


def test_rejected_job_leaves_no_uploads(start_server, media, tmp_path):
    client = start_server(queue_length=1)
    running = submit_job(client, media, "minute.wav").json()["id"]
    wait_for_state(client, running, "running")
    assert submit_job(client, media).status_code == 202
    before = list_files(tmp_path / "data" / "uploads")
    assert submit_job(client, media).status_code == 503
    invalid = {"face": (media / "face.mp4").read_bytes(), "audio": b"no audio"}
    assert client.post("/v1/jobs", files=invalid).status_code == 422
    assert list_files(tmp_path / "data" / "uploads") == before and len(before) == 4
    client.delete(f"/v1/jobs/{running}")


def test_health_responds_while_all_threads_are_busy(start_server):
    client = start_server()
    limiter = client.portal.call(current_default_thread_limiter)

    async def occupy_all_threads() -> None:
        for _ in range(int(limiter.total_tokens)):
            limiter.acquire_on_behalf_of_nowait(object())

    async def release() -> None:
        limiter.total_tokens = 1000

    client.portal.call(occupy_all_threads)
    with ThreadPoolExecutor(1) as executor:
        health = executor.submit(client.get, "/healthz")
        try:
            assert health.result(timeout=20).status_code == 200
        finally:
            client.portal.call(release)


def test_uploads_that_take_long_do_not_silence_api_and_page(start_server, media, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(MediaInspector, "_run", lambda *_: released.wait(60) and {"error": "late"})
    client = start_server(requests_per_minute=UNLIMITED)
    cookies = [client.app.state.clients.create_visitor_cookie() for _ in range(45)]
    content = (media / "audio.wav").read_bytes()

    def upload(cookie: str) -> int:
        headers = {"Cookie": f"wav2lip={cookie}"}
        return client.post("/v1/uploads", files={"file": content}, headers=headers).status_code

    with ThreadPoolExecutor(46) as pool:
        uploads = [pool.submit(upload, cookie) for cookie in cookies]
        try:
            time.sleep(0.5)
            assert pool.submit(client.get, "/v1/jobs").result(10).json() == []
            event_id = client.post("/gradio_api/call/history", json={"data": []}).json()["event_id"]
            assert "complete" in client.get(f"/gradio_api/call/history/{event_id}").text
            assert not any(done.done() for done in uploads)
        finally:
            released.set()
        assert {done.result(30) for done in uploads} == {422}
