"""What is said of jobs, and what the options are called, in plain words."""

from __future__ import annotations

import time
from html import escape

from wav2lip.serve.job import Job
from wav2lip.serve.page.markup import card, empty, progress, refusal
from wav2lip.serve.page.names import result_name

FACES = [("The largest face", "largest"), ("The face furthest left", "leftmost"), ("Everyone", "all"),
         ("First from the left", "0"), ("Second from the left", "1"), ("Third from the left", "2")]  # fmt: skip
FIT = [("Start the video again", "loop"), ("Run it backwards and forwards", "pingpong"),
       ("Hold its last frame", "freeze"), ("End with the video", "trim")]  # fmt: skip
SHORT = [("End with the sound", "trim"), ("Show the rest as it is", "keep")]
SEAM = [("Soft", "feather"), ("Hard, as in the public release", "box")]
SILENCE = [("Mouth rests", "ease"), ("As the model has it", "off")]
STAGES = {
    "waiting": "Waiting",
    "loading": "Loading the model",
    "faces": "Looking for the face",
    "lips": "Making the lips",
}
STATES = {"queued": "waiting", "running": "running", "done": "done", "failed": "failed", "cancelled": "cancelled"}
MOST_SPANS = 12  # that are told one by one
MOST_ROWS = 20  # of the history
NOTHING = empty("Your result appears here", "Choose a face and a sound, or try the samples, and press Make it speak.")
NO_JOBS = empty("Nothing made yet", "What you make is listed here until its files are removed.")


def told(job: Job) -> str:
    """A job as it stands: progress, the sentence why it failed, or the players and what to know; HTML."""
    if job.state == "queued":
        return progress("Waiting", f"number {job.position} in the queue" if job.position else "", None)
    if job.state == "running":
        return _running(job)
    if job.state == "failed":
        return refusal(job.error or "it failed, and nobody knows why")
    if job.state == "cancelled":
        return card("<p>Cancelled. Nothing was made.</p>", "warn")
    if not job.kept:
        return card("<p>The result was removed after its time. Make it anew from the same files.</p>", "warn")
    return players(job) + without_face(job)


def _running(job: Job) -> str:
    now = job.progress
    title = STAGES.get(now.stage, now.stage.capitalize())
    if not now.total:
        return progress(title, f"frame {now.done:,}" if now.done else "", None)
    return progress(title, f"frame {now.done:,} of {now.total:,}", now.done / now.total)


def players(job: Job) -> str:
    """What was given and what was made, side by side; HTML."""
    face, result = f"page/jobs/{job.id}/face", f"v1/jobs/{job.id}/result"
    before = (
        f'<img src="{face}" alt="The photo that was given">'
        if job.face.still
        else f'<video src="{face}" controls playsinline preload="metadata" data-part="before"></video>'
    )
    name, play = escape(result_name(job)), "Play" if job.face.still else "Play both"
    return f"""<div class="page"><div class="players"><figure><figcaption><b>Before</b></figcaption>{before}</figure>
<figure><figcaption><b>After</b></figcaption>
<video src="{result}" controls playsinline preload="auto" data-part="after"></video></figure></div>
<div class="actions"><button type="button" data-do="both">{play}</button>
<a href="{result}" download="{name}">Save the result</a></div></div>"""


def without_face(job: Job) -> str:
    """Where nothing was painted; HTML."""
    facts = f"{job.frames:,} frames at {job.fps:.5g} a second" if job.frames and job.fps else ""
    took = f", made in {job.finished - job.started:.1f} s" if job.started and job.finished else ""
    line = f'<p class="soft">{escape(facts + took)} with {escape(job.model)}.</p>'
    if not job.without_face:
        return card(f"<p><b>A face was found in every frame.</b></p>{line}", "good")
    spans = [f"{start:.2f} to {end:.2f} s" for start, end in job.without_face]
    more = f" and {len(spans) - MOST_SPANS} more" if len(spans) > MOST_SPANS else ""
    seconds = sum(end - start for start, end in job.without_face)
    said = f"<b>No face for {seconds:.2f} s:</b> {', '.join(spans[:MOST_SPANS])}{more}. These frames are as they were."
    return card(f"<p>{said}</p>{line}", "warn")


def history(jobs: list[Job], now: float | None = None) -> str:
    """A visitor's jobs in a table, the newest first; HTML."""
    if not jobs:
        return NO_JOBS
    now = time.time() if now is None else now
    rows = "".join(_row(job, now) for job in jobs[:MOST_ROWS])
    more = f'<p class="soft">The newest {MOST_ROWS} of {len(jobs)}.</p>' if len(jobs) > MOST_ROWS else ""
    return f"""<div class="page card history"><table><thead><tr><th>When</th><th>Face and sound</th><th>Model</th>
<th>State</th><th></th></tr></thead><tbody>{rows}</tbody></table>{more}</div>"""


def _row(job: Job, now: float) -> str:
    show = f'<button type="button" data-job="{escape(job.id)}">Show</button>' if job.kept or not job.ended else ""
    note = f'<div class="soft">{escape(job.error)}</div>' if job.error else ""
    return (
        f"<tr><td>{ago(now - job.created)}</td><td>{escape(job.face.name)} · {escape(job.audio.name)}{note}</td>"
        f'<td>{escape(job.model)}</td><td><span class="state {job.state}">{STATES[job.state]}</span></td>'
        f'<td class="n">{show}</td></tr>'
    )


def ago(seconds: float) -> str:
    """How long since, as a person says it."""
    for size, unit in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    return "just now"
