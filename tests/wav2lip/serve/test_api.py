"""The API: from two files to a video that plays, and what a client sees on the way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import av
import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi.testclient import TestClient

from tests.wav2lip.serve.conftest import FRAMES, HERE, MANY, OPTIONS, ended, files_in, submit
from wav2lip.serve.app import create_app


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory, settings_for):
    """One application for tests that do not look at all that it keeps."""
    app = create_app(settings_for(tmp_path_factory.mktemp("api"), queued_per_client=100))
    with TestClient(app, HERE, client=("127.0.0.1", 50000)) as client:
        yield client


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state_of(client, job_id: str, *states: str) -> dict:
    """The job once it is in one of these states."""
    until = time.monotonic() + 60
    while (job := client.get(f"/v1/jobs/{job_id}").json())["state"] not in states:
        assert time.monotonic() < until, job
        time.sleep(0.01)
    return job


def test_two_files_become_a_video_with_its_record(server, media, tmp_path):
    client = server()
    answer = submit(client, media)
    assert answer.status_code == 202
    job = ended(client, answer.json()["id"])
    assert (job["state"], job["error"], job["frames"], job["fps"]) == ("done", None, FRAMES, 25.0)
    assert job["progress"] == {"stage": "done", "done": FRAMES, "total": FRAMES}
    assert job["model"] == "thin" and job["checkpoint_sha256"] == sha256(media / "thin.pth")
    assert job["face"]["name"] == "face.mp4" and job["face"]["sha256"] == sha256(media / "face.mp4")
    assert job["audio"]["sha256"] == sha256(media / "sound.wav")
    assert job["options"]["box"] == OPTIONS["box"] and job["options"]["fit"] == "loop"
    assert job["seconds"]["waited"] >= 0 and job["seconds"]["ran"] > 0
    assert job["created"] <= job["started"] <= job["finished"]
    video = tmp_path / "result.mp4"
    video.write_bytes(client.get(job["result"]).content)
    assert (job["result_sha256"], job["result_size"]) == (sha256(video), video.stat().st_size)
    with av.open(str(video)) as opened:
        assert len(list(opened.decode(video=0))) == FRAMES
        assert opened.streams.audio
    assert [listed["id"] for listed in client.get("/v1/jobs").json()] == [job["id"]]


def test_a_player_can_seek_in_the_result(shared_server, media):
    client = shared_server
    result = ended(client, submit(client, media).json()["id"])["result"]
    whole = client.get(result)
    part = client.get(result, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert whole.headers["content-type"] == "video/mp4" and whole.headers["accept-ranges"] == "bytes"
    assert client.head(result).headers["content-length"] == str(len(whole.content))
    assert client.get(result, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_uploads_are_used_again_by_their_ids_in_json_and_in_forms(shared_server, media):
    client = shared_server
    ids = []
    for name in ("face.mp4", "sound.wav"):
        answer = client.post("/v1/uploads", files={"file": (name, (media / name).read_bytes())})
        assert answer.status_code == 201
        ids.append(answer.json()["id"])
        assert client.get(f"/v1/uploads/{ids[-1]}").json() == answer.json()
    face = client.get(f"/v1/uploads/{ids[0]}").json()
    assert (face["width"], face["height"], face["still"], face["seconds"]) == (64, 64, False, None)
    assert client.get(f"/v1/uploads/{ids[1]}").json()["seconds"] == pytest.approx(0.4, abs=0.01)
    by_json = client.post("/v1/jobs", json={"face": ids[0], "audio": ids[1], "model": "thin", "options": OPTIONS})
    by_form = client.post(
        "/v1/jobs",
        data={"face": ids[0], "options": json.dumps(OPTIONS)},
        files={"audio": (media / "sound.wav").read_bytes()},
    )
    assert [answer.status_code for answer in (by_json, by_form)] == [202, 202]
    first, second = (ended(client, answer.json()["id"]) for answer in (by_json, by_form))
    assert first["state"] == second["state"] == "done"
    assert first["result_sha256"] == second["result_sha256"]  # the same files, options and weights


def test_the_same_file_twice_is_two_uploads_that_go_one_by_one(shared_server, media):
    client = shared_server
    first, second = (
        client.post("/v1/uploads", files={"file": ("a.mp4", (media / "face.mp4").read_bytes())}).json() for _ in "12"
    )
    assert first["id"] != second["id"] and first["sha256"] == second["sha256"]
    assert client.delete(f"/v1/uploads/{first['id']}").status_code == 204
    assert client.get(f"/v1/uploads/{first['id']}").status_code == 404
    assert client.get(f"/v1/uploads/{second['id']}").status_code == 200


def test_what_a_refused_job_brought_is_removed_beside_other_requests(server, media, monkeypatch):
    client = server()
    uploads, beside = client.app.state.service.uploads, []
    remove = uploads.remove

    def removed(*given: str) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        beside.append(given)
        remove(*given)

    monkeypatch.setattr(uploads, "remove", removed)
    files = {"face": (media / "face.mp4").read_bytes(), "audio": b"Dear diary,"}
    assert client.post("/v1/jobs", files=files).status_code == 422
    assert len(beside) == 1 and files_in(uploads.folder) == []


def test_progress_counts_frames_and_running_and_waiting_jobs_can_be_cancelled(server, media, tmp_path):
    client = server(requests_per_minute=MANY)
    running, waiting = (submit(client, media, "minute.wav").json()["id"] for _ in range(2))
    third = submit(client, media).json()["id"]
    assert client.get(f"/v1/jobs/{third}").json()["position"] in (2, 3)
    seen, until = set(), time.monotonic() + 60
    while len(seen) < 3:
        assert time.monotonic() < until, seen
        time.sleep(0.02)
        job = state_of(client, running, "running")
        assert job["progress"]["stage"] in ("loading", "faces", "lips")
        if job["progress"]["stage"] == "lips":
            assert job["progress"]["total"] == 1500  # 60 s at 25 frames a second
            seen.add(job["progress"]["done"])
    assert sorted(seen)[0] < 1500
    cancelled = client.post(f"/v1/jobs/{waiting}/cancel").json()
    assert (cancelled["state"], cancelled["position"]) == ("cancelled", None)
    assert client.get(f"/v1/jobs/{running}/result").status_code == 409
    client.post(f"/v1/jobs/{running}/cancel")
    assert ended(client, running)["state"] == "cancelled"
    assert client.get(f"/v1/jobs/{running}/result").json() == {
        "error": f"job {running} is cancelled and has no result; ask for it anew"
    }
    assert ended(client, third)["state"] == "done"
    assert client.post(f"/v1/jobs/{third}/cancel").json()["state"] == "done"
    assert [path.stem for path in (tmp_path / "data" / "results").iterdir()] == [third]


def test_a_deleted_job_leaves_its_record_and_no_video(server, media, tmp_path):
    client = server()
    job = ended(client, submit(client, media).json()["id"])
    gone = client.delete(f"/v1/jobs/{job['id']}").json()
    assert (gone["state"], gone["result"], gone["result_sha256"]) == ("done", None, job["result_sha256"])
    assert client.get(job["result"]).status_code == 409
    assert list((tmp_path / "data" / "results").iterdir()) == []


def test_what_the_library_refuses_is_the_jobs_sentence_with_the_clients_names(shared_server, media):
    client = shared_server
    failed = ended(client, submit(client, media, box=[50, 60, 500, 600]).json()["id"])
    assert failed["state"] == "failed"
    assert "box" in failed["error"] and str(media.parent) not in failed["error"] and "uploads" not in failed["error"]
    assert ended(client, submit(client, media).json()["id"])["state"] == "done"  # the worker lives


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"options": '{"fps": 0}'}, "fps is 0"),
        ({"options": '{"fit": "stretch"}'}, "--fit is stretch; choose one of loop, pingpong, freeze, trim"),
        ({"options": '{"fitt": "loop"}'}, "fitt"),
        ({"options": '{"face_like": "/etc/passwd"}'}, "face_like"),
        ({"options": '{"start": 1e999}'}, "start"),
        ({"options": '{"pads": [0, 0]}'}, "pads"),
        ({"options": "not json"}, "JSON"),
        ({"options": '{"faces": "<script>alert(1)</script>"}'}, "<script>"),
        ({"model": "../../etc/passwd"}, "there is no model '../../etc/passwd'; choose one of thin"),
        ({"model": "thin'; DROP TABLE jobs; --"}, "there is no model"),
    ],
)
def test_options_that_cannot_be_are_refused_with_a_sentence(shared_server, media, form, says):
    files = {name: (media / file).read_bytes() for name, file in (("face", "face.mp4"), ("audio", "sound.wav"))}
    answer = shared_server.post("/v1/jobs", files=files, data=form)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"] and says in answer.json()["error"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("way", ["get", "delete"])
@pytest.mark.parametrize(
    "forged", ["x", "../../jobs.sqlite3", "' OR '1'='1", "%00", "a" * 5000, "🙂", "..%2f..%2fsecret"]
)
def test_ids_that_were_never_given_are_not_found(shared_server, way, forged):
    for kind in ("jobs", "uploads"):
        answer = getattr(shared_server, way)(f"/v1/{kind}/{forged}")
        assert answer.status_code in (404, 405), answer.text  # a path with more slashes is the page's
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"face": 1}', b"\xff\xfe", b'{"face": "\\ud800", "audio": "\\u0000"}', b""]
)
def test_a_body_that_is_no_request_is_refused_with_a_sentence(shared_server, body):
    answer = shared_server.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (404, 422)
    assert list(answer.json()) == ["error"]


def test_names_with_sql_html_and_paths_are_kept_as_text_and_never_used_as_paths(server, media, tmp_path):
    client = server()
    names = ["../../x.mp4", "C:\\Windows\\x.mp4", "'; DROP TABLE uploads; --.mp4", "<img src=x onerror=alert(1)>.mp4",
             "nul\x00in.mp4", "/etc/passwd", "con", "‮gpj.exe", "n" * 4000]  # fmt: skip
    for name in names:
        answer = client.post("/v1/uploads", files={"file": (name, (media / "face.mp4").read_bytes())})
        assert answer.status_code == 201, (name, answer.text)
        shown = answer.json()["name"]
        assert len(shown) <= 200 and "\x00" not in shown
    kept = {path.name for path in (tmp_path / "data" / "uploads").iterdir()}
    assert len(kept) == len(names) and all(len(name) == 32 for name in kept)
    assert not (tmp_path / "x.mp4").exists() and not (tmp_path.parent / "x.mp4").exists()


def test_the_page_of_the_api_describes_every_field_and_needs_no_other_server(shared_server):
    schema = shared_server.get("/openapi.json").json()
    options = schema["components"]["schemas"]["JobOptions"]["properties"]
    assert all(field.get("description") for field in options.values()) and len(options) > 15
    assert options["fit"]["enum"] == ["loop", "pingpong", "freeze", "trim"]
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/result", "/v1/uploads"} <= set(schema["paths"])
    page = shared_server.get("/docs").text
    assert "https://" not in page and "swagger-ui-bundle.js" in page


def test_models_health_and_metrics_are_told(server, media):
    client = server()
    assert client.get("/v1/models").json() == [{"name": "thin", "default": True}]
    assert client.get("/healthz").json()["status"] == "ok"
    ended(client, submit(client, media).json()["id"])
    lines = client.get("/metrics").text.splitlines()
    assert 'wav2lip_jobs_ended_total{state="done"} 1.0' in lines
    assert 'wav2lip_job_seconds_count{state="done"} 1.0' in lines
    assert "wav2lip_jobs_queued 0.0" in lines


def test_a_fault_of_the_server_is_told_without_its_traceback(server, monkeypatch):
    client = server()
    monkeypatch.setattr(client.app.state.service.jobs, "list", lambda _client: 1 / 0)
    answer = client.get("/v1/jobs")
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert "ZeroDivision" not in answer.text


def test_files_of_a_job_that_was_refused_are_not_kept(server, media, tmp_path):
    client = server(queue_length=1)
    running = submit(client, media, "minute.wav").json()["id"]
    state_of(client, running, "running")
    assert submit(client, media).status_code == 202
    before = files_in(tmp_path / "data" / "uploads")
    assert submit(client, media).status_code == 503
    wrong = {"face": (media / "face.mp4").read_bytes(), "audio": b"no sound"}
    assert client.post("/v1/jobs", files=wrong).status_code == 422
    assert files_in(tmp_path / "data" / "uploads") == before and len(before) == 4
    client.delete(f"/v1/jobs/{running}")


def test_health_is_told_while_every_thread_for_requests_is_busy(server):
    client = server()
    limiter = client.portal.call(current_default_thread_limiter)

    async def occupy() -> None:
        for _ in range(int(limiter.total_tokens)):
            limiter.acquire_on_behalf_of_nowait(object())

    async def set_free() -> None:
        limiter.total_tokens = 1000

    client.portal.call(occupy)
    with ThreadPoolExecutor(1) as asking:
        health = asking.submit(client.get, "/healthz")
        try:
            assert health.result(timeout=20).status_code == 200
        finally:
            client.portal.call(set_free)
