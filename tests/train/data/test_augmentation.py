"""Augmentation: other boxes, mirrored faces and other colors."""

import cv2
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from tests.helpers.training import open_noise
from train.data.augmentation import Augmentation, AugmentedDataset, move_edges, shift_bands
from train.setup import augment


def test_move_edges_equals_a_crop_of_the_moved_box():
    y, x = np.mgrid[:200, :200].astype(np.float32)
    scene = np.stack([60 + 0.5 * x, 60 + 0.5 * y, 80 + 0.2 * x + 0.2 * y], axis=-1).round().astype(np.uint8)

    def cut(left, top, right, bottom):
        return cv2.resize(scene[top:bottom, left:right], (96, 96), interpolation=cv2.INTER_LINEAR)

    frames = torch.from_numpy(np.stack([cut(40, 40, 140, 140)] * 2))[None]
    moved = move_edges(frames, torch.tensor([[0.05, 0.1, -0.02, -0.08]]))
    difference = moved[0].int() - torch.from_numpy(cut(45, 50, 138, 132)).int()
    assert difference[:, 2:-2, 2:-2].abs().max() <= 2


def test_color_jitter_scales_each_channel_of_a_sample_by_one_gain():
    frames = torch.full((8, 3, 4, 4, 3), 100, dtype=torch.uint8)
    jittered = Augmentation(color_jitter=0.2).apply_to_frames(frames, range(8), seed=0)
    pixels = jittered.flatten(1, 3)
    assert torch.equal(pixels, pixels[:, :1].expand_as(pixels))  # all pixels of all frames of a sample alike
    gains = pixels[:, 0].float() / 100
    assert gains.min() >= 0.8 and gains.max() <= 1.2
    assert gains.std(dim=0).min() > 0.05 and gains.std(dim=1).min() > 0  # samples and channels differ
    white = Augmentation(color_jitter=0.2).apply_to_frames(torch.full_like(frames, 255), range(8), seed=0)
    assert white.max() == 255 and white.min() >= 204  # clipped, not wrapped


def test_flip_mirrors_about_its_share_of_the_samples():
    frames = torch.arange(4, dtype=torch.uint8)[None, None, None, :, None].expand(1000, 2, 4, 4, 3)
    flipped = Augmentation(flip=0.3).apply_to_frames(frames, range(1000), seed=0)
    is_flipped = flipped[:, 0, 0, 0, 0] == 3
    assert is_flipped.float().mean() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(flipped[is_flipped], frames[is_flipped].flip(3))
    assert torch.equal(flipped[~is_flipped], frames[~is_flipped])


@pytest.mark.parametrize("options", [{"box_jitter": 0.1}, {"flip": 0.5}, {"color_jitter": 0.2}])
def test_augmentation_depends_on_the_sample_number_alone(options, noise_root):
    dataset = open_noise(noise_root, "generator", "clips")
    augmented = AugmentedDataset(dataset, Augmentation(**options), seed=0)
    numbers = [4, 5, 6, 7, 8, 9]
    batch, plain = augmented.__getitems__(numbers), dataset.__getitems__(numbers)
    (single,) = augmented.__getitems__([6]).target
    assert torch.equal(batch.target[2], single)
    assert torch.equal(batch.frame_mels, plain.frame_mels)
    assert not torch.equal(batch.target, plain.target)
    assert not torch.equal(batch.reference, plain.reference)


def test_shift_bands_moves_rows_and_repeats_the_outermost():
    mels = torch.arange(80.0)[None, None, :, None].expand(3, 2, 80, 16)
    up, down, same = shift_bands(mels, torch.tensor([2, -3, 0]))[:, :, :, 0]
    assert torch.equal(up, torch.tensor([0.0, 0, *range(78)]).expand(2, 80))
    assert torch.equal(down, torch.tensor([*range(3, 80), 79.0, 79, 79]).expand(2, 80))
    assert torch.equal(same, mels[2, :, :, 0])


def test_mel_shift_moves_all_audio_of_the_generator_alike_and_none_of_the_expert(noise_root):
    dataset = open_noise(noise_root, "generator", "clips")
    numbers = list(range(40))
    batch = AugmentedDataset(dataset, Augmentation(mel_shift=2), seed=0, first=1000).__getitems__(numbers)
    plain = dataset.__getitems__(numbers)
    assert torch.equal(batch.window_mel, plain.window_mel) and torch.equal(batch.target, plain.target)
    shifts = []
    for shifted, mels in zip(batch.frame_mels[:, :, 0], plain.frame_mels[:, :, 0], strict=True):
        (shift,) = (k for k in range(-2, 3) if torch.equal(shifted, shift_bands(mels[None], torch.tensor([k]))[0]))
        shifts.append(shift)
    assert set(shifts) == {-2, -1, 0, 1, 2}
    (single,) = AugmentedDataset(dataset, Augmentation(mel_shift=2), seed=0).__getitems__([6]).frame_mels
    assert torch.equal(single, batch.frame_mels[6])


def test_no_augmentation_changes_nothing(noise_root):
    dataset = open_noise(noise_root, "generator", "clips")
    none = AugmentedDataset(dataset, Augmentation(), seed=0).__getitems__([4, 5])
    plain = dataset.__getitems__([4, 5])
    assert not Augmentation()
    assert torch.equal(none.target, plain.target) and torch.equal(none.reference, plain.reference)


def test_batches_before_the_first_augmented_sample_are_unchanged(noise_root):
    dataset = open_noise(noise_root, "generator", "clips")
    augmented = AugmentedDataset(dataset, Augmentation(flip=1), seed=0, first=8)
    before, after = ([4, 5, 6, 7], [8, 9, 10, 11])
    assert torch.equal(augmented.__getitems__(before).target, dataset.__getitems__(before).target)
    assert torch.equal(augmented.__getitems__(after).target, dataset.__getitems__(after).target.flip(3))


def test_augmentation_start_is_a_share_of_the_samples_of_all_processes(noise_root):
    dataset = open_noise(noise_root, "generator", "clips")
    cfg = OmegaConf.create({"box_jitter": 0, "flip": 0.5, "color_jitter": 0, "mel_shift": 0, "augmentation_start": 0.25,
                            "seed": 0, "max_steps": 400, "grad_accum_steps": 2, "batch_size": 8})  # fmt: skip
    assert augment(cfg, dataset, processes=4).first == 100 * 2 * 4 * 8
    cfg.augmentation_start, cfg.max_steps = 0, None
    assert augment(cfg, dataset, processes=4).first == 0
    cfg.flip = 0
    assert augment(cfg, dataset, processes=4) is dataset


def test_frames_of_the_expert_are_augmented_too(noise_root):
    dataset = open_noise(noise_root, "syncnet", "clips")
    batch, plain = (data.__getitems__([4, 5]) for data in (AugmentedDataset(dataset, Augmentation(flip=1), 0), dataset))
    assert torch.equal(batch.frames, plain.frames.flip(3))
    assert torch.equal(batch.mel, plain.mel) and torch.equal(batch.label, plain.label)
