"""Options as flags, as values of remote clients and as labels: all derive from the fields."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest

from wav2lip import infer
from wav2lip.engine.option_parsing import (
    add_arguments,
    choice_labels,
    client_specs,
    client_values,
    file_flags,
    format_flags,
    option_specs,
    parse_client_options,
    parse_options,
    parse_time,
)
from wav2lip.engine.options import FaceOptions, InputOptions, OutputOptions
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSyncOptions
from wav2lip.sadtalker import SadTalkerOptions

CHANGED = {
    "static": True, "fps": 30.0, "start": 1.5, "end": 2.5, "crop": (0, 50, 5, -1), "rotate": True,
    "pads": (1, 2, 3, 4), "smooth": False, "face_at": (0.5, 20.0, 30.0), "cache": False, "metadata": False,
    "crf": 20.0, "fit": "trim", "silence": "off", "wav2lip_batch_size": 4,
}  # fmt: skip


def parse_flags(*flags: str) -> LipSyncOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser, LipSyncOptions)
    return parse_options(LipSyncOptions, parser.parse_args(list(flags)))


def test_options_without_flags_have_their_defaults():
    assert parse_flags() == LipSyncOptions()


@pytest.mark.parametrize("options", [LipSyncOptions, SadTalkerOptions])
@pytest.mark.parametrize(("value", "images"), [
    (None, ()), ("a.png", (Path("a.png"),)), (Path("a.png"), (Path("a.png"),)), (["a.png"], (Path("a.png"),)),
])  # fmt: skip
def test_face_like_is_one_image_or_several(options, value, images):
    assert options(face_like=value).face_like == images


def test_format_flags_inverts_parse_options():
    options = LipSyncOptions(**CHANGED)
    assert parse_flags(*format_flags(options)) == options
    assert format_flags(LipSyncOptions()) == []
    with_box = LipSyncOptions(box=(1, 2, 3, 4))
    assert parse_flags(*format_flags(with_box)) == with_box


def test_lipsync_options_are_the_shared_groups_and_its_own():
    shared = {field.name for group in (InputOptions, FaceOptions, OutputOptions) for field in fields(group)}
    own = {field.name for field in fields(LipSyncOptions)} - shared
    assert own == {"fit", "short", "wav2lip_batch_size", "blend", "gate", "align", "silence", "precision", "compat"}
    assert all(spec.help for spec in option_specs(LipSyncOptions).values())


@pytest.mark.parametrize("pads", [None, (0, 10, 0, 0)])
def test_auto_pads_are_none_on_the_command_line_and_for_clients(pads):
    words = ["auto"] if pads is None else ["0", "10", "0", "0"]
    assert parse_flags("--pads", *words).pads == pads
    assert parse_client_options(LipSyncOptions, {"pads": "auto" if pads is None else list(pads)}).pads == pads


def test_client_values_survive_json():
    options = parse_client_options(LipSyncOptions, {"pads": [1, 2, 3, 4], "face_at": [0, 1, 1], "fit": "freeze"})
    values = json.loads(json.dumps(client_values(options)))
    assert parse_client_options(LipSyncOptions, values) == options


@pytest.mark.parametrize("name", ["face_like", "enhancer", "cache", "max_pixels", "codec", "unknown"])
def test_client_may_not_set_files_and_unknown_options(name):
    assert name not in client_specs(LipSyncOptions)
    with pytest.raises(InputError, match=rf"^{name}: unknown option"):
        parse_client_options(LipSyncOptions, {name: "x"})


@pytest.mark.parametrize(("name", "value"), [
    ("fps", float("nan")), ("fps", 61), ("start", float("inf")), ("resize_factor", 65), ("pads", [0, 1 << 20, 0, 0]),
    ("pads", [0, 0, 0]), ("faces", "0" * 21), ("face_at", [0.0, float("inf"), 1.0]), ("blend", "x"), ("fps", "fast"),
])  # fmt: skip
def test_client_value_outside_limits_is_rejected(name, value):
    with pytest.raises(InputError, match=name):
        parse_client_options(LipSyncOptions, {name: value})


def test_choice_labels_pair_labels_and_values():
    assert [value for _, value in choice_labels(LipSyncOptions, "fit")] == ["loop", "pingpong", "freeze", "trim"]


def test_file_flags_take_a_file():
    assert file_flags(LipSyncOptions) == ["--face_like", "--sync_expert", "--enhancer", "--background_enhancer"]


@pytest.mark.parametrize(("text", "expected"), [
    ("83.5", 83.5), ("0", 0.0), (".5", 0.5), ("1:23.5", 83.5), ("01:02:03.004", 3723.004), ("90:00", 5400.0),
])  # fmt: skip
def test_parse_time(text, expected):
    assert parse_time(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "-3", "1:2:3:4", "one", "1,5", "nan", "inf"])
def test_parser_rejects_invalid_time(text, capsys):
    with pytest.raises(SystemExit, match="2"):
        infer.build_parser().parse_args(["--start", text])
    assert "argument --start" in capsys.readouterr().err
