"""The end-to-end golden: photo and speech to coefficients, keypoints and frames, in the reference's ways."""

import random
import warnings
import wave
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import scipy.signal
import torch

from tests.helpers.sadtalker import golden, load
from wav2lip.engine.interface import FrameItem
from wav2lip.media import read_image
from wav2lip.sadtalker.compositing import build_composition
from wav2lip.sadtalker.identity import cut_face, photo_coefficients
from wav2lip.sadtalker.motion.blinks import draw_blinks
from wav2lip.sadtalker.motion.coefficients import MotionSettings, predict_coefficients
from wav2lip.sadtalker.motion.windows import motion_windows
from wav2lip.sadtalker.networks import TorchHeadNetworks
from wav2lip.sadtalker.options import MotionOptions
from wav2lip.sadtalker.renderer import TorchRenderer
from wav2lip.sadtalker.source.alignment import align_head, fit_head
from wav2lip.sadtalker.source.portrait import Portrait
from wav2lip.sadtalker.speech import speech_from_samples

GAINS = {"mapping": 0.8, "mapping_full": 0.25}


@pytest.fixture(scope="module")
def expected():
    return golden("e2e")


@pytest.fixture(scope="module")
def networks():
    return TorchHeadNetworks(cache(lambda name: load(name, GAINS.get(name))), torch.device("cpu"))


@pytest.fixture
def portrait(shared_media, expected):
    return Portrait(read_image(shared_media / "photo_person.png"), expected["landmarks68_picture"])


@pytest.fixture
def speech(shared_media):
    """16-bit samples at 16 kHz, resampled as the golden describes."""
    with wave.open(str(shared_media / "speech_zh_3s.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()) / 32768
    resampled = np.rint(32768 * scipy.signal.resample_poly(samples.mean(axis=1), 1, 3)).clip(-32768, 32767)
    return speech_from_samples(resampled[: len(resampled) // 640 * 640] / 32768)


@pytest.mark.parametrize("mode", ["crop", "extcrop"])
def test_crop_and_alignment(expected, portrait, mode):
    face = cut_face(portrait, mode, 256, "public")
    left, top, right, bottom = (int(each) for each in expected["crop_inner_wh_box_quad"][2:6])
    if mode == "extcrop":
        assert face.region.box == (left, top, right, bottom)
    assert face.region.aspect_size == tuple(expected[f"{mode}_inner_wh_box_quad"][:2].astype(int))
    assert np.abs(face.image[::8, ::8].astype(int) - expected[f"{mode}_picture256_u8_every8"]).max() <= 1
    np.testing.assert_allclose(
        (face.image.mean(), face.image.std()), expected[f"{mode}_picture256_mean_std"], atol=0.01
    )
    np.testing.assert_allclose(face.landmarks, expected[f"{mode}_landmarks68_crop"], atol=1e-4)
    transform = fit_head(face.landmarks, 256, 256)
    if mode == "crop":
        np.testing.assert_allclose(transform.params, expected["crop_trans_params"], atol=1e-3)
        aligned = align_head(face.image, transform)
        assert np.abs(aligned[::7, ::7].astype(int) - expected["crop_aligned224_u8_every7"]).max() <= 1


def test_default_crop_equals_the_references_here(portrait):
    public, default = (cut_face(portrait, "crop", 256, compat) for compat in ("public", "none"))
    assert public.region == default.region
    np.testing.assert_array_equal(public.image, default.image)


def test_mel_and_blinks(expected, speech):
    np.testing.assert_allclose(speech.mel, expected["mel"], atol=1e-5)
    np.testing.assert_array_equal(draw_blinks(84, random.Random(3)), expected["blink_ratio_seed3"])


@pytest.mark.parametrize("mode", ["crop", "extcrop"])
def test_photo_coefficients(expected, portrait, networks, mode):
    face = cut_face(portrait, mode, 256, "public")
    values = photo_coefficients(networks, face.image, face.landmarks)
    np.testing.assert_allclose(values, expected[f"{mode}_source_coeffs73"][0], atol=1e-3)  # s, tx and ty are about 100
    if mode == "crop":
        np.testing.assert_allclose(networks.canonical_keypoints(face.image), expected["kp_canonical"], atol=1e-5)


def predict(expected, networks, speech, with_crop=False, **options):
    settings = MotionSettings(MotionOptions(seed=3, **options), "public", with_crop=with_crop)
    latents = lambda: np.zeros(64, np.float32)  # noqa: E731
    return predict_coefficients(networks, expected["crop_source_coeffs73"][0], speech, settings, draw_latent=latents)


def test_coefficients(expected, networks, speech):
    coefficients = predict(expected, networks, speech)
    np.testing.assert_allclose(coefficients, expected["coeffs70"], atol=1e-4)
    scaled = predict(expected, networks, speech, expression_scale=1.5)
    assert np.abs(scaled).sum() == pytest.approx(expected["crop_expscale1.5_matrix_sum_abs"][1], rel=1e-5)


def test_a_clip_of_one_frame_causes_no_warning(expected, networks, speech):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert predict(expected, networks, replace(speech, frames=1)).shape == (1, 70)


@pytest.mark.parametrize("case", ["crop", "crop_still", "full", "full_still"])
def test_matrix_and_keypoints(expected, networks, speech, case):
    still, with_crop = case.endswith("still"), case.startswith("full")
    matrix = predict(expected, networks, speech, with_crop, still=still)
    columns, total = expected[f"{case}_matrix_sum_abs"]
    assert matrix.shape == (84, columns)
    assert np.abs(matrix).sum() == pytest.approx(total, rel=1e-5)
    if case != "crop":
        np.testing.assert_allclose(matrix[:3], expected[f"{case}_matrix_first3rows"], atol=1e-4)
    source = expected["crop_source_coeffs73"][:, : matrix.shape[1], None].repeat(27, axis=2)
    at_rest = networks.keypoints(expected["kp_canonical"], source, {})
    np.testing.assert_allclose(at_rest[0], expected[f"{case}_kp_source"], atol=1e-3)
    driving = networks.keypoints(expected["kp_canonical"], motion_windows(matrix, np.arange(84.0)), {})
    np.testing.assert_allclose(driving, expected[f"{case}_kp_driving"], atol=1e-3)


@pytest.mark.slow
def test_rendered_frames(expected, portrait):
    face = cut_face(portrait, "crop", 256, "public")
    renderer = TorchRenderer(load("generator"), torch.device("cpu"), torch.float32)
    (stream,) = renderer.streams(renderer.source_features(face.image), expected["crop_kp_source"])
    frames = {}
    for number, name in ((0, "first"), (42, "middle")):
        frame = frames[name] = stream(torch.from_numpy(expected["crop_kp_driving"][number])).numpy()
        statistics = expected["crop_frame_mean_std_per_channel"][list(expected["crop_frames"]).index(number)]
        np.testing.assert_allclose([frame.mean(axis=(0, 1)), frame.std(axis=(0, 1))], statistics, atol=1e-4)
        part = frame[96:160, 96:160].transpose(2, 0, 1)
        np.testing.assert_allclose(part, expected[f"crop_{name}_f16_rows96_159_cols96_159"], atol=1e-3)
    item = FrameItem(0, np.rint(255 * frames["first"]).astype(np.uint8), ())
    build_composition("crop", portrait.photo, face.region, 256)(item)
    assert item.frame.shape == tuple(expected["crop_first_video_frame_shape"])
    rows = item.frame[96:128, 96:128].astype(int)
    assert np.abs(rows - expected["crop_first_video_frame_u8_rows96_127_cols96_127"]).max() <= 1
