"""Environment of the demo's commands, and Hydra overrides of paths."""

import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from wav2lip.demo.commands import path_override, run_command, run_together


@pytest.mark.parametrize("name", ["plain/a-b_1.mp4", "a b", "it's", "x=1,y", "$HOME", "ключ", "two words, it's"])
def test_path_override_survives_hydra_grammar(name):
    assert OverridesParser.create().parse_override(path_override("out", Path(name))).value() == name


def test_path_override_quotes_only_where_needed():
    assert path_override("out", Path("runs/a")) == "out=runs/a"


@pytest.mark.parametrize(("own", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
@pytest.mark.parametrize("run", [run_command, lambda *command: run_together([command])])
def test_threads_wait_passively_unless_the_user_says_otherwise(run, own, expected, tmp_path, monkeypatch):
    module = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w', encoding='utf-8'))"
    (tmp_path / "write_environment.py").write_text(module, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if own:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    run("write_environment", tmp_path / "environment.json")
    environment = json.loads((tmp_path / "environment.json").read_text(encoding="utf-8"))
    assert environment["OMP_WAIT_POLICY"] == expected
