"""What is said of a job, in each of its states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wav2lip.serve.job import Given, Job, JobOptions, Progress
from wav2lip.serve.page import wording
from wav2lip.serve.page.desk import options_of
from wav2lip.serve.page.names import result_name

JOB = Job(
    "abc", "me", "queued", "small", JobOptions(), Given("f", "my <face>.mp4", "0" * 64, False),
    Given("a", "a voice.wav", "1" * 64, False), created=1000.0, position=3,
)  # fmt: skip
DONE = replace(JOB, state="done", position=None, started=1001.0, finished=1006.0, frames=100, fps=25.0, kept=True)


def test_a_job_that_waits_says_its_place_in_the_queue():
    assert "number 3 in the queue" in wording.told(JOB)


def test_a_job_that_runs_says_its_stage_and_frames():
    told = wording.told(replace(JOB, state="running", position=None, progress=Progress("lips", 30, 120)))
    assert "Making the lips" in told
    assert "frame 30 of 120" in told
    assert "width:25.0%" in told


def test_a_job_that_failed_says_its_sentence_as_text():
    assert "no face in &lt;b&gt;.mp4" in wording.told(replace(JOB, state="failed", error="no face in <b>.mp4"))


def test_a_job_that_is_done_shows_both_videos_and_what_to_know():
    told = wording.told(DONE)
    assert 'src="page/jobs/abc/face"' in told
    assert 'src="v1/jobs/abc/result"' in told
    assert "A face was found in every frame" in told
    assert "100 frames at 25 a second, made in 5.0 s" in told


def test_a_photo_is_shown_as_a_picture_beside_its_result():
    told = wording.told(replace(DONE, face=Given("f", "me.png", "0" * 64, True)))
    assert '<img src="page/jobs/abc/face"' in told
    assert told.count("<video") == 1


def test_time_without_a_face_is_told_span_by_span_up_to_a_dozen():
    some = wording.told(replace(DONE, without_face=((1.0, 1.5), (3.0, 3.25))))
    assert "No face for 0.75 s:</b> 1.00 to 1.50 s, 3.00 to 3.25 s. These frames are as they were." in some
    many = wording.told(replace(DONE, without_face=tuple((float(n), n + 0.5) for n in range(20))))
    assert "and 8 more" in many


def test_a_result_past_its_time_is_said_to_be_gone():
    told = wording.told(replace(DONE, kept=False))
    assert "removed" in told
    assert "<video" not in told


def test_the_history_shows_names_as_text_and_offers_what_can_be_shown():
    page = wording.history([DONE, replace(JOB, id="gone", state="failed", error="<i>bad</i>")], now=1000.0 + 7300)
    assert "my &lt;face&gt;.mp4" in page
    assert "&lt;i&gt;bad" in page
    assert "2 h ago" in page
    assert page.count("data-job") == 1


def test_a_result_is_saved_under_a_name_that_any_system_takes():
    odd = replace(DONE, face=Given("f", 'a/b:"c"?.mp4', "", False), audio=Given("a", "…", "", False))
    assert result_name(odd) == "b__c_says_file.mp4"
    assert result_name(DONE) == "my__face_says_a_voice.mp4"


def test_what_is_chosen_is_what_the_job_has():
    assert options_of("largest", "loop", "trim", "feather", "ease", (0, 10, 0, 0)) == JobOptions()
    chosen = options_of("1", "freeze", "keep", "box", "off", (1, None, 3.0, 4))
    assert (chosen.faces, chosen.fit, chosen.short, chosen.blend, chosen.silence) == (
        "1",
        "freeze",
        "keep",
        "box",
        "off",
    )
    assert chosen.pads == (1, 10, 3, 4)


@pytest.mark.parametrize("choices", [wording.FACES, wording.FIT, wording.SHORT, wording.SEAM, wording.SILENCE])
def test_every_choice_on_the_page_is_one_that_jobs_take(choices):
    usual = {"faces": "largest", "fit": "loop", "short": "trim", "seam": "feather", "silence": "ease"}
    name = {id(wording.FACES): "faces", id(wording.FIT): "fit", id(wording.SHORT): "short", id(wording.SEAM): "seam",
            id(wording.SILENCE): "silence"}[id(choices)]  # fmt: skip
    for _, value in choices:
        options_of(**usual | {name: value}, pads=(0, 10, 0, 0))
