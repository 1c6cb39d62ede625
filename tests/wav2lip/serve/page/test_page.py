"""The page of a running server, asked by gradio_client and by plain requests."""

from __future__ import annotations

import os
import re
import time

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from wav2lip.media import probe, read_frames
from wav2lip.serve.page.routes import media_type
from wav2lip.serve.page.samples import PHOTO, SPEECH, VIDEO, Samples


@pytest.fixture(scope="module")
def client(address, tmp_path_factory) -> Client:
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("fetched"))


def test_predict_by_name_gives_a_video_of_the_photo_as_long_as_the_sound(client, given):
    result = client.predict(
        handle_file(given / "photo.png"), handle_file(given / "sound.wav"), api_name="/predict"
    )  # fmt: skip
    media = probe(result)
    assert (media.video.width, media.video.height, media.audio.rate) == (256, 256, 16_000)
    assert len(list(read_frames(result))) == 10  # 0.4 s at 25 a second
    newest = client.predict(api_name="/history")[0]
    assert (newest["state"], newest["face"], newest["model"], newest["without_face"]) == (
        "done",
        "photo.png",
        "thin",
        [],
    )


def test_what_is_wrong_comes_back_as_its_sentence(client, given):
    with pytest.raises(AppError, match=r"mute\.mp4: has no sound; give a file with sound"):
        client.predict(handle_file(given / "photo.png"), handle_file(given / "mute.mp4"), api_name="/predict")
    with pytest.raises(AppError, match="there is no job forged"):
        client.predict("forged", api_name="/cancel")
    with pytest.raises(AppError, match="no such training"):
        client.predict("../../etc", api_name="/training")


def test_the_doctor_is_not_asked_about_a_text_file_called_a_video(client, tmp_path):
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video at all")
    with pytest.raises(AppError, match=r"^fake\.mp4: .*"):
        client.predict([handle_file(fake)], api_name="/doctor")


def test_a_training_is_told_by_name(client):
    assert client.predict(api_name="/trainings") == ["speakers/expert"]
    told = client.predict("speakers/expert", api_name="/training")
    assert told["step"] == 4
    assert told["curves"]["train/loss"]["values"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def test_the_named_functions_are_those_of_the_docs(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {
        "/predict", "/doctor", "/history", "/cancel", "/datasets", "/dataset", "/trainings", "/training",
    }  # fmt: skip
    required = [p["parameter_name"] for p in named["/predict"]["parameters"] if not p["parameter_has_default"]]
    assert required == ["face", "audio"]


def test_the_page_names_no_other_host_as_something_to_fetch(address):
    page = httpx.get(address).text
    fetched = re.findall(r"""(?:src|href)=["'](https?:[^"']+)""", page)
    assert [url for url in fetched if not url.startswith(address)] == []
    assert "fonts.googleapis" not in page


def test_pictures_of_a_training_are_served_and_nothing_else(address):
    named = {"training": "speakers/expert", "tag": "val", "step": 4}
    picture = httpx.get(f"{address}page/pictures", params=named)
    assert picture.content.startswith(b"\x89PNG")
    assert httpx.get(f"{address}page/pictures", params=named | {"step": 5}).status_code == 404
    assert (
        httpx.get(f"{address}page/previews", params={"training": "speakers/expert", "file": "../x"}).status_code == 404
    )
    assert httpx.get(f"{address}page/jobs/forged/face").status_code == 404
    assert httpx.get(f"{address}page/examinations/forged").status_code == 404


def test_the_consent_page_says_what_the_docs_say(address, request):
    said = httpx.get(f"{address}page/consent").text
    docs = (request.config.rootpath / "docs" / "consent.md").read_text(encoding="utf-8")
    rules = re.findall(r"- \*\*(.+?)\*\*", docs)
    assert len(rules) == 4
    assert re.findall(r"<b>(.+?)</b>", said) == rules


def test_samples_are_made_once_and_are_what_they_are_called(tmp_path):
    samples = Samples(tmp_path)
    assert probe(samples.get(VIDEO)).require_video().width == 256
    assert probe(samples.get(SPEECH)).audio.rate == 16_000
    with open(samples.get(PHOTO), "rb") as photo:
        assert photo.read(4) == b"\x89PNG"
    first = (tmp_path / VIDEO).stat().st_ino
    os.utime(tmp_path / VIDEO, (0, 0))  # made long ago
    samples.get(VIDEO)
    assert (tmp_path / VIDEO).stat().st_ino == first
    assert time.time() - (tmp_path / VIDEO).stat().st_mtime < 60  # the sweeper takes it for what was given just now
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([VIDEO, PHOTO, SPEECH])


def test_another_visitors_face_is_as_unknown_as_one_that_never_was(address, client, given):
    client.predict(handle_file(given / "photo.png"), handle_file(given / "sound.wav"), api_name="/predict")
    face = f"{address}page/jobs/{client.predict(api_name='/history')[0]['id']}/face"
    assert httpx.get(face).content == (given / "photo.png").read_bytes()
    with httpx.Client() as visitor:
        visitor.get(address)  # which gives a cookie of its own
        other, forged = visitor.get(face), visitor.get(f"{address}page/jobs/forged/face")
    assert (other.status_code, forged.status_code) == (404, 404)


def test_a_file_is_never_given_as_a_page_whatever_it_was_called():
    names = ("a.html", "a.svg", "a.xhtml", "a.mp4", "a.PNG", "a")
    assert [media_type(name) for name in names] == [
        *["application/octet-stream"] * 3, "video/mp4", "image/png", "application/octet-stream",
    ]  # fmt: skip
