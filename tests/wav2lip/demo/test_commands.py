"""Hydra overrides of paths."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from wav2lip.demo.commands import path_override


@pytest.mark.parametrize("name", ["plain/a-b_1.mp4", "a b", "it's", "x=1,y", "$HOME", "ключ", "two words, it's"])
def test_path_override_survives_hydra_grammar(name):
    assert OverridesParser.create().parse_override(path_override("out", Path(name))).value() == name


def test_path_override_quotes_only_where_needed():
    assert path_override("out", Path("runs/a")) == "out=runs/a"
