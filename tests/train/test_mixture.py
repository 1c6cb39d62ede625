"""General data mixed into one person's: by the share asked for, sample by sample, in order."""

from functools import partial

import numpy as np
import pytest
import torch

import train.syncnet
from tests.train.conftest import config
from train.contrast import Pairs
from train.data.draws import ClipWindows
from train.data.feeding import batches, loader
from train.data.mixture import Mixture
from train.data.samples import GeneratorSamples, Numbers, SyncNetSamples, open_windows
from train.scores.syncnet_scores import score_expert
from wav2lip.checkpoints import load_checkpoint
from wav2lip.clips import ClipWriter
from wav2lip.errors import InputError


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """One clip of one speaker, brighter than every other."""
    root, rng = tmp_path_factory.mktemp("person"), np.random.default_rng(1)
    with ClipWriter(root, "person/0") as clip:
        for frame in range(40):
            clip.write_frame(frame, rng.integers(200, 255, (24, 20, 3), np.uint8))
        clip.write_audio([rng.normal(0, 0.1, 25_600).astype(np.float32)])
    (root / "filelists").mkdir()
    for split in ("train", "val"):
        (root / f"filelists/{split}.txt").write_text("person/0\n")
    return root


def opened(root):
    return open_windows(root, root / "filelists/train.txt", ClipWindows.for_generator, GeneratorSamples(), seed=4)


def test_each_sample_is_the_one_that_either_data_set_has_under_its_number(person, noise_data):
    own, general = opened(person), opened(noise_data)
    mixed, numbers = Mixture(own, general, 0.5, seed=4), [7, 3, 900, 4, 5, 6, 0, 1, 2, 10**9]
    comes_from_general = mixed.from_general(numbers)
    assert 0 < comes_from_general.sum() < len(numbers)
    for batch in (mixed.__getitems__(numbers), mixed.__getitems__(range(16))):
        assert len(batch.target) in (10, 16)
    batch = mixed.__getitems__(numbers)
    for row, number in enumerate(numbers):
        expected = (general if comes_from_general[row] else own).__getitems__([number])
        alone = mixed.__getitems__([number])
        for whole, single, theirs in zip(batch, alone, expected, strict=True):
            assert torch.equal(whole[row : row + 1], theirs)
            assert torch.equal(single, theirs)


def test_sound_of_one_data_set_is_of_another_clip_than_faces_of_the_other(person, noise_data):
    def windows(root):
        windows_of = partial(ClipWindows.for_syncnet, min_shift=5)
        return open_windows(root, root / "filelists/train.txt", windows_of, SyncNetSamples(5, together=4))

    mixed = Mixture(windows(person), windows(noise_data), 0.5, seed=4)
    batch = mixed.__getitems__(range(16))
    general = mixed.from_general(range(16))
    found = Pairs.of(torch.ones(16, 2), torch.ones(16, 2), batch.heard, batch.shown, 5)
    assert found.right.diagonal().all() and found.wrong.any()
    assert not (found.right | found.wrong)[general][:, ~general].any()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_of_general_data_is_the_one_asked_for_and_says_nothing_of_the_windows_drawn(
    person, noise_data, share
):
    own = opened(person)
    mixed = Mixture(own, opened(noise_data), share, seed=4)
    general = mixed.from_general(range(20_000))
    assert general.double().mean().item() == pytest.approx(share, abs=0.015)
    anchors = own.picks(range(20_000)).anchor.double()  # 30 or so anchors, of 11 frames spread
    assert anchors[general].mean().item() == pytest.approx(anchors[~general].mean().item(), abs=0.8)


def test_workers_mix_the_same_batches(person, noise_data):
    mixed = Mixture(opened(person), opened(noise_data), 0.5, seed=4)
    here, there = (
        [batch for _, batch in zip(range(2), batches(loader(mixed, Numbers(5), 5, n, False)), strict=False)]
        for n in (0, 1)
    )
    assert all(
        torch.equal(a, b) for ours, theirs in zip(here, there, strict=True) for a, b in zip(ours, theirs, strict=True)
    )


def common(person, tmp_path):
    return [f"data_root={person}", f"checkpoint_dir={tmp_path}", "debug=tiny"]


def test_a_trainer_mixes_for_training_and_validates_on_the_person_alone(person, noise_data, tmp_path, monkeypatch):
    validated = []
    monkeypatch.setattr(
        train.syncnet_step,
        "score_expert",
        lambda fabric, expert, given: score_expert(
            fabric, expert, (validated.append(b.faces.min()) or b for b in given)
        ),
    )
    cfg = config("syncnet", *common(person, tmp_path), f"mix_root={noise_data}", "mix_share=0.3")
    assert train.syncnet.train(cfg) == 0
    assert validated
    assert min(validated) > 0.6  # 200 of 255 and what JPEG makes of it; noise from the other set is darker
    assert load_checkpoint(tmp_path / "checkpoint_step000000006.pth").global_step == 6


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("mix_share=1.0", "mix_share=1.0: is not between 0 and 1"),
        ("mix_root=/nowhere", "/nowhere: no such folder; give the mix_root that preprocess made"),
    ],
)
def test_a_mixture_that_cannot_be_made_ends_in_one_sentence(person, tmp_path, override, sentence):
    with pytest.raises(InputError, match=sentence):
        train.syncnet.train(config("syncnet", *common(person, tmp_path), override))
