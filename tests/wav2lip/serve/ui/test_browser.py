"""The page in Chromium, on a server that is started from the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.helpers.browser import open_tab, press
from tests.helpers.media import tone, write_wav
from tests.helpers.serve import find_free_port
from tests.helpers.training_runs import write_run_log
from wav2lip.media import probe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder with the runs and the data of the server."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def url(folder, inputs) -> Iterator[str]:
    """URL of a server in a process of its own, with one run."""
    write_run_log(folder / "runs" / "expert")
    port = find_free_port()
    flags = {"checkpoint": f"thin={inputs / 'thin.pth'}", "data": folder / "data", "port": port, "device": "cpu",
             "detector": "haar", "runs": folder / "runs"}  # fmt: skip
    command = [sys.executable, "-m", "wav2lip.serve", *(f"--{flag}={value}" for flag, value in flags.items())]
    url = f"http://127.0.0.1:{port}/"
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            deadline = time.monotonic() + 120
            while not is_healthy(url):
                assert process.poll() is None, "the server exited"
                assert time.monotonic() < deadline, "the server does not respond"
                time.sleep(0.2)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}healthz").status_code == 200
    except httpx.TransportError:
        return False


def scrolls_sideways(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def wait_for_text(page, selector: str, pattern: str) -> None:
    page.wait_for_function(f"/{pattern}/.test(document.querySelector('{selector}').innerText)")


@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
def test_samples_give_a_playing_result_that_survives_reload(page):
    page.click("#face_sample_video")
    page.wait_for_selector(".preview video")
    page.click("#audio_sample_speech")
    page.wait_for_selector(".preview audio")
    page.click("#submit")
    page.wait_for_selector("#result [data-role=after]")
    assert "100 frames at 25 fps" in page.inner_text("#result")  # 4 s of speech
    assert "face was detected in every frame" in page.inner_text("#result")

    page.click("[data-action=play]")
    page.wait_for_function(
        "[...document.querySelectorAll('#result video')].every(v => v.readyState >= 2 && v.currentTime > 0.5)"
    )
    assert page.evaluate("document.querySelector('[data-role=after]').videoHeight") == 288
    assert not scrolls_sideways(page)

    page.reload()
    page.wait_for_selector("#result [data-role=after]")
    assert "sample_video.mp4 · sample_speech.wav" in page.inner_text("#history")


def test_running_and_queued_jobs_are_shown_and_cancelled(page, tmp_path):
    page.click("#face_sample_photo")
    page.wait_for_selector(".preview img")
    page.set_input_files("#audio input[type=file]", write_wav(tmp_path / "long.wav", tone(500.0)))
    page.wait_for_selector(".preview audio")
    page.click("#submit")
    page.wait_for_selector("#result .progress")
    page.wait_for_selector("#history .state.running")
    page.wait_for_selector("#cancel")  # the row of buttons is rendered again when this one appears
    press(page, "#submit")
    page.wait_for_selector("#history .state.queued")
    wait_for_text(page, "#result", "in the queue")

    page.click("#cancel")
    wait_for_text(page, "#result", "Cancelled")
    page.locator("#history button[data-job]").first.click()  # the running job
    wait_for_text(page, "#result", "Detecting|frame")
    page.click("#cancel")
    page.wait_for_function("document.querySelectorAll('#history .state.cancelled').length == 2")


def test_each_person_gets_audio_of_their_own(page, inputs):
    page.set_input_files("#face input[type=file]", inputs / "pair.png")
    page.wait_for_selector(".preview img")
    page.set_input_files("#audio input[type=file]", inputs / "audio.wav")
    page.wait_for_selector(".preview audio")
    page.click("#more_people button")
    page.set_input_files("#other_audio input[type=file]", inputs / "longer.wav")
    page.wait_for_selector("#other_audio .file-preview, #other_audio table")
    page.click("#submit")
    page.wait_for_selector("#result [data-role=after]")
    assert "pair.png · audio.wav · longer.wav" in page.inner_text("#history")
    page.wait_for_function("document.querySelector('#result [data-role=after]').duration > 0.5")


def test_missing_input_is_reported_in_place(page):
    page.click("#submit")
    page.wait_for_selector("#result [role=alert]")
    assert "no face" in page.inner_text("#result [role=alert]")


@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
def test_training_tab_shows_curves_diagnosis_and_strip(page):
    open_tab(page, "Training")
    page.wait_for_selector("#run_curves svg")
    assert "over-fitting" in page.inner_text("#run_overview")
    page.wait_for_function("[...document.querySelectorAll('#run_images img')].every(i => i.naturalWidth > 0)")
    assert page.locator("#run_images img").count() == 1
    assert not scrolls_sideways(page)


def test_closing_the_page_stops_the_doctor(page, url, folder, inputs):
    clip = inputs / "mute.mp4"
    open_tab(page, "Your data")
    page.set_input_files("#clips input[type=file]", clip)
    page.wait_for_selector("#clips .file-preview, #clips table")
    page.click("#run_doctor")
    wait_for_text(page, "#doctor_result", "The doctor is running")
    (stopped,) = (folder / "data" / "doctor").iterdir()
    page.close()

    deadline = time.monotonic() + 60
    result = None
    while result is None and time.monotonic() < deadline:
        try:
            result = Client(url, verbose=False).predict([handle_file(clip)], api_name="/doctor")
        except ValueError as error:
            if "busy" not in str(error):
                raise
            time.sleep(0.2)
    assert result is not None
    assert result["fit"] is False
    assert result["dataset"]["totals"]["inputs"] == 1
    (finished,) = (folder / "data" / "doctor").iterdir()  # that of a doctor who was not stopped would be kept too
    assert finished != stopped


def test_gradio_client_predicts_by_keyword(url, inputs, tmp_path):
    client = Client(url, verbose=False, download_files=tmp_path)
    result = client.predict(
        face=handle_file(inputs / "photo.png"), audio=handle_file(inputs / "audio.wav"), model="thin", fit="freeze",
        api_name="/predict",
    )  # fmt: skip
    assert probe(result).require_video().width == 256
