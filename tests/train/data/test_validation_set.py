"""Fixed validation samples: even spread, matching and mismatched pairs, corrupt images."""

import shutil

import pytest
import torch

from tests.helpers.validation import open_expert_windows
from train.data.index import WindowIndex
from train.data.samples import GeneratorSamples, open_dataset
from train.data.validation_set import build_validation_set, spread_evenly


@pytest.fixture(scope="module")
def clips(noise_data, tmp_path_factory):
    """The three clips of noise, all for validation."""
    root = tmp_path_factory.mktemp("validation") / "data"
    shutil.copytree(noise_data, root)
    (root / "filelists" / "val.txt").write_text("".join(f"speaker{n}/00000\n" for n in range(3)))
    return root


def test_spread_evenly_covers_every_clip():
    clip = torch.tensor([0] * 10 + [1] * 2 + [2] * 4)
    # One each; three more are shared 9 : 1 : 3, so two and one; at midpoints of equal parts of each clip.
    assert spread_evenly(clip, 6).tolist() == [1, 5, 8, 11, 13, 15]
    assert spread_evenly(clip, 3).tolist() == [5, 11, 14]
    assert spread_evenly(clip, 1).tolist() == [11]  # the middle clip
    assert spread_evenly(clip, 16).tolist() == spread_evenly(clip, 99).tolist() == list(range(16))
    assert spread_evenly(clip[:0], 4).tolist() == []


@pytest.mark.parametrize("count", [8, 9, 40])
def test_each_anchor_has_a_matching_and_a_mismatched_mouth(count, clips):
    indices = build_validation_set(open_expert_windows(clips), count).indices
    assert len(indices.clip) == count // 2 * 2
    assert set(indices.clip.tolist()) == {0, 1, 2}
    is_match = indices.anchor == indices.other
    anchors = list(zip(indices.clip.tolist(), indices.anchor.tolist(), strict=True))
    for side in (is_match, ~is_match):
        assert sorted(anchor for anchor, chosen in zip(anchors, side, strict=True) if chosen) == sorted(set(anchors))
    assert ((indices.anchor - indices.other)[~is_match].abs() >= 5).all()


def test_no_count_takes_every_anchor(clips):
    # 50 frames have 46 windows, 0 to 45; 2 s of audio have 161 mel columns, so the last audio window begins at
    # column 145 at the latest, which is frame 45 (144).
    assert len(build_validation_set(open_expert_windows(clips), None)) == 2 * 3 * 46
    dataset = open_dataset(clips, clips / "filelists" / "val.txt", WindowIndex.for_generator, GeneratorSamples())
    # Frame 0 has no audio before it. The last frame of window 42 is 46, whose own audio begins with frame 45.
    assert len(build_validation_set(dataset, None)) == 3 * len(range(1, 42 + 1))


def test_corrupt_image_skips_its_windows_alone(clips, tmp_path, caplog):
    root = tmp_path / "data"
    shutil.copytree(clips, root)
    validation = build_validation_set(open_expert_windows(root), 12)
    clip, first = int(validation.indices.clip[0]), int(validation.indices.other[0])
    name = validation.clips[clip]
    (root / name / f"{first}.jpg").write_bytes(b"not an image")
    affected = (validation.indices.clip == clip) & (validation.indices.other <= first)
    affected &= validation.indices.other > first - 5
    batch = validation.__getitems__(range(12))
    assert len(batch.label) == 12 - int(affected.sum())
    assert f"{name}/{first}.jpg" in caplog.text
