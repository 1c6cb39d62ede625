"""Options of the engine and their flags."""

import argparse

import pytest

from wav2lip.engine.option_parsing import add_arguments, client_specs, format_flags, parse_client_options, parse_options
from wav2lip.errors import InputError
from wav2lip.sadtalker.options import DEFAULTS, SadTalkerOptions

# Flags of SadTalker's inference.py that describe a request, and their defaults.
SADTALKER_FLAGS = {
    "ref_eyeblink": None, "ref_pose": None, "pose_style": 0, "batch_size": 2, "size": 256, "expression_scale": 1.0,
    "input_yaw": None, "input_pitch": None, "input_roll": None, "enhancer": None, "background_enhancer": None,
    "still": False, "preprocess": "crop",
}  # fmt: skip


def parse(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser, SadTalkerOptions)
    return parse_options(SadTalkerOptions, parser.parse_args(words))


def test_flags_of_sadtalker_keep_names_and_defaults():
    assert {name: getattr(DEFAULTS, name) for name in SADTALKER_FLAGS} == SADTALKER_FLAGS
    assert parse() == DEFAULTS


def test_lists_of_degrees_are_parsed():
    options = parse("--input_yaw", "-20", "30", "10", "--input_roll", "5", "--still")
    assert (options.input_yaw, options.input_roll, options.still) == ((-20, 30, 10), (5,), True)
    assert parse(*format_flags(options)) == options


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pose_style": 46}, "--pose_style=46: must be from 0 to 45"),
        ({"pose_style": -1}, "must be from 0 to 45"),
        ({"expression_scale": float("nan")}, "--expression_scale=nan: must be a finite number"),
        ({"head_motion_scale": -1}, "--head_motion_scale=-1"),
        ({"input_yaw": (100,)}, "must be degrees from -90 to 90"),
        ({"input_yaw": ()}, "must be degrees"),
        ({"idle": 0}, "--idle=0: must be seconds above 0"),
        ({"idle": float("nan")}, "--idle=nan"),
        ({"size": 300}, "--size=300: must be 256 or 512"),
        ({"batch_size": 0}, "--batch_size=0"),
        ({"preprocess": "Full"}, "--preprocess=Full: must be one of crop"),
        ({"blink": "ref"}, "--blink=ref: requires a video"),
        ({"blink": "off", "ref_eyeblink": "a.mp4"}, "--blink=off: cannot be combined"),
        ({"ref_info": "pose"}, "--ref_info=pose: requires --ref_video"),
        ({"ref_video": "a.mp4", "ref_pose": "b.mp4"}, "--ref_video and --ref_pose: exclude each other"),
        ({"idle": 2, "ref_video": "a.mp4"}, "--idle: cannot be combined"),
        ({"faces": "all"}, "--faces=all: only one face"),
        ({"points": "p.txt", "faces": "1"}, "--points and --faces: both select"),
        ({"mouth": "g.pth", "idle": 2}, "--mouth: requires speech"),
    ],
)
def test_values_out_of_range_are_reported(options, reason):
    with pytest.raises(InputError, match=reason):
        SadTalkerOptions(**options)


def test_videos_of_a_reference():
    options = SadTalkerOptions(ref_video="a.mp4", ref_info="pose+blink")
    assert (options.eye_video, options.pose_video, options.full_video) == ("a.mp4", "a.mp4", None)
    options = SadTalkerOptions(ref_video="a.mp4")
    assert (options.eye_video, options.pose_video, options.full_video) == (None, None, "a.mp4")
    options = SadTalkerOptions(ref_eyeblink="e.mp4", ref_pose="p.mp4")
    assert (options.eye_video, options.pose_video, options.full_video) == ("e.mp4", "p.mp4", None)


def test_clients_cannot_name_files():
    files = {"points", "mouth", "ref_pose", "ref_eyeblink", "ref_video", "enhancer", "face_like"}
    assert not files & client_specs(SadTalkerOptions).keys()
    options = parse_client_options(SadTalkerOptions, {"preprocess": "full", "input_yaw": [0, 20], "still": True})
    assert (options.preprocess, options.input_yaw) == ("full", (0, 20))
