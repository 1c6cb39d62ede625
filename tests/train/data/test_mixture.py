"""Replay: general data mixed into one person's, by the configured fraction, sample by sample."""

import numpy as np
import pytest
import torch

import train.syncnet
from tests.helpers.trainers import compose_config
from tests.helpers.training import index_for_syncnet
from train.data.index import WindowIndex
from train.data.loader import build_loader, iterate
from train.data.mixture import ReplayMixture
from train.data.samples import GeneratorSamples, ResumableSampler, SyncNetSamples, open_dataset
from train.losses.contrastive import PairwiseSimilarity
from train.validation.syncnet import score_expert
from wav2lip.checkpoints import load_checkpoint
from wav2lip.dataset.clip import ClipWriter
from wav2lip.errors import InputError


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """A clip of one speaker, brighter than all others."""
    root, rng = tmp_path_factory.mktemp("person"), np.random.default_rng(1)
    with ClipWriter(root, "person/0") as clip:
        for frame in range(40):
            clip.write_frame(frame, rng.integers(200, 255, (24, 20, 3), np.uint8))
        clip.write_audio([rng.normal(0, 0.1, 25_600).astype(np.float32)])
    (root / "filelists").mkdir()
    for split in ("train", "val"):
        (root / f"filelists/{split}.txt").write_text("person/0\n")
    return root


def open_train_set(root):
    return open_dataset(root, root / "filelists/train.txt", WindowIndex.for_generator, GeneratorSamples(), seed=4)


def test_sample_is_that_of_either_data_set_under_its_number(person, noise_data):
    main, replay = open_train_set(person), open_train_set(noise_data)
    mixed, numbers = ReplayMixture(main, replay, 0.5, seed=4), [7, 3, 900, 4, 5, 6, 0, 1, 2, 10**9]
    is_replay = mixed.is_replay(numbers)
    assert 0 < is_replay.sum() < len(numbers)
    for batch in (mixed.__getitems__(numbers), mixed.__getitems__(range(16))):
        assert len(batch.target) in (10, 16)
    batch = mixed.__getitems__(numbers)
    for row, number in enumerate(numbers):
        expected = (replay if is_replay[row] else main).__getitems__([number])
        single_batch = mixed.__getitems__([number])
        for mixed_rows, single_rows, expected_rows in zip(batch, single_batch, expected, strict=True):
            assert torch.equal(mixed_rows[row : row + 1], expected_rows)
            assert torch.equal(single_rows, expected_rows)


def test_pairs_across_data_sets_do_not_count(person, noise_data):
    def open_groups(root):
        samples = SyncNetSamples(5, windows_per_clip=4)
        return open_dataset(root, root / "filelists/train.txt", index_for_syncnet, samples)

    mixed = ReplayMixture(open_groups(person), open_groups(noise_data), 0.5, seed=4)
    batch = mixed.__getitems__(range(16))
    replay = mixed.is_replay(range(16))
    pairs = PairwiseSimilarity.from_embeddings(
        torch.ones(16, 2), torch.ones(16, 2), batch.audio_position, batch.face_position, 5
    )
    assert pairs.positive.diagonal().all() and pairs.negative.any()
    assert not (pairs.positive | pairs.negative)[replay][:, ~replay].any()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_replay_fraction_is_independent_of_windows(person, noise_data, fraction):
    main = open_train_set(person)
    mixed = ReplayMixture(main, open_train_set(noise_data), fraction, seed=4)
    replay = mixed.is_replay(range(20_000))
    assert replay.double().mean().item() == pytest.approx(fraction, abs=0.015)
    anchors = main.indices(range(20_000)).anchor.double()  # 30 or so anchors, of 11 frames spread
    assert anchors[replay].mean().item() == pytest.approx(anchors[~replay].mean().item(), abs=0.8)


def test_mixed_batches_are_equal_with_workers(person, noise_data):
    mixed = ReplayMixture(open_train_set(person), open_train_set(noise_data), 0.5, seed=4)
    main_process, worker_process = (
        [
            batch
            for _, batch in zip(range(2), iterate(build_loader(mixed, ResumableSampler(5), 5, n, False)), strict=False)
        ]
        for n in (0, 1)
    )
    assert all(
        torch.equal(a, b)
        for main_batch, worker_batch in zip(main_process, worker_process, strict=True)
        for a, b in zip(main_batch, worker_batch, strict=True)
    )


def common(person, tmp_path):
    return [f"data_root={person}", f"checkpoint_dir={tmp_path}", "debug=tiny"]


def test_trainer_mixes_for_training_but_not_for_validation(person, noise_data, tmp_path, monkeypatch):
    validated = []
    monkeypatch.setattr(
        train.steps.syncnet,
        "score_expert",
        lambda fabric, expert, batches: score_expert(
            fabric, expert, (validated.append(b.faces.min()) or b for b in batches)
        ),
    )
    cfg = compose_config("syncnet", *common(person, tmp_path), f"replay_root={noise_data}", "replay_fraction=0.3")
    assert train.syncnet.run(cfg) == 0
    assert validated
    assert min(validated) > 0.6  # 200 of 255 before JPEG; the other set is darker
    assert load_checkpoint(tmp_path / "checkpoint_step000000006.pth").global_step == 6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("replay_fraction=1.0", "replay_fraction=1.0: must be a number > 0 and < 1"),
        ("replay_root=/nowhere", "replay_root=/nowhere: no such folder"),
    ],
)
def test_invalid_replay_keys_are_rejected(person, tmp_path, override, message):
    with pytest.raises(InputError, match=message):
        train.syncnet.run(compose_config("syncnet", *common(person, tmp_path), override))
