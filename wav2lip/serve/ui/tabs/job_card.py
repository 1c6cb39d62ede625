"""Cards and history of jobs as HTML."""

from __future__ import annotations

import time
from html import escape

from wav2lip.engines import SADTALKER
from wav2lip.reporting.html import table
from wav2lip.serve.jobs.job import Job
from wav2lip.serve.ui.html import card, error_card, placeholder, progress_bar
from wav2lip.serve.ui.media_files import result_name

STAGE_LABELS = {
    "waiting": "Queued",
    "loading": "Loading the model",
    "faces": "Detecting faces",
    "lips": "Generating lips",
    "mel": "Mel spectrogram",
    "landmarks": "Landmarks",
    "3DMM": "3DMM coefficients",
    "audio2exp": "Motion (audio2exp)",
    "face render": "Face render",
    "enhance": "Face render and enhancement",
}
MAX_SPANS = 12  # spans without a face that are listed
MAX_ROWS = 20  # rows of the history
NO_JOBS = placeholder("No jobs yet", "Your jobs are listed here until their files are deleted.")


def no_result(hint: str) -> str:
    """Render the place of a result before the first job."""
    return placeholder("No result yet", hint)


def render_job(job: Job) -> str:
    """Render the state of a job: progress, error, or the videos with a summary."""
    if job.state == "queued":
        return progress_bar("Queued", f"position {job.position} in the queue" if job.position else "", None)
    if job.state == "running":
        return _render_progress(job)
    if job.state == "failed":
        return error_card(job.error or "the job failed; the server's log has the details")
    if job.state == "cancelled":
        return card("<p>Cancelled.</p>", "warn")
    if not job.has_result:
        return card("<p>The result was deleted after its retention period. Submit the same files again.</p>", "warn")
    return render_players(job) + render_summary(job)


def _render_progress(job: Job) -> str:
    progress = job.progress
    title = STAGE_LABELS.get(progress.stage, progress.stage.capitalize())
    if progress.total <= 1:  # not counted in frames
        return progress_bar(title, f"frame {progress.done:,}" if progress.done else "", None)
    return progress_bar(title, f"frame {progress.done:,} of {progress.total:,}", progress.done / progress.total)


def render_players(job: Job) -> str:
    """Render the input face and the result side by side."""
    face, result = f"page/jobs/{job.id}/face", f"v1/jobs/{job.id}/result"
    before = (
        f'<img src="{face}" alt="Input photo">'
        if job.face.still
        else f'<video src="{face}" controls playsinline preload="metadata" data-role="before"></video>'
    )
    name, play = escape(result_name(job)), "Play" if job.face.still else "Play both"
    return f"""<div class="page"><div class="players"><figure><figcaption><b>Before</b></figcaption>{before}</figure>
<figure><figcaption><b>After</b></figcaption>
<video src="{result}" controls playsinline preload="auto" data-role="after"></video></figure></div>
<div class="actions"><button type="button" data-action="play">{play}</button>
<a href="{result}" download="{name}">Download</a></div></div>"""


def render_summary(job: Job) -> str:
    """Render the size of the result, the time it took, and the spans without a face."""
    size = f"{job.frames:,} frames at {job.fps:.5g} fps" if job.frames and job.fps else ""
    took = f", generated in {job.finished - job.started:.1f} s" if job.started and job.finished else ""
    line = f'<p class="muted">{escape(size + took)} with model {escape(job.model)}.</p>'
    if job.engine == SADTALKER:
        return card(line, "good")
    if not job.without_face:
        return card(f"<p><b>A face was detected in every frame.</b></p>{line}", "good")
    spans = [f"{start:.2f} to {end:.2f} s" for start, end in job.without_face]
    more = f" and {len(spans) - MAX_SPANS} more" if len(spans) > MAX_SPANS else ""
    seconds = sum(end - start for start, end in job.without_face)
    text = f"<b>No face for {seconds:.2f} s:</b> {', '.join(spans[:MAX_SPANS])}{more}. These frames are unchanged."
    return card(f"<p>{text}</p>{line}", "warn")


def render_history(jobs: list[Job], now: float | None = None) -> str:
    """Render a client's jobs as a table, the newest first."""
    if not jobs:
        return NO_JOBS
    now = time.time() if now is None else now
    head = ("Submitted", "Face and audio", "Model", "State", "")
    rows = table(head, [_history_row(job, now) for job in jobs[:MAX_ROWS]], numeric={4})
    more = f'<p class="muted">The newest {MAX_ROWS} of {len(jobs)}.</p>' if len(jobs) > MAX_ROWS else ""
    return f'<div class="page card history">{rows}{more}</div>'


def _history_row(job: Job, now: float) -> tuple[str, ...]:
    can_show = job.has_result or not job.is_finished
    show = f'<button type="button" data-job="{escape(job.id)}">Show</button>' if can_show else ""
    error = f'<div class="muted">{escape(job.error)}</div>' if job.error else ""
    files = " · ".join(escape(upload.name) for upload in job.inputs) + error
    state = f'<span class="state {job.state}">{job.state}</span>'
    return format_age(now - job.created), files, escape(job.model), state, show


def format_age(seconds: float) -> str:
    """Format the time since an event in its largest unit: "2 h ago"."""
    for size, unit in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    return "just now"
