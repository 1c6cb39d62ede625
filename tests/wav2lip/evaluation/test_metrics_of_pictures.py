"""Metrics of pictures: perfect for equal videos, worse the way one would expect, and equal to other libraries'."""

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics
import torch
from torch import nn
from torchvision.models import alexnet

from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.identity import Identity
from wav2lip.evaluation.metrics.landmarks import Landmarks, peaks
from wav2lip.evaluation.metrics.likeness import Likeness
from wav2lip.evaluation.metrics.look import Look
from wav2lip.evaluation.metrics.metric import Scores
from wav2lip.evaluation.metrics.perceptual import CHANNELS, LPIPS, Perceptual
from wav2lip.evaluation.metrics.scripted import load_scripted
from wav2lip.evaluation.metrics.sharpness import Sharpness
from wav2lip.evaluation.metrics.steadiness import Steadiness, silences


@pytest.fixture(scope="module")
def faces(portrait) -> list[np.ndarray]:
    """A face that moves a little, (100, 90, 3)."""
    return [np.ascontiguousarray(portrait[60 + n : 160 + n, 60:150]) for n in range(6)]


def scores(measure, made, truth=None, source=None) -> Scores:
    for number, face in enumerate(made):
        before = tuple(made[number - back] for back in (1, 2) if number - back >= 0)
        true = truth[number] if truth else None
        measure.add(Look(number, face, before, true, source[number] if source else None))
    return measure.scores()


def blurred(face: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(face, (0, 0), sigma)


def noisy(face: np.ndarray, levels: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(face + rng.normal(0, levels, face.shape), 0, 255).astype(np.uint8)


def test_equal_videos_have_the_perfect_value_of_every_likeness(faces):
    found = scores(Likeness(), faces, faces).values
    assert found == {"psnr": np.inf, "ssim": 1.0, "psnr_mouth": np.inf, "ssim_mouth": 1.0}


def test_psnr_and_ssim_are_scikit_images(faces):
    made = [noisy(blurred(face, 1), 4) for face in faces]
    found = scores(Likeness(), made, faces).values
    assert found["psnr"] == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(np.stack(faces), np.stack(made)), abs=1e-6
    )
    expected = [
        skimage.metrics.structural_similarity(
            a[50:], b[50:], channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in zip(faces, made, strict=True)
    ]
    assert found["ssim_mouth"] == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.parametrize("spoil", [blurred, noisy])
def test_likeness_falls_the_more_frames_are_spoilt(faces, spoil):
    steps = [scores(Likeness(), [spoil(f, s) for f in faces], faces).values for s in (0.7, 2, 6)]
    for metric in ("psnr", "ssim", "psnr_mouth", "ssim_mouth"):
        values = [step[metric] for step in steps]
        assert values == sorted(values, reverse=True)


def test_likeness_without_a_truth_is_not_computed_and_not_zero(faces):
    found = scores(Likeness(), faces)
    assert not found.values
    assert all("give one" in why for why in found.missing.values())


def test_sharpness_is_one_for_the_source_less_when_blurred_more_when_noisy(faces):
    def sharpness(made):
        return scores(Sharpness(), made, source=faces).values["sharpness"]

    assert sharpness(faces) == 1
    assert sharpness([blurred(f, 2) for f in faces]) < sharpness([blurred(f, 1) for f in faces]) < 0.6
    assert sharpness([noisy(f, 8) for f in faces]) > 1.2


def test_sharpness_is_the_ratio_of_the_variances_of_scipys_laplacian(faces):
    def edges(face):
        return scipy.ndimage.laplace(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[50:].astype(float), mode="mirror").var()

    made = [blurred(face, 1) for face in faces]
    expected = sum(map(edges, made)) / sum(map(edges, faces))
    assert scores(Sharpness(), made, source=faces).values["sharpness"] == pytest.approx(expected, rel=1e-5)


def even(level: int) -> np.ndarray:
    return np.full((40, 40, 3), level, np.uint8)


def test_flicker_is_zero_for_a_still_and_a_ramp_and_four_amplitudes_for_alternating_brightness():
    def flicker(levels):
        return scores(Steadiness(np.zeros(0, bool)), [even(level) for level in levels]).values["flicker"]

    assert flicker([90] * 6) == 0
    assert flicker(range(90, 120, 5)) == 0
    assert flicker([97, 103] * 3) == 12  # 100 - 3, 100 + 3, ...


def sound(*stretches: tuple[float, int]) -> np.ndarray:
    """Noise of some loudness for some frames."""
    rng = np.random.default_rng(0)
    return np.concatenate([rms * rng.standard_normal(640 * frames) for rms, frames in stretches]).astype(np.float32)


def test_silences_are_long_pauses_less_three_frames_at_both_ends():
    silent = silences(sound((0.1, 10), (0.0005, 20), (0.1, 5), (0.0005, 7), (0.1, 5)))
    assert np.flatnonzero(silent).tolist() == list(range(13, 27))


def test_a_sound_that_is_never_loud_is_all_silence_and_none_has_no_frames():
    assert silences(np.zeros(640 * 10, np.float32)).sum() == 4
    assert len(silences(np.zeros(100, np.float32))) == 0


def test_motion_in_silence_counts_there_only():
    silent = np.array([False] * 3 + [True] * 4 + [False] * 3)
    still, restless = [even(0)] * 10, [even(10 * (n % 2)) for n in range(10)]
    assert scores(Steadiness(silent), still).values["silence_motion"] == 0
    assert scores(Steadiness(silent), restless).values["silence_motion"] == 10
    speaking = [even(10 * (n % 2)) if not silent[n] else even(0) for n in range(10)]
    assert scores(Steadiness(silent), speaking).values["silence_motion"] == 0
    assert "sound with pauses" in scores(Steadiness(~silent & False), restless).missing["silence_motion"]


def test_lpips_is_the_weighed_distance_of_alexnets_normalised_features(tmp_path):
    torch.manual_seed(0)
    trunk = alexnet(weights=None)
    weights = {f"lin{n}.model.1.weight": torch.rand(1, c, 1, 1) for n, c in enumerate(CHANNELS)}
    torch.save(trunk.state_dict(), tmp_path / "alexnet.pth")
    torch.save(weights, tmp_path / "alex.pth")
    network = LPIPS.from_files(tmp_path / "alexnet.pth", tmp_path / "alex.pth")
    made, true = torch.rand(2, 3, 70, 80), torch.rand(2, 3, 70, 80)
    shift, scale = torch.tensor([-0.03, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.45])
    expected = torch.zeros(2)
    a, b = (((2 * p - 1).movedim(1, -1) - shift) / scale for p in (made, true))
    a, b = a.movedim(-1, 1), b.movedim(-1, 1)
    taps = 0
    for layer in trunk.features:
        a, b = layer(a), layer(b)
        if isinstance(layer, nn.ReLU):
            unit = [x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in (a, b)]
            weighed = ((unit[0] - unit[1]) ** 2 * weights[f"lin{taps}.model.1.weight"]).sum(dim=1)
            expected += weighed.flatten(1).mean(dim=1).detach()
            taps += 1
    assert taps == 5
    assert network(made, true) == pytest.approx(expected, rel=1e-4)
    assert network(made, made).tolist() == [0, 0]
    small = [np.zeros((33, 40, 3), np.uint8)]
    assert scores(Perceptual(network), small, small).values == {"lpips": 0}


def test_lpips_without_weights_says_which_and_a_wrong_file_is_named(faces, tmp_path):
    assert "--lpips_weights FILE" in scores(Perceptual(None), faces, faces).missing["lpips"]
    torch.save({"a": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match=r"wrong.pth: has no 'features.0.weight'"):
        LPIPS.from_files(tmp_path / "wrong.pth", tmp_path / "wrong.pth")


class BrightestSpot(nn.Module):
    """Heat maps of a landmark network: for every point the brightness itself."""

    def forward(self, faces):
        return faces.mean(dim=1, keepdim=True).repeat(1, 68, 1, 1)


def spot(x: int, y: int) -> np.ndarray:
    face = np.zeros((64, 128, 3), np.uint8)
    face[y - 1 : y + 2, x - 1 : x + 2] = 100
    face[y, x] = 255
    return face


def test_lmd_is_the_distance_of_points_in_percent_of_the_boxs_width():
    made, true = [spot(30, 20)] * 3, [spot(33, 24)] * 3
    found = scores(Landmarks(BrightestSpot()), made, true).values["lmd"]
    assert found == pytest.approx(100 * np.hypot(3, 4) / 128, rel=0.05)
    assert scores(Landmarks(BrightestSpot()), made, made).values["lmd"] == 0
    assert "--landmark_network" in scores(Landmarks(None), made, made).missing["lmd"]


def test_peaks_lean_by_a_quarter_of_a_cell_to_the_higher_neighbour():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 3, 4], maps[0, 0, 3, 5], maps[0, 0, 2, 4] = 5, 2, 1
    assert peaks(maps)[0, 0].tolist() == [(4 + 0.25 + 0.5) / 8, (3 - 0.25 + 0.5) / 8]


class Colours(nn.Module):
    """The vector of a face: its mean colour."""

    def forward(self, faces):
        return faces.mean(dim=(2, 3))


def test_identity_is_the_cosine_of_the_vectors_of_a_network_from_a_file(tmp_path):
    torch.jit.save(torch.jit.trace(Colours(), torch.zeros(2, 3, 112, 112)), tmp_path / "colours.pt")
    network = load_scripted(tmp_path / "colours.pt", "--identity_network")
    red, white = np.full((40, 40, 3), (255, 0, 0), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    assert scores(Identity(network), [white], source=[white]).values["identity"] == pytest.approx(1)
    # (1, -1, -1) with (1, 1, 1)
    assert scores(Identity(network), [red], source=[white]).values["identity"] == pytest.approx(-1 / 3, abs=1e-5)
    assert "--identity_network" in scores(Identity(None), [red], source=[red]).missing["identity"]


def test_a_network_that_answers_in_another_shape_is_said(faces):
    with pytest.raises(InputError, match=r"it has to answer \(N, D\)"):
        scores(Identity(BrightestSpot()), faces, source=faces)


def test_a_file_that_is_no_network_is_said(tmp_path):
    (tmp_path / "a.pt").write_text("x")
    with pytest.raises(InputError, match="is no TorchScript network"):
        load_scripted(tmp_path / "a.pt", "--identity_network")


def test_a_score_is_never_nan():
    with pytest.raises(ValueError, match="no number"):
        Scores({"ssim": float("nan")})
