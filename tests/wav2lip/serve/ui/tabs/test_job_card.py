"""Cards of jobs in each state, and the history."""

from __future__ import annotations

from dataclasses import replace

from wav2lip.lipsync import LipSyncOptions
from wav2lip.serve.jobs.job import Job, Progress, UploadRef
from wav2lip.serve.ui.media_files import result_name
from wav2lip.serve.ui.tabs.job_card import render_history, render_job

JOB = Job(
    "abc", "me", "queued", "wav2lip", "small", LipSyncOptions(), UploadRef("f", "my <face>.mp4", "0" * 64, False),
    UploadRef("a", "a voice.wav", "1" * 64, False), created=1000.0, position=3,
)  # fmt: skip
DONE = replace(JOB, state="done", position=None, started=1001.0, finished=1006.0, frames=100, fps=25.0, has_result=True)


def test_queued_job_shows_its_position():
    assert "position 3 in the queue" in render_job(JOB)


def test_running_job_shows_stage_and_frames():
    card = render_job(replace(JOB, state="running", position=None, progress=Progress("lips", 30, 120)))
    assert "Generating lips" in card
    assert "frame 30 of 120" in card
    assert "width:25.0%" in card


def test_failed_job_escapes_its_error():
    assert "no face in &lt;b&gt;.mp4" in render_job(replace(JOB, state="failed", error="no face in <b>.mp4"))


def test_finished_job_shows_both_videos_and_a_summary():
    card = render_job(DONE)
    assert 'src="page/jobs/abc/face"' in card
    assert 'src="v1/jobs/abc/result"' in card
    assert "face was detected in every frame" in card
    assert "100 frames at 25 fps, generated in 5.0 s" in card


def test_photo_is_shown_as_image_beside_the_result():
    card = render_job(replace(DONE, face=UploadRef("f", "me.png", "0" * 64, True)))
    assert '<img src="page/jobs/abc/face"' in card
    assert card.count("<video") == 1


def test_spans_without_face_are_listed_up_to_a_dozen():
    card = render_job(replace(DONE, without_face=((1.0, 1.5), (3.0, 3.25))))
    assert "No face for 0.75 s:</b> 1.00 to 1.50 s, 3.00 to 3.25 s." in card
    card = render_job(replace(DONE, without_face=tuple((float(n), n + 0.5) for n in range(20))))
    assert "and 8 more" in card


def test_expired_result_is_reported_without_players():
    card = render_job(replace(DONE, has_result=False))
    assert "deleted" in card
    assert "<video" not in card


def test_history_escapes_names_and_links_available_jobs():
    page = render_history([DONE, replace(JOB, id="gone", state="failed", error="<i>bad</i>")], now=1000.0 + 7300)
    assert "my &lt;face&gt;.mp4" in page
    assert "&lt;i&gt;bad" in page
    assert "2 h ago" in page
    assert page.count("data-job") == 1


def test_result_name_is_valid_on_any_file_system():
    job = replace(DONE, face=UploadRef("f", 'a/b:"c"?.mp4', "", False), audio=UploadRef("a", "…", "", False))
    assert result_name(job) == "b__c_says_file.mp4"
    assert result_name(DONE) == "my__face_says_a_voice.mp4"
