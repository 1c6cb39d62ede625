"""Lip-sync tab: inputs, options, result and history."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from gradio.components import Component

from wav2lip.engine.option_parsing import choice_labels, option_specs
from wav2lip.lipsync import LipSyncOptions
from wav2lip.serve.ui.html import html_block
from wav2lip.serve.ui.media_files import AUDIO_TYPES, FACE_TYPES
from wav2lip.serve.ui.tabs.inputs import build_audio_input, build_face_input, build_name_choice
from wav2lip.serve.ui.tabs.job_handlers import JobHandlers
from wav2lip.serve.ui.tabs.job_panel import build_job_panel
from wav2lip.serve.ui.tabs.samples import PHOTO, VIDEO, Samples

DEFAULTS = LipSyncOptions()
SPECS = option_specs(LipSyncOptions)
MAX_PAD = 500  # pixels
PADDING = "Padding: pixels added to the face box; empty: as the checkpoint was trained."
MORE_PEOPLE = (
    "The first audio belongs to the face on the left, each file here to the next one on its right, in the order of the "
    "list. For others, type their positions under Options, Faces: 0,2 is the first and the third."
)
HINT = "Choose a face and audio, or use the samples, and press Generate."


def build_lipsync_tab(
    handlers: JobHandlers, models: Sequence[str], enhancers: Sequence[str | int], samples: Samples, page: gr.Blocks
) -> list[Component]:
    """Build the tab. Returns: the components whose values `build_lipsync_form` takes, in order."""
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            face = build_face_input("Face: a video or a photo", FACE_TYPES, "face", samples,
                                    {"Sample video": VIDEO, "Sample photo": PHOTO})  # fmt: skip
            audio = build_audio_input("Audio: speech or a video", "audio", samples)
            with gr.Accordion("More people", open=False, elem_id="more_people"):
                html_block(f'<p class="muted">{MORE_PEOPLE}</p>')
                other_audio = gr.File(file_types=AUDIO_TYPES, file_count="multiple", height=130,
                                      label="Audio of the other people", elem_id="other_audio")  # fmt: skip
            model = gr.Dropdown(list(models), value=models[0], label="Model", elem_id="model")
            options = _build_options(enhancers)
        with gr.Column(scale=6, min_width=300):
            panel = build_job_panel("", HINT)
    job_inputs = [face, audio, model, *options, other_audio]
    panel.connect(handlers, job_inputs, page)
    return job_inputs


def _build_options(enhancers: Sequence[str | int]) -> list[Component]:
    """Build the most important options, in the order of `build_lipsync_form`."""
    with gr.Accordion("Options", open=False, elem_id="options"):
        faces = gr.Dropdown(choice_labels(LipSyncOptions, "faces"), value=DEFAULTS.faces, label=SPECS["faces"].label,
                            allow_custom_value=True, elem_id="faces")  # fmt: skip
        choices = [
            component(choice_labels(LipSyncOptions, name), value=getattr(DEFAULTS, name), label=SPECS[name].label)
            for name, component in (("fit", gr.Dropdown), ("short", gr.Dropdown), ("blend", gr.Radio),
                                    ("silence", gr.Radio))
        ]  # fmt: skip
        html_block(f'<p class="muted">{PADDING}</p>')
        with gr.Row():
            pads = [
                gr.Number(None, label=label, precision=0, minimum=-MAX_PAD, maximum=MAX_PAD, min_width=70)
                for label in ("Top", "Bottom", "Left", "Right")
            ]
        enhancer = build_name_choice("Enhancer", "None", enhancers, "enhancer")
    return [faces, *choices, *pads, enhancer]
