"""The whole chain, run tiny: every stage works, and a run that did not learn says so."""

import pytest

from wav2lip.demo import Scores, Size, demo, quoted
from wav2lip.media import probe, read_frames


def scores(**changes):
    good = {"accuracy": 0.9, "auc": 0.95, "val_sync": 0.3, "val_sync_of_input": 2.0, "result_sync": 0.4,
            "untouched_sync": 1.5}  # fmt: skip
    return Scores(**(good | changes))


def test_a_demo_that_learned_has_nothing_to_complain_of():
    assert scores().failures() == []


@pytest.mark.parametrize(("change", "word"), [
    ({"accuracy": 0.52}, "accuracy"),
    ({"val_sync": 2.0}, "held-out sound"),
    ({"result_sync": 1.6}, "the result's lips"),
    ({"result_sync": float("inf")}, "no face can be found"),
])  # fmt: skip
def test_each_thing_not_learned_is_said(change, word):
    (sentence,) = scores(**change).failures()
    assert word in sentence


def test_any_folder_name_survives_the_override_grammar():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for name in ("a b", "it's", "x=1,y", "$HOME", "ключ"):
        parsed = OverridesParser.create().parse_override(f"out={quoted(name)}")
        assert parsed.value() == name


@pytest.mark.slow
def test_the_whole_chain_runs_and_an_untrained_result_exits_with_1(tmp_path, caplog):
    size = Size(clips=4, seconds=3, expert_steps=4, generator_steps=4, speech_seconds=1.6)
    out = tmp_path / "a demo's folder"
    assert demo(out, size=size) == 1
    assert "did not learn" in caplog.text
    made = {"index.html", "curves.png", "shift.png", "strip.png", "result.mp4", "untouched.mp4"}
    assert made <= {path.name for path in out.iterdir()}
    assert probe(out / "result.mp4").require_audio().rate > 0
    assert sum(1 for _ in read_frames(out / "result.mp4")) == 40  # 1.6 s at 25 frames a second
