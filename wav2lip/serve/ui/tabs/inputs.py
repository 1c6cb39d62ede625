"""Inputs of files: upload, samples, a recorder, and previews."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import gradio as gr

from wav2lip.media.suffixes import IMAGE_SUFFIXES
from wav2lip.serve.ui.html import SCRIPT, html_block
from wav2lip.serve.ui.media_files import AUDIO_TYPES
from wav2lip.serve.ui.tabs.samples import SPEECH, Samples

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build_face_input(
    label: str, file_types: list[str], elem_id: str, samples: Samples, sample_names: dict[str, str]
) -> gr.File:
    """Build the input of a photo or video, with samples.

    sample_names: label of a button to the name of its sample.
    """
    face = build_file_input(label, file_types, elem_id)
    with gr.Row(elem_classes="samples"):
        for button, name in sample_names.items():
            _build_sample_button(button, name, samples, face)
    return face


def build_audio_input(label: str, elem_id: str, samples: Samples) -> gr.File:
    """Build the input of audio with a sample, a recorder and a player."""
    audio = gr.File(file_types=AUDIO_TYPES, label=label, height=130, elem_id=elem_id)
    preview = html_block("", js_on_load=SCRIPT, visible=False)
    with gr.Row(elem_classes="samples"):
        _build_sample_button("Sample speech", SPEECH, samples, audio)
    with gr.Accordion("Record audio", open=False):
        recording = gr.Audio(sources=["microphone"], type="filepath", show_label=False, elem_id=f"{elem_id}_recording")
    recording.stop_recording(lambda path: path, recording, audio, **PRIVATE)
    audio.change(preview_audio, audio, preview, **PRIVATE)
    return audio


def build_file_input(label: str, file_types: list[str], elem_id: str) -> gr.File:
    """Build an input with a preview of the photo or video."""
    file = gr.File(file_types=file_types, label=label, height=130, elem_id=elem_id)
    preview = html_block("", js_on_load=SCRIPT, visible=False)
    file.change(preview_face, file, preview, **PRIVATE)
    return file


def build_name_choice(label: str, nothing: str, names: Sequence[str | int], elem_id: str) -> gr.Dropdown:
    """Build the choice of one of the server's files, or of nothing; invisible if the server has none.

    nothing: label of the empty choice.
    """
    choices = [(nothing, ""), *((str(name), str(name)) for name in names)]
    return gr.Dropdown(choices, value="", label=label, visible=bool(names), elem_id=elem_id)


def _build_sample_button(label: str, name: str, samples: Samples, target: gr.File) -> None:
    def get_sample() -> str:
        return samples.get(name)

    button = gr.Button(label, size="sm", min_width=120, elem_id=f"{target.elem_id}_{name.partition('.')[0]}")
    button.click(get_sample, None, target, api_visibility="private")


def preview_face(path: str | None) -> dict[str, Any]:
    """Show the uploaded face."""
    if path is not None and path.lower().endswith((*IMAGE_SUFFIXES, ".gif", ".apng")):
        return _preview(path, "img", 'alt="The photo"')
    return _preview(path, "video", 'controls playsinline preload="metadata"')


def preview_audio(path: str | None) -> dict[str, Any]:
    """Show a player for the uploaded audio."""
    return _preview(path, "audio", 'controls preload="metadata"')


def _preview(path: str | None, tag: str, attributes: str) -> dict[str, Any]:
    """Return an update of the preview, with the URL of Gradio's copy of the file."""
    if path is None:
        return gr.update(value="", visible=False)
    url = escape(f"gradio_api/file={quote(path)}")
    end = "" if tag == "img" else f"</{tag}>"
    return gr.update(value=f'<div class="preview"><{tag} src="{url}" {attributes}>{end}</div>', visible=True)
