"""Tab "Animate a photo": inputs, options, result and history of the SadTalker engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr
from gradio.components import Component

from wav2lip.engine.option_parsing import choice_labels, option_specs
from wav2lip.sadtalker import SadTalkerOptions
from wav2lip.sadtalker.options import NUM_STYLES
from wav2lip.serve.ui.media_files import FACE_TYPES, VIDEO_TYPES
from wav2lip.serve.ui.tabs.inputs import build_audio_input, build_face_input, build_file_input, build_name_choice
from wav2lip.serve.ui.tabs.job_handlers import JobHandlers
from wav2lip.serve.ui.tabs.job_panel import build_job_panel
from wav2lip.serve.ui.tabs.samples import PHOTO, Samples

DEFAULTS = SadTalkerOptions()
SPECS = option_specs(SadTalkerOptions)
PREFIX = "animate_"
HINT = "Choose a photo and speech, or use the samples, and press Generate."
MAX_EXPRESSION_SCALE = 3.0
MAX_IDLE_S = 60


def build_animate_tab(
    handlers: JobHandlers, choices: Mapping[str, Sequence[str | int]], samples: Samples, page: gr.Blocks
) -> list[Component]:
    """Build the tab. Returns: the components whose values `build_animation_form` takes, in order.

    choices: values of the options that depend on the server.
    """
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            photo = build_face_input("Photo with a face", FACE_TYPES, f"{PREFIX}photo", samples,
                                     {"Sample photo": PHOTO})  # fmt: skip
            audio = build_audio_input("Audio: speech or a video", f"{PREFIX}audio", samples)
            main = _build_main_options(choices["enhancer"])
            motion = _build_motion_options(choices["size"])
            reference = _build_reference()
            mouth = build_name_choice("Mouth", "SadTalker", choices["mouth"], f"{PREFIX}mouth")
        with gr.Column(scale=6, min_width=300):
            panel = build_job_panel(PREFIX, HINT)
    job_inputs = [photo, audio, *main, *motion, *reference, mouth]
    panel.connect(handlers, job_inputs, page)
    return job_inputs


def _build_main_options(enhancers: Sequence[str | int]) -> list[Component]:
    modes = [(f"{label} ({value})", value) for label, value in choice_labels(SadTalkerOptions, "preprocess")]
    return [
        gr.Radio(modes, value=DEFAULTS.preprocess, label=SPECS["preprocess"].label, elem_id=f"{PREFIX}preprocess"),
        gr.Checkbox(DEFAULTS.still, label="Keep the head still", info="Best with a mode that shows the whole photo.",
                    elem_id=f"{PREFIX}still"),
        build_name_choice("Enhancer", "None", enhancers, f"{PREFIX}enhancer"),
    ]  # fmt: skip


def _build_motion_options(sizes: Sequence[str | int]) -> list[Component]:
    with gr.Accordion("Motion", open=False, elem_id=f"{PREFIX}motion"):
        return [
            gr.Slider(0, NUM_STYLES - 1, value=DEFAULTS.pose_style, step=1, label="Pose style",
                      elem_id=f"{PREFIX}pose_style"),
            gr.Radio([(f"{size} pixels", size) for size in sizes], value=sizes[0], label="Size of the renderer",
                     elem_id=f"{PREFIX}size"),
            gr.Slider(0, MAX_EXPRESSION_SCALE, value=DEFAULTS.expression_scale, step=0.1, label="Expression scale",
                      elem_id=f"{PREFIX}expression_scale"),
            gr.Radio(choice_labels(SadTalkerOptions, "blink"), value=DEFAULTS.blink, label=SPECS["blink"].label,
                     elem_id=f"{PREFIX}blink"),
            gr.Number(0, label="Idle: seconds of a loop without speech", minimum=0, maximum=MAX_IDLE_S,
                      info="0: with speech. Otherwise leave the audio empty.", elem_id=f"{PREFIX}idle"),
        ]  # fmt: skip


def _build_reference() -> list[Component]:
    with gr.Accordion("Reference video", open=False, elem_id=f"{PREFIX}reference_options"):
        return [
            build_file_input("Video whose motion is taken", VIDEO_TYPES, f"{PREFIX}reference"),
            gr.Radio(choice_labels(SadTalkerOptions, "ref_info"), value="pose", label=SPECS["ref_info"].label,
                     elem_id=f"{PREFIX}ref_info"),
        ]  # fmt: skip
