"""Jobs of Wav2Lip with an audio file for each of two people."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.helpers.serve import BASE_URL, wait_for_end
from wav2lip.serve.app import create_app


@pytest.fixture(scope="module")
def client(make_settings, tmp_path_factory):
    app = create_app(make_settings(tmp_path_factory.mktemp("data"), detector="haar", queued_per_client=20))
    with TestClient(app, BASE_URL, client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.fixture(scope="module")
def couple(tmp_path_factory, portrait):
    """A photo of two people."""
    path = tmp_path_factory.mktemp("couple") / "couple.png"
    Image.fromarray(np.concatenate([portrait, portrait[:, ::-1]], axis=1)).save(path)
    return path


def submit(client, couple, *audio, faces="0,1"):
    files = [("face", couple.read_bytes()), *(("audio", (path.name, path.read_bytes())) for path in audio)]
    return client.post("/v1/jobs", files=files, data={"options": json.dumps({"faces": faces})})


def test_each_of_two_faces_speaks_its_audio(client, couple, media):
    short, long = media / "audio.wav", media / "audio_of_bob.wav"
    long.write_bytes(short.read_bytes())
    response = submit(client, couple, short, long)
    assert response.status_code == 202, response.text
    job = wait_for_end(client, response.json()["id"])
    assert (job["state"], job["error"], job["frames"]) == ("done", None, 10)
    assert (job["audio"]["name"], [other["name"] for other in job["other_audio"]]) == (short.name, [long.name])
    ids = [job["audio"]["id"], job["other_audio"][0]["id"]]
    body = {"face": job["face"]["id"], "audio": ids, "options": {"faces": "0,1"}}
    again = wait_for_end(client, client.post("/v1/jobs", json=body).json()["id"])
    assert again["result_sha256"] == job["result_sha256"]


@pytest.mark.parametrize(
    ("count", "faces", "keyword"),
    [(1, "0,1", "1 file for 2 selected faces"), (2, "largest", "2 files for 1 selected face"),
     (9, "0,1", "audio: is given 9 times; send at most 8")],
)  # fmt: skip
def test_numbers_of_faces_and_audio_must_agree(client, couple, media, count, faces, keyword):
    response = submit(client, couple, *[media / "audio.wav"] * count, faces=faces)
    assert (response.status_code, keyword in response.json()["error"]) == (422, True), response.text
