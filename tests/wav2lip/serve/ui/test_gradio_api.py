"""The Gradio API of a running server, called by gradio_client."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from wav2lip.media import probe, read_frames


@pytest.fixture(scope="module")
def client(url, tmp_path_factory) -> Client:
    return Client(url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def predict(client, inputs, audio_name="audio.wav"):
    return client.predict(handle_file(inputs / "photo.png"), handle_file(inputs / audio_name), api_name="/predict")


def test_predict_gives_each_person_audio_of_their_own(client, inputs):
    files = [handle_file(inputs / name) for name in ("pair.png", "audio.wav", "longer.wav")]
    result = client.predict(files[0], files[1], other_audio=[files[2]], api_name="/predict")
    assert probe(result).seconds == pytest.approx(0.6, abs=0.05)  # of the longer audio
    pair = np.asarray(Image.open(inputs / "pair.png")).astype(float)
    changes = np.abs(next(iter(read_frames(result))) - pair).mean((0, 2))
    assert all(half.max() > 10 for half in np.split(changes, 2))  # the mouths of both people


def test_predict_returns_a_video_as_long_as_the_audio(client, inputs):
    result = predict(client, inputs)
    media = probe(result)
    assert (media.video.width, media.video.height, media.audio.rate) == (256, 256, 16_000)
    assert len(list(read_frames(result))) == 10  # 0.4 s at 25 fps
    newest = client.predict(api_name="/history")[0]
    fields = (newest["state"], newest["face"], newest["model"], newest["without_face"])
    assert fields == ("done", "photo.png", "thin", [])


def test_animate_takes_five_values_in_order(client, inputs):
    files = handle_file(inputs / "photo.png"), handle_file(inputs / "audio.wav")
    result = client.predict(*files, "full", True, "compact", api_name="/animate")
    assert len(list(read_frames(result))) == 10  # 0.4 s at 25 fps
    newest = client.predict(api_name="/history")[0]
    assert (newest["state"], newest["engine"], newest["model"]) == ("done", "sadtalker", "sadtalker")
    with pytest.raises(AppError, match="gfpgan"):
        client.predict(*files, "crop", False, "gfpgan", api_name="/animate")


def test_user_errors_are_returned_as_messages(client, inputs):
    with pytest.raises(AppError, match=r"mute\.mp4"):
        predict(client, inputs, "mute.mp4")
    with pytest.raises(AppError, match="forged"):
        client.predict("forged", api_name="/cancel")
    with pytest.raises(AppError, match="no such run"):
        client.predict("../../etc", api_name="/run")


def test_doctor_rejects_a_text_file_named_mp4(client, tmp_path):
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video at all")
    with pytest.raises(AppError, match=r"^fake\.mp4: .*"):
        client.predict([handle_file(fake)], api_name="/doctor")


def test_run_returns_step_and_curves(client):
    assert client.predict(api_name="/runs") == ["speakers/expert"]
    run = client.predict("speakers/expert", api_name="/run")
    assert run["step"] == 4
    assert run["curves"]["train/loss"]["values"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def test_named_functions_are_complete(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/predict", "/animate", "/doctor", "/history", "/cancel", "/datasets", "/dataset", "/runs", "/run"
    }  # fmt: skip
    names = [parameter["parameter_name"] for parameter in named["/animate"]["parameters"]]
    assert names[:5] == ["source_image", "driven_audio", "preprocess", "still", "enhancer"]
    required = [p["parameter_name"] for p in named["/predict"]["parameters"] if not p["parameter_has_default"]]
    assert required == ["face", "audio"]


def test_face_of_another_client_is_not_found(url, client, inputs):
    predict(client, inputs)
    face = f"{url}page/jobs/{client.predict(api_name='/history')[0]['id']}/face"
    assert httpx.get(face).content == (inputs / "photo.png").read_bytes()
    with httpx.Client() as other:
        other.get(url)  # sets a cookie
        foreign, unknown = other.get(face), other.get(f"{url}page/jobs/forged/face")
    assert (foreign.status_code, unknown.status_code) == (404, 404)
