"""The tab that makes people speak."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.components import Component

from wav2lip.serve.job import JobOptions
from wav2lip.serve.page import wording
from wav2lip.serve.page.desk import Desk, choose
from wav2lip.serve.page.kinds import FACE_FILES, PICTURES, SOUND_FILES
from wav2lip.serve.page.markup import FAULT, html, progress
from wav2lip.serve.page.samples import PHOTO, SPEECH, VIDEO, Samples

SCRIPT = Path(__file__).with_name("players.js").read_text(encoding="utf-8")
USUAL = JobOptions()
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
PADS = '<p class="soft">Room around the face that is found, in pixels. More below if the chin is cut.</p>'
SUBMITTED = 4  # orders whose files are copied and looked into at a time; one would let a visitor hold up all others
SENDING = progress("Sending", "the files are checked", None)


def build_lipsync_tab(
    desk: Desk, models: list[str], samples: Samples, page: gr.Blocks
) -> list[gr.components.Component]:
    """The parts of the tab, and what happens in it. Returns: what Desk.submit is given, in its order."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            face, sound = _files(samples)
            model = gr.Dropdown(models, value=models[0], label="Model", elem_id="model")
            options = _options()
        with gr.Column(scale=6, min_width=300):
            with gr.Row():
                start = gr.Button("Make it speak", variant="primary", size="lg", elem_id="start", scale=3)
                stop = gr.Button("Cancel", size="lg", visible=False, elem_id="cancel", scale=1, min_width=110)
            result = html(wording.NOTHING, js_on_load=SCRIPT, elem_id="result")
            html('<h3 class="part">What you made</h3>')
            history = html(wording.NO_JOBS, js_on_load=SCRIPT, elem_id="history")

    current = gr.State(None)  # id of the job that is shown
    given = [face, sound, model, *options]
    asked = start.click(lambda: SENDING, None, result, **QUIET).then(
        desk.submit, given, [current, result], concurrency_limit=SUBMITTED, **QUIET
    )  # fmt: skip
    asked.failure(lambda: FAULT, None, result, **QUIET)
    chosen = [
        asked,
        page.load(desk.come_back, None, [current, history], **QUIET),
        history.click(choose, None, current, **QUIET),
    ]
    for event in chosen:
        event.success(
            desk.follow, current, [result, stop, history], trigger_mode="multiple", concurrency_limit=None, **QUIET
        )
    stop.click(desk.stop, current, None, **QUIET)
    return given


def _files(samples: Samples) -> tuple[gr.File, gr.File]:
    """The face and the sound: dropped, chosen, recorded, or a sample; each is shown below."""
    face = _dropped("Face: a video or a photo", FACE_FILES, "face")
    face_seen = html("", js_on_load=SCRIPT, visible=False)
    with gr.Row(elem_classes="samples"):
        for label, name in (("Sample video", VIDEO), ("Sample photo", PHOTO)):
            _sample(label, name, samples, face)
    sound = _dropped("Sound: speech, or a video with it", SOUND_FILES, "sound")
    sound_seen = html("", js_on_load=SCRIPT, visible=False)
    with gr.Row(elem_classes="samples"):
        _sample("Sample speech", SPEECH, samples, sound)
    with gr.Accordion("Record the sound", open=False):
        recorded = gr.Audio(sources=["microphone"], type="filepath", show_label=False, elem_id="recorded")
    recorded.stop_recording(lambda path: path, recorded, sound, **QUIET)
    for dropped, seen, shown in ((face, face_seen, face_shown), (sound, sound_seen, sound_shown)):
        dropped.change(shown, dropped, seen, **QUIET)
    return face, sound


def _dropped(label: str, kinds: list[str], name: str) -> gr.File:
    return gr.File(file_types=kinds, label=label, height=130, elem_id=name)


def _sample(label: str, name: str, samples: Samples, into: gr.File) -> None:
    make: Callable[[], str] = lambda: samples.get(name)  # noqa: E731
    button = gr.Button(label, size="sm", min_width=120, elem_id=name.partition(".")[0])
    button.click(make, None, into, api_visibility="private")


def _options() -> list[Component]:
    """The few that matter, in the order of Desk.submit."""
    with gr.Accordion("Options", open=False, elem_id="options"):
        faces = gr.Dropdown(wording.FACES, value=USUAL.faces, label="Whose lips",
                            info="The person is followed through the video.")  # fmt: skip
        fit = gr.Dropdown(wording.FIT, value=USUAL.fit, label="If the sound is longer than the video")
        short = gr.Dropdown(wording.SHORT, value=USUAL.short, label="If the video is longer than the sound")
        seam = gr.Radio(wording.SEAM, value=USUAL.blend, label="Seam around the new mouth")
        silence = gr.Radio(wording.SILENCE, value=USUAL.silence, label="While nobody speaks")
        html('<p class="soft">Room around the found face, in pixels of the video. More below if the chin is cut.</p>')
        with gr.Row():
            pads = [
                gr.Number(value, label=label, precision=0, minimum=-500, maximum=500, min_width=70)
                for label, value in zip(("Above", "Below", "Left", "Right"), USUAL.pads, strict=True)
            ]
    return [faces, fit, short, seam, silence, *pads]


def face_shown(path: str | None) -> dict[str, Any]:
    """A face as it was given."""
    if path is not None and path.lower().endswith(PICTURES):
        return _preview(path, "img", 'alt="The photo"')
    return _preview(path, "video", 'controls playsinline preload="metadata"')


def sound_shown(path: str | None) -> dict[str, Any]:
    """A player for a sound as it was given."""
    return _preview(path, "audio", 'controls preload="metadata"')


def _preview(path: str | None, tag: str, attributes: str) -> dict[str, Any]:
    """An update for the part below a file, from where Gradio keeps the file for this visitor."""
    if path is None:
        return gr.update(value="", visible=False)
    address = escape(f"gradio_api/file={quote(path)}")
    end = "" if tag == "img" else f"</{tag}>"
    return gr.update(value=f'<div class="preview"><{tag} src="{address}" {attributes}>{end}</div>', visible=True)
