"""Jobs of SadTalker over the API, with networks of a few numbers in place of the published ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.helpers.media import click, decode_audio, peak_time, write_video, write_wav
from tests.helpers.restoration import build_compact, save_network
from tests.helpers.serve import BASE_URL, OPTIONS, submit_job, wait_for_end, wait_for_job
from tests.helpers.talking_head import install_tiny_sadtalker
from wav2lip.engines import ENGINES, SADTALKER
from wav2lip.errors import InputError
from wav2lip.media import probe
from wav2lip.sadtalker import SadTalkerOptions
from wav2lip.serve.app import create_app
from wav2lip.serve.jobs.job import Progress
from wav2lip.serve.jobs.options import job_values, parse_job_options, parse_stored_options

STAGES = ["mel", "landmarks", "3DMM", "audio2exp", "face render", "enhance"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, portrait) -> Path:
    """A photo, speech with a click at 0.2 s, a video of the same face, and a network for enhancement."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(portrait).save(folder / "photo.png")
    write_wav(folder / "speech.wav", click(0.2, 0.4, 16_000))
    write_video(folder / "reference.mp4", [portrait] * 3)
    save_network(folder / "compact.pth", build_compact())
    return folder


@pytest.fixture(scope="module")
def client(make_settings, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        checkpoints = install_tiny_sadtalker(patch, folder / "checkpoints")
        settings = {"sadtalker": checkpoints, "enhancers": {"compact": inputs / "compact.pth"}}
        app = create_app(make_settings(folder / "served", queued_per_client=100, **settings))
    with TestClient(app, BASE_URL, client=("127.0.0.1", 50000)) as client:
        yield client


def submit(client, inputs, *, files=("photo.png", "speech.wav"), **options):
    """Submit a job of two or three files as a form."""
    roles = dict(zip(("face", "audio", "reference"), files, strict=False))
    form = {"engine": "sadtalker", "options": json.dumps(options)}
    return client.post(
        "/v1/jobs", data=form, files={role: (inputs / file).read_bytes() for role, file in roles.items() if file}
    )


def upload(client, path):
    return client.post("/v1/uploads", files={"file": (path.name, path.read_bytes())}).json()["id"]


def test_photo_and_speech_become_a_video(client, inputs, tmp_path, monkeypatch):
    reports = []
    queue = client.app.state.service.queue
    monkeypatch.setattr(queue, "report", lambda _id, progress: reports.append(progress))
    response = submit(client, inputs, preprocess="full", still=True, enhancer="compact")
    assert response.status_code == 202, response.text
    job = wait_for_end(client, response.json()["id"])
    assert (job["state"], job["error"], job["frames"], job["fps"]) == ("done", None, 10, 25.0)
    assert (job["engine"], job["model"], job["reference"]) == ("sadtalker", "sadtalker", None)
    assert job["options"]["preprocess"] == "full"
    assert job["options"]["enhancer"] == "compact"
    assert job["checkpoint_sha256"] == hashlib.sha256(b"tiny").hexdigest()
    assert list(dict.fromkeys(report.stage for report in reports)) == STAGES
    assert reports[-1] == Progress("enhance", 10, 10)
    (tmp_path / "result.mp4").write_bytes(client.get(job["result"]).content)
    video = probe(tmp_path / "result.mp4").require_video()
    assert (video.width, video.height) == (256, 256)
    assert peak_time(decode_audio(tmp_path / "result.mp4")) == pytest.approx(0.2, abs=0.01)
    metrics = client.get("/metrics").text.splitlines()
    assert 'wav2lip_jobs_ended_total{engine="sadtalker",state="done"} 1.0' in metrics
    assert 'wav2lip_job_seconds_count{engine="sadtalker",state="done"} 1.0' in metrics


def test_idle_job_has_no_audio(client, inputs):
    body = {"engine": "sadtalker", "face": upload(client, inputs / "photo.png"), "options": {"idle": 0.4}}
    job = client.post("/v1/jobs", json=body).json()
    job = wait_for_end(client, job["id"])
    assert (job["state"], job["frames"], job["audio"]) == ("done", 10, None)


def test_motion_of_a_reference_video(client, inputs):
    body = {name: upload(client, inputs / file) for name, file in
            (("face", "photo.png"), ("audio", "speech.wav"), ("reference", "reference.mp4"))}  # fmt: skip
    options = {"ref_info": "pose+blink", "blink": "ref"}
    job = client.post("/v1/jobs", json={"engine": "sadtalker", **body, "options": options})
    assert job.status_code == 202, job.text
    assert client.delete(f"/v1/uploads/{body['reference']}").status_code in (204, 409)
    job = wait_for_end(client, job.json()["id"])
    assert (job["state"], job["error"], job["frames"]) == ("done", None, 10)
    assert job["reference"]["name"] == "reference.mp4"
    assert (job["options"]["ref_info"], job["options"]["blink"]) == ("pose+blink", "ref")


def test_reference_of_a_queued_job_is_kept(make_service, inputs, tmp_path, monkeypatch):
    service = make_service(sadtalker=install_tiny_sadtalker(monkeypatch, tmp_path / "checkpoints"))
    face, audio, reference = (
        service.uploads.save("ann", inputs / name, name) for name in ("photo.png", "speech.wav", "reference.mp4")
    )
    options = parse_job_options({"ref_info": "pose"}, SADTALKER, service.uploads.path(reference.id))
    job = service.jobs.submit("ann", face, audio, "", options, reference)
    with pytest.raises(InputError, match=r"reference\.mp4: is used by an unfinished job"):
        service.uploads.remove("ann", reference.id)
    service.jobs.cancel("ann", job.id)
    service.uploads.remove("ann", reference.id)


@pytest.mark.parametrize(
    ("files", "options", "keyword"),
    [
        (("photo.png", "speech.wav"), {"size": 512}, "size=512: must be one of 256"),
        (("photo.png", "speech.wav"), {"enhancer": "gfpgan"}, "enhancer='gfpgan': must be one of compact"),
        (("photo.png", "speech.wav"), {"enhancer": "/etc/passwd"}, "enhancer='/etc/passwd'"),
        (("photo.png", "speech.wav"), {"mouth": "none"}, "mouth='none': must be one of thin"),
        (("photo.png", "speech.wav"), {"points": "/etc/passwd"}, "points"),
        (("photo.png", "speech.wav"), {"ref_video": "/etc/passwd"}, "ref_video"),
        (("photo.png", "speech.wav"), {"ref_info": "pose"}, "ref_info=pose: requires --ref_video"),
        (("photo.png", "speech.wav"), {"idle": 2}, "idle: makes a video without speech"),
        (("photo.png", "speech.wav"), {"pose_style": 46}, "pose_style=46"),
        (("photo.png", "speech.wav"), {"fit": "loop"}, "fit"),
        (("photo.png", None), {}, "audio: is missing"),
        ((None, "speech.wav"), {}, "face: is missing"),
        (("speech.wav", "speech.wav"), {}, "has no video"),
        (("photo.png", "photo.png"), {}, "has no audio"),
        (("photo.png", "speech.wav", "photo.png"), {}, "is not a video"),
    ],
)
def test_invalid_jobs_are_rejected(client, inputs, files, options, keyword):
    before = client.get("/v1/jobs").json()
    response = submit(client, inputs, files=files, **options)
    assert response.status_code == 422
    assert list(response.json()) == ["error"]
    assert keyword in response.json()["error"]
    assert client.get("/v1/jobs").json() == before


def test_fields_of_another_engine_are_rejected(client, inputs):
    files = {name: (inputs / file).read_bytes() for name, file in
             (("face", "photo.png"), ("audio", "speech.wav"), ("reference", "reference.mp4"))}  # fmt: skip
    response = client.post("/v1/jobs", files=files)
    assert (response.status_code, response.json()["error"]) == (
        422, "reference: is not used by engine=wav2lip; remove it"
    )  # fmt: skip
    response = client.post("/v1/jobs", json={"engine": ["sadtalker"], "face": "x"})
    assert (response.status_code, "must be one of wav2lip, sadtalker" in response.text) == (422, True)


def test_failed_job_hides_paths(client, inputs, tmp_path):
    Image.new("RGB", (200, 200), "teal").save(tmp_path / "wall.png")
    job = submit(client, tmp_path, files=(("wall.png"), inputs / "speech.wav")).json()
    error = wait_for_end(client, job["id"])["error"]
    assert "face" in error
    assert str(tmp_path) not in error


def test_schema_tells_engines_apart(client):
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    schema = body["application/json"]["schema"]
    refs = {"wav2lip": "#/components/schemas/LipSyncJobIn", "sadtalker": "#/components/schemas/SadTalkerJobIn"}
    assert schema["discriminator"] == {"propertyName": "engine", "mapping": refs}
    assert [item["$ref"] for item in schema["oneOf"]] == list(refs.values())
    components = document["components"]["schemas"]
    assert components["SadTalkerJobIn"]["properties"]["engine"]["const"] == "sadtalker"
    assert components["LipSyncJobIn"]["properties"]["engine"]["default"] == "wav2lip"
    options = components["SadTalkerOptions"]["properties"]
    assert {"preprocess", "still", "pose_style", "size", "enhancer", "ref_info", "idle", "blink"} <= set(options)
    assert all(option["description"] for option in options.values())
    form = body["multipart/form-data"]["schema"]["properties"]
    assert form["engine"]["enum"] == ["wav2lip", "sadtalker"]
    assert "reference" in form
    assert client.get("/v1/engines").json() == [
        {"name": "wav2lip", "default": True, "models": ["thin"],
         "choices": {"enhancer": ["compact"], "background_enhancer": ["compact"]}},
        {"name": "sadtalker", "default": False, "models": ["sadtalker"],
         "choices": {"enhancer": ["compact"], "background_enhancer": ["compact"], "mouth": ["thin"], "size": [256]}},
    ]  # fmt: skip


def test_server_without_checkpoints_has_no_such_engine(start_server, inputs):
    client = start_server()
    response = submit(client, inputs)
    assert (response.status_code, response.json()["error"]) == (
        422, "engine=sadtalker: must be one of wav2lip; the server needs --sadtalker DIR for sadtalker"
    )  # fmt: skip
    assert [engine["name"] for engine in client.get("/v1/engines").json()] == ["wav2lip"]
    document = client.get("/openapi.json").json()
    assert "SadTalkerJobIn" not in document["components"]["schemas"]
    form = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["engine"]["enum"] == ["wav2lip"]
    assert "reference" not in form["properties"]


def test_queued_job_fails_after_restart_without_checkpoints(start_server, make_service, inputs, tmp_path, monkeypatch):
    service = make_service(sadtalker=install_tiny_sadtalker(monkeypatch, tmp_path / "checkpoints"))
    face, audio = (service.uploads.save("ann", inputs / name, name) for name in ("photo.png", "speech.wav"))
    job = service.jobs.submit("ann", face, audio, "", parse_job_options({}, SADTALKER))
    service.database.close()
    failed = wait_for_job(start_server().app.state.service, "ann", job.id)
    assert (failed.state, failed.engine) == ("failed", "sadtalker")
    assert "the server needs --sadtalker DIR" in failed.error


def test_folder_without_renderer_stops_the_start(make_service, tmp_path):
    with pytest.raises(InputError, match="--sadtalker=.*has no SadTalker_V0.0.2_256.safetensors|no such folder"):
        make_service(sadtalker=tmp_path / "none")


def test_unusable_checkpoints_stop_the_start(make_service, tmp_path, monkeypatch):
    service = make_service(sadtalker=install_tiny_sadtalker(monkeypatch, tmp_path / "checkpoints"))
    with pytest.raises(InputError, match=r"SadTalker_V0\.0\.2_256\.safetensors"):
        service.engines.get("sadtalker").load()


def test_enhancer_of_a_lip_sync_job(client, media):
    plain, enhanced = (
        wait_for_end(client, submit_job(client, media, **options).json()["id"])
        for options in ({}, {"enhancer": "compact"})
    )
    assert (enhanced["state"], enhanced["options"]["enhancer"]) == ("done", "compact")
    assert enhanced["options"]["box"] == OPTIONS["box"]
    assert enhanced["result_sha256"] != plain["result_sha256"]


def test_stored_options_survive_and_bad_ones_are_dropped():
    reference = Path("a reference")
    values = {"ref_info": "blink", "blink": "ref", "input_yaw": [0, 20], "enhancer": "compact", "mouth": "thin"}
    options = parse_job_options(values, SADTALKER, reference)
    stored = json.loads(json.dumps(job_values(options)))
    assert parse_stored_options(stored, SADTALKER, reference) == options
    assert parse_stored_options({**stored, "gone": 1, "pose_style": 99}, SADTALKER, reference) == options
    assert ENGINES[SADTALKER] is SadTalkerOptions
