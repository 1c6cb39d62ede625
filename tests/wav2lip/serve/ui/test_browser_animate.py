"""The tab "Animate a photo" in Chromium: every control, a result, an idle video, and errors in place."""

from __future__ import annotations

import pytest

from tests.helpers.browser import open_tab, press
from wav2lip.engines import SADTALKER

pytestmark = pytest.mark.slow
TAB = "Animate a photo"


@pytest.fixture
def tab(page):
    open_tab(page, TAB)
    page.wait_for_selector("#animate_submit")
    return page


def choose(page, elem_id: str, label: str) -> None:
    """Click a radio button by its label."""
    page.locator(f"#animate_{elem_id}").get_by_label(label, exact=True).check()


def pick(page, elem_id: str, label: str) -> None:
    """Select an entry of a dropdown."""
    page.locator(f"#animate_{elem_id} input").click()
    page.get_by_role("option", name=label, exact=True).click()


def open_part(page, name: str) -> None:
    page.get_by_role("button", name=name).locator("visible=true").click()


def newest_job(page, url: str) -> dict:
    return page.request.get(f"{url}v1/jobs").json()[0]


def test_every_control_reaches_the_job(tab, url, inputs):
    page = tab
    open_part(page, "Motion")
    open_part(page, "Reference video")
    page.set_input_files("#animate_photo input[type=file]", inputs / "photo.png")  # all fields are complete afterwards
    page.wait_for_selector(".preview img >> visible=true")
    page.set_input_files("#animate_audio input[type=file]", inputs / "audio.wav")
    page.wait_for_selector(".preview audio >> visible=true")
    choose(page, "preprocess", "Face, in the photo (full)")
    page.locator("#animate_still").get_by_label("Keep the head still").check()
    pick(page, "enhancer", "compact")
    page.locator("#animate_pose_style input[type=number]").fill("7")
    page.locator("#animate_expression_scale input[type=number]").fill("1.5")
    choose(page, "size", "256 pixels")
    choose(page, "blink", "None")
    page.set_input_files("#animate_reference input[type=file]", inputs / "mute.mp4")
    page.wait_for_selector(".preview video >> visible=true")
    choose(page, "ref_info", "Head motion")
    pick(page, "mouth", "thin")
    press(page, "#animate_submit")
    page.wait_for_selector("#animate_result [data-role=after]")
    assert "10 frames at 25 fps" in page.inner_text("#animate_result")
    page.wait_for_function("document.querySelector('#animate_result [data-role=after]').videoWidth == 256")
    job = newest_job(page, url)
    assert (job["engine"], job["state"], job["reference"]["name"]) == (SADTALKER, "done", "mute.mp4")
    expected = {
        "preprocess": "full", "still": True, "enhancer": "compact", "pose_style": 7, "expression_scale": 1.5,
        "size": 256, "blink": "off", "ref_info": "pose", "mouth": "thin", "idle": None,
    }  # fmt: skip
    assert {name: job["options"][name] for name in expected} == expected
    page.click("#animate_result [data-action=play]")
    page.wait_for_function("document.querySelector('#animate_result [data-role=after]').currentTime > 0")

    page.reload()
    open_tab(page, TAB)
    page.wait_for_selector("#animate_result [data-role=after]")
    assert "photo.png · audio.wav · mute.mp4" in page.inner_text("#animate_history")
    open_tab(page, "Lip-sync")
    assert "photo.png" not in page.inner_text("#history")


@pytest.mark.parametrize("page", ["phone"], indirect=True)
def test_tab_fits_a_phone(page):
    page.locator(".overflow-menu > button").click()  # tabs without room
    page.locator(".overflow-dropdown button", has_text=TAB).click()
    page.wait_for_selector("#animate_submit >> visible=true")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_idle_video_needs_no_audio(tab, url, inputs):
    page = tab
    open_part(page, "Motion")
    page.set_input_files("#animate_photo input[type=file]", inputs / "photo.png")  # its fields are complete afterwards
    page.wait_for_selector(".preview img >> visible=true")
    page.locator("#animate_idle input").fill("0.4")
    page.keyboard.press("Tab")  # the page takes the value over when the field is left
    press(page, "#animate_submit")
    page.wait_for_selector("#animate_result [data-role=after], #animate_result [role=alert]")
    assert "10 frames at 25 fps" in page.inner_text("#animate_result")
    job = newest_job(page, url)
    assert (job["audio"], job["frames"], job["options"]["idle"]) == (None, 10, 0.4)


def test_missing_inputs_are_reported_in_place(tab, inputs):
    page = tab
    page.click("#animate_submit")
    page.wait_for_selector("#animate_result [role=alert]")
    assert "no photo" in page.inner_text("#animate_result [role=alert]")
    page.set_input_files("#animate_photo input[type=file]", inputs / "photo.png")
    page.wait_for_selector(".preview img >> visible=true")
    page.click("#animate_submit")
    page.wait_for_function("/no audio/.test(document.querySelector('#animate_result').innerText)")


def test_microphone_records_the_audio(tab):
    page = tab
    page.context.grant_permissions(["microphone"])
    page.locator("button:has-text('Record audio') >> visible=true").click()
    page.locator("#animate_audio_recording button.record").click()
    page.wait_for_timeout(1500)
    page.locator("#animate_audio_recording button.stop-button >> visible=true").click()
    page.wait_for_selector(".preview audio >> visible=true")
    assert page.locator("#animate_audio a[download]").count() == 1
