"""The recipe still learns, and the marks that say so tell it from a broken one."""

import pytest

from benchmarks.quality import OF_EXPERT, SIZES, known, learn, missed, row, summary, worse
from wav2lip.errors import InputError

GOOD = {"accuracy": 0.85, "auc": 0.9, "sync": 0.7, "expert_confidence": 0.2, "expert_offset": 0, "psnr_mouth": 15,
        "ssim_mouth": 0.4, "sharpness": 0.3}  # fmt: skip


# Runs of which docs/evaluation.md tells: three seeds of the recipe as it is, without a sync loss, with swapped sounds.
LEARNED = [{"accuracy": 0.875, "expert_confidence": found, "expert_offset": 0} for found in (0.286, 0.302, 0.498)]
NO_SYNC_LOSS = {"accuracy": 0.887, "expert_confidence": 0.059, "expert_offset": 15}
SWAPPED_SOUNDS = {"accuracy": 0.465}


def test_marks_tell_what_was_learned_from_a_recipe_without_a_sync_loss_and_one_with_swapped_sounds():
    assert [missed(scores, 0) for scores in LEARNED] == [[], [], []]
    assert [sentence.split()[2] for sentence in missed(NO_SYNC_LOSS, 0)] == ["expert_confidence", "expert_offset"]
    assert [sentence.split()[2] for sentence in missed(SWAPPED_SOUNDS, 0, OF_EXPERT)] == ["accuracy"]


def test_a_mean_that_is_worse_by_more_than_its_tolerance_is_told_and_a_better_one_is_not():
    before = summary("short", [0], [GOOD])
    changed = {"auc": 0.83, "sync": 0.9, "psnr_mouth": 20, "sharpness": 1.6, "expert_offset": -2}
    told = worse(summary("short", [0], [GOOD | changed]), before)
    assert [sentence.split()[0] for sentence in told] == ["auc", "expert_offset"]
    assert "auc is 0.830 and was 0.900" in told[0]
    assert worse(summary("short", [0], [GOOD | {"sharpness": 3.9}]), before)[0].startswith("sharpness is 3.900")


def test_a_score_that_is_no_number_is_missed_and_worse():
    lost = GOOD | {"expert_confidence": float("nan")}
    assert "expert_confidence is nan" in missed(lost, 0)[0]
    assert worse(summary("short", [0], [lost]), summary("short", [0], [GOOD]))


def test_means_and_spreads_are_over_the_seeds():
    result = summary("short", [0, 1], [GOOD, GOOD | {"accuracy": 0.75}])
    assert (result["mean"]["accuracy"], result["spread"]["accuracy"]) == (0.8, pytest.approx(0.1 / 2**0.5, rel=1e-3))
    assert "| short | 2 | 0.8 ± 0.071 | 0.9 ± 0 |" in row(result)


def test_a_record_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"none.json: cannot be read .*; check --against"):
        known(tmp_path / "none.json", "short")
    (tmp_path / "record.json").write_text('{"full": {}}')
    with pytest.raises(InputError, match="has no record of --size short; it has full"):
        known(tmp_path / "record.json", "short")


@pytest.mark.slow
def test_the_recipe_still_learns_to_hear_sync_and_to_paint_it(tmp_path):
    scores = learn(tmp_path, SIZES["short"], seed=0)
    assert missed(scores, 0) == []
    assert scores["sync"] < scores["sync_of_input"]
