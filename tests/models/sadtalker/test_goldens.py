"""SadTalker's networks against the outputs of the published code with deterministic weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.sadtalker import NETWORKS, build
from models.sadtalker.mapping import expected_degrees, rotation_matrices, transform_keypoints
from tests.helpers.goldens import tensor, unit
from tests.helpers.sadtalker import golden, golden_picture, load, published_shapes, weights


def assert_close(actual: torch.Tensor, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(actual, torch.from_numpy(np.asarray(expected)).to(actual), atol=tolerance, rtol=0)


def test_state_dicts_match_published_files():
    expected = published_shapes()
    assert set(NETWORKS) == set(expected)
    for name in NETWORKS:
        with torch.device("meta"):
            actual = {key: list(value.shape) for key, value in build(name).state_dict().items()}
        assert actual == expected[name], name


@pytest.mark.parametrize("name", ["audio2exp", "mapping", "face_3drecon"])
def test_deterministic_weights_match_golden_probe(name):
    probe, state = golden("weights_probe"), weights(name)
    sums = [state[key].double().abs().sum().item() for key in probe[f"{name}_keys"]]
    assert sums == pytest.approx(probe[f"{name}_abs_sum"], rel=1e-6)


@torch.inference_mode()
def test_audio2exp_equals_golden():
    coefficients = tensor(200002, (1, 12, 70), -1, 1)
    mels, ratio = tensor(200001, (1, 12, 1, 80, 16), -4, 4), tensor(200003, (1, 12, 1))
    assert_close(load("audio2exp")(mels, coefficients[..., :64], ratio), golden("audio2exp")["out"])


@torch.inference_mode()
def test_audio2pose_equals_golden():
    network, expected = load("audio2pose"), golden("audio2pose")
    mels, coefficients = tensor(200004, (1, 70, 1, 80, 16), -4, 4), tensor(200005, (1, 70, 70), -1, 1)
    drawn = torch.cat([tensor(200010 + n, (1, 64), -2, 2) for n in range(3)])
    cases = {"z0_T33": None, "z0_T70": None, "z0_T20": None, "zU_T70": drawn}
    for case, latents in cases.items():
        frames = int(case[-2:])
        motion, pose = network(mels[:, :frames], coefficients[:, :frames], 7, latents)
        assert_close(motion, expected[f"{case}_motion"])
        assert_close(pose, expected[f"{case}_pose"])


@torch.inference_mode()
@pytest.mark.parametrize(("name", "short"), [("mapping", "m70"), ("mapping_full", "m73")])
def test_mapping_and_keypoints_equal_golden(name, short):
    expected, columns = golden("mapping"), int(short[1:])
    pose = load(name)(tensor(200020 + (columns == 73), (2, columns, 27), -1, 1))
    fields = ("yaw", "pitch", "roll", "t", "exp")
    for field, value in zip(fields, pose, strict=True):
        assert_close(value, expected[f"{short}_{field}"])
    degrees = [expected_degrees(logits) for logits in pose[:3]]
    for field, value in zip(fields, degrees, strict=False):
        assert_close(value, expected[f"{short}_{field}_deg"], 1e-3)
    assert_close(rotation_matrices(*degrees), expected[f"{short}_rot"])
    if name == "mapping":
        canonical = tensor(200022, (2, 15, 3), -0.5, 0.5)
        assert_close(transform_keypoints(canonical, pose), expected["kp_transformed"])
        turned = transform_keypoints(canonical, pose, yaw=torch.tensor([15.0, -30.0]))
        assert_close(turned, expected["kp_transformed_yaw_in_15_m30"])


def test_rotation_equals_golden():
    expected = golden("mapping")
    assert_close(rotation_matrices(*torch.from_numpy(expected["rot_in_ypr_deg"]).unbind(1)), expected["rot_out"])


@torch.inference_mode()
def test_keypoints_equal_golden():
    detector, expected = load("kp_extractor"), golden("keypoints")
    built = build("kp_extractor").down.weight  # without a file
    assert_close(built[0, 0], expected["kernel"], 1e-7)
    assert_close(detector.down(golden_picture()), expected["down"], 1e-5)
    assert_close(detector(golden_picture()), expected["value"], 1e-5)


@torch.inference_mode()
def test_face_coefficients_equal_golden():
    network, expected = load("face_3drecon"), golden("face_3drecon")
    face = tensor(200031, (1, 3, 224, 224))
    assert_close(network(face), expected["coeffs"])
    assert_close(network.pool(face).flatten(1), expected["backbone"])


@torch.inference_mode()
def test_landmark_heatmaps_equal_golden():
    import cv2

    expected = golden("landmark_fan98")
    picture = np.floor(256 * unit(200060, 120 * 100 * 3)).astype(np.uint8).reshape(120, 100, 3)
    face = cv2.resize(picture, (256, 256))[..., ::-1] / 255.0
    heatmaps = load("landmark_fan98")(torch.from_numpy(face.astype(np.float32)).movedim(-1, 0)[None])
    assert_close(heatmaps[-1][0, [0, 49, 98]], expected["heatmap_ch0_49_98"], 1e-3)
    assert_close(torch.stack([stack.abs().mean() for stack in heatmaps]), expected["heatmap_abs_mean"], 1e-3)


@torch.inference_mode()
def test_generator_equals_golden():
    network, expected = load("generator"), golden("generator")
    source, driving = (torch.from_numpy(expected[f"kp_{name}"]) for name in ("source", "driving"))
    features = network.source_features(golden_picture())
    assert_close(features[:, :4, 8], expected["feature3d_depth8_ch0_3"])
    motion = network.dense_motion_network(features, source, driving)
    assert_close(motion.masks.mean(dim=(0, 2, 3, 4)).double(), expected["mask_mean_per_kp"])
    assert_close(motion.deformation[:, 8], expected["deformation_depth8"])
    assert_close(motion.occlusion, expected["occlusion"])
    prediction = network.decode(features, motion)
    assert_close(prediction, expected["prediction_f16"].astype(np.float32), 1e-3)
    assert_close(prediction[..., 96:160, 96:160], expected["prediction_rows96_159_cols96_159"])
