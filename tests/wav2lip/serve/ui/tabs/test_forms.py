"""Jobs from the values of the components of the tabs."""

from __future__ import annotations

from pathlib import Path

import pytest

from wav2lip.engine.option_parsing import choice_labels
from wav2lip.engines import SADTALKER
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSyncOptions
from wav2lip.sadtalker import SadTalkerOptions
from wav2lip.serve.jobs.options import parse_job_options
from wav2lip.serve.ui.tabs.forms import build_animation_form, build_lipsync_form

LIPSYNC = {"face": "a.mp4", "audio": "a.wav", "model": "thin", "faces": "largest", "fit": "loop", "short": "trim",
           "blend": "feather", "silence": "ease"}  # fmt: skip
ANIMATION = {"source_image": "a.png", "driven_audio": "a.wav", "preprocess": "crop", "still": False, "enhancer": "",
             "pose_style": 0, "size": 256, "expression_scale": 1.0, "blink": "auto", "idle": None, "reference": None,
             "ref_info": "pose", "mouth": ""}  # fmt: skip


def test_default_values_give_the_default_options():
    form = build_lipsync_form(**LIPSYNC)
    assert (form.face, form.audio, form.model, form.reference) == ("a.mp4", "a.wav", "thin", None)
    assert form.options == parse_job_options({})
    form = build_animation_form(**ANIMATION)
    assert (form.face, form.audio, form.model, form.reference) == ("a.png", "a.wav", "", None)
    assert form.options == parse_job_options({}, SADTALKER)


def test_empty_pad_beside_others_is_zero():
    form = build_lipsync_form("a", "b", "", "1", "freeze", "keep", "box", "off", 1, None, 3.0, 4, "gfpgan")
    options = form.options
    values = (options.faces, options.fit, options.short, options.blend, options.silence, options.enhancer)
    assert values == ("1", "freeze", "keep", "box", "off", "gfpgan")
    assert options.pads == (1, 0, 3, 4)


def test_audio_of_other_people_selects_their_faces():
    form = build_lipsync_form(**LIPSYNC, other_audio=["b.wav", "c.wav"])
    assert form.other_audio == ("b.wav", "c.wav")
    assert form.options.faces == "0,1,2"
    form = build_lipsync_form(**LIPSYNC | {"faces": "2,0"}, other_audio=["b.wav"])
    assert form.options.faces == "2,0"
    with pytest.raises(InputError, match="8 files with audio of other faces: at most 7"):
        build_lipsync_form(**LIPSYNC, other_audio=["b.wav"] * 8)


def test_every_value_of_an_animation_is_an_option():
    values = ANIMATION | {
        "preprocess": "full", "still": True, "enhancer": "gfpgan", "pose_style": 7.0, "size": 512,
        "expression_scale": 1.5, "blink": "ref", "reference": "b.mp4", "ref_info": "pose+blink", "mouth": "thin",
    }  # fmt: skip
    form = build_animation_form(**values)
    assert form.reference == "b.mp4"
    assert form.options == SadTalkerOptions(
        preprocess="full", still=True, enhancer="gfpgan", pose_style=7, size=512, expression_scale=1.5, blink="ref",
        ref_video=Path("b.mp4"), ref_info="pose+blink", mouth="thin", cache=False,
    )  # fmt: skip


def test_audio_is_required_unless_the_motion_needs_none():
    silent = ANIMATION | {"driven_audio": None}
    for values in (silent, silent | {"reference": "b.mp4"}):
        with pytest.raises(InputError, match="no audio"):
            build_animation_form(**values)
    assert build_animation_form(**silent | {"idle": 4.0}).options.idle == 4
    assert build_animation_form(**silent | {"reference": "b.mp4", "ref_info": "all"}).audio is None
    for form, name in ((build_lipsync_form, "face"), (build_animation_form, "photo")):
        values = LIPSYNC | {"face": None} if name == "face" else ANIMATION | {"source_image": None}
        with pytest.raises(InputError, match=f"no {name}"):
            form(**values)


@pytest.mark.parametrize("name", ["faces", "fit", "short", "blend", "silence"])
def test_every_choice_of_the_lipsync_tab_is_valid(name):
    choices = choice_labels(LipSyncOptions, name)
    assert len(choices) > 1
    for label, value in choices:
        assert label
        assert getattr(build_lipsync_form(**LIPSYNC | {name: value}).options, name) == value


@pytest.mark.parametrize("name", ["preprocess", "blink", "ref_info"])
def test_every_choice_of_the_animation_tab_is_valid(name):
    choices = choice_labels(SadTalkerOptions, name)
    assert len(choices) > 1
    for label, value in choices:
        assert label
        values = ANIMATION | {"reference": "b.mp4", "ref_info": "blink", name: value}
        assert getattr(build_animation_form(**values).options, name) == value
