"""The page in a real browser, on a server that was started as a user would start it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.conftest import tone, write_wav
from tests.wav2lip.serve.page.conftest import write_log
from wav2lip.media import probe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[4]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
PATIENCE = 90_000  # milliseconds


@pytest.fixture(scope="module")
def served(tmp_path_factory, given) -> Iterator[str]:
    """Address of a server in a process of its own, with one training to show."""
    folder = tmp_path_factory.mktemp("served")
    write_log(folder / "runs" / "expert")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    flags = {"checkpoint": f"thin={given / 'thin.pth'}", "data": folder / "data", "port": port, "device": "cpu",
             "detector": "haar", "runs": folder / "runs"}  # fmt: skip
    command = [sys.executable, "-m", "wav2lip.serve", *(f"--{flag}={value}" for flag, value in flags.items())]
    address = f"http://127.0.0.1:{port}/"
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            until = time.monotonic() + 120
            while not _answers(address):
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.2)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser on the PATH ({', '.join(BROWSERS)})")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, served, request) -> Iterator:
    """The page at a size. What goes wrong in it fails the test, and so does asking any other host."""
    width, height = SIZES[getattr(request, "param", "desk")]
    context = browser.new_context(viewport={"width": width, "height": height})
    shown = context.new_page()
    errors, strangers = [], []
    shown.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    shown.on("pageerror", lambda error: errors.append(str(error)))
    ours = (served, "data:", "blob:")
    shown.on("request", lambda asked: None if asked.url.startswith(ours) else strangers.append(asked.url))
    shown.set_default_timeout(PATIENCE)
    shown.goto(served)
    yield shown
    context.close()
    assert errors == []
    assert strangers == []


def scrolls_sideways(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


@pytest.mark.parametrize("page", list(SIZES), indirect=True)
def test_a_visitor_clicks_through_to_a_playing_result_and_finds_it_again(page):
    page.click("#sample_video")
    page.wait_for_selector(".preview video")
    page.click("#sample_speech")
    page.wait_for_selector(".preview audio")
    page.click("#start")
    page.wait_for_selector("#result [data-part=after]")
    assert "100 frames at 25 a second" in page.inner_text("#result")  # 4 s of speech
    assert "A face was found in every frame" in page.inner_text("#result")

    page.click("[data-do=both]")
    page.wait_for_function(
        "[...document.querySelectorAll('#result video')].every(v => v.readyState >= 2 && v.currentTime > 0.5)"
    )
    assert page.evaluate("document.querySelector('[data-part=after]').videoHeight") == 288
    assert not scrolls_sideways(page)

    page.reload()
    page.wait_for_selector("#result [data-part=after]")
    assert "sample_video.mp4 · sample_speech.wav" in page.inner_text("#history")


def test_a_job_is_cancelled_while_another_waits_and_the_page_shows_each(page, tmp_path):
    page.click("#sample_photo")
    page.wait_for_selector(".preview img")
    page.set_input_files("#sound input[type=file]", write_wav(tmp_path / "long.wav", tone(500.0)))
    page.wait_for_selector(".preview audio")
    page.click("#start")
    page.wait_for_selector("#result .progress")
    page.wait_for_selector("#history .state.running")
    page.click("#start")
    page.wait_for_selector("#history .state.queued")
    page.wait_for_function("document.querySelector('#result').innerText.includes('in the queue')")

    page.click("#cancel")
    page.wait_for_function("document.querySelector('#result').innerText.includes('Cancelled')")
    page.locator("#history button[data-job]").first.click()  # the one that runs
    page.wait_for_function("/Looking|frame/.test(document.querySelector('#result').innerText)")
    page.click("#cancel")
    page.wait_for_function("document.querySelectorAll('#history .state.cancelled').length == 2")


def test_what_is_missing_is_said_in_place(page):
    page.click("#start")
    page.wait_for_selector("#result [role=alert]")
    assert page.inner_text("#result [role=alert]") == "no face: choose a video or a photo"


@pytest.mark.parametrize("page", list(SIZES), indirect=True)
def test_curves_verdict_and_strip_of_a_training_are_shown(page):
    page.get_by_role("tab", name="Training").click()
    page.wait_for_selector("#training_curves svg")
    assert "over-fitting" in page.inner_text("#training_overview")
    page.wait_for_function("[...document.querySelectorAll('#training_pictures img')].every(i => i.naturalWidth > 0)")
    assert page.locator("#training_pictures img").count() == 1
    assert not scrolls_sideways(page)


def test_the_doctor_ends_with_the_page_that_asked_him(page, served, tmp_path):
    page.click("#sample_video")  # makes the file that is then given to the doctor
    page.wait_for_selector(".preview video")
    with page.expect_download() as download:
        page.locator("#face a[download]").first.click()
    clip = tmp_path / "clip.mp4"
    download.value.save_as(clip)
    page.get_by_role("tab", name="Your data").click()
    page.set_input_files("#clips input[type=file]", clip)
    page.wait_for_selector("#clips .file-preview, #clips table")
    page.click("#ask_doctor")
    page.wait_for_function("document.querySelector('#doctor_found').innerText.includes('The doctor looks')")
    page.close()

    deadline = time.monotonic() + 60
    judged = None
    while judged is None and time.monotonic() < deadline:
        try:
            judged = Client(served, verbose=False).predict([handle_file(clip)], api_name="/doctor")
        except ValueError as busy:
            if "looking at other clips" not in str(busy):
                raise
            time.sleep(1)
    assert judged is not None
    assert judged["fit"] is False
    assert judged["dataset"]["totals"]["clips_kept"] == 1


def test_a_program_gets_its_video_by_name_from_a_real_server(served, given, tmp_path):
    client = Client(served, verbose=False, download_files=tmp_path)
    result = client.predict(
        face=handle_file(given / "photo.png"), audio=handle_file(given / "sound.wav"), model="thin", fit="freeze",
        api_name="/predict",
    )  # fmt: skip
    assert probe(result).require_video().width == 256
