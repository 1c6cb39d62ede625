"""S3FD against the reference implementation: heads, decoding, boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from face_detection.detectors.s3fd import S3FD, decode_boxes, normalize_images, suppress_overlaps
from face_detection.detectors.s3fd_network import S3FDNetwork
from face_detection.interface import DetectorError
from tests.helpers.goldens import golden, state_dict_shapes, tensor, weights

LEVELS = range(1, 7)


@pytest.fixture(scope="module")
def reference():
    return golden("s3fd")


@pytest.fixture(scope="module")
def state():
    return weights("s3fd")


@pytest.fixture(scope="module")
def frames():
    """(2, 128, 96, 3) uint8 RGB: the golden inputs, which are stored as BGR."""
    bgr = np.floor(tensor(100020, (2, 128, 96, 3), 0, 256).numpy()).astype(np.uint8)
    return np.ascontiguousarray(bgr[..., ::-1])


@pytest.fixture(scope="module")
def public(state):
    return S3FD(state, compat="public")


class FixedMaps(torch.nn.Module):
    """Return constant head maps and record the inputs."""

    def __init__(self, maps=()):
        super().__init__()
        self.maps = maps
        self.inputs = []

    def forward(self, images):
        self.inputs.append(images)
        return [m[: len(images)] for m in self.maps]


def reference_maps(reference):
    return [torch.from_numpy(reference[f"post_in_{kind}{i}"]) for i in LEVELS for kind in ("cls", "reg")]


def single_face_maps(score):
    """Head maps for one face of that score, 64 pixels wide, around (136, 136) of a 256 x 256 image."""
    maps = []
    for side in (64, 32, 16, 12, 6, 3):
        conf = torch.zeros(1, 2, side, side)
        conf[:, 0] = 20
        maps += [conf, torch.zeros(1, 4, side, side)]
    maps[4][0, :, 8, 8] = torch.tensor([0.0, float(np.log(score / (1 - score)))])
    return maps


def to_array(faces):
    return np.array([[*face.box, face.score] for face in faces])


def test_state_dict_matches_published_weights():
    actual = {key: list(value.shape) for key, value in S3FDNetwork().state_dict().items()}
    assert len(actual) == 65
    assert list(actual.items()) == list(state_dict_shapes("s3fd").items())


def test_initial_norm_scales():
    network = S3FDNetwork()
    starts = [network.conv3_3_norm.weight, network.conv4_3_norm.weight, network.conv5_3_norm.weight]
    assert [w.unique().tolist() for w in starts] == [[10], [8], [5]]


def test_head_maps_equal_reference(public, reference, frames):
    with torch.inference_mode():
        maps = public.network(normalize_images(torch.from_numpy(frames), "public"))
    expected = [reference[f"head_{kind}{i}"] for i in LEVELS for kind in ("cls", "reg")]
    assert [m.shape for m in maps] == [e.shape for e in expected]
    for actual, golden_map in zip(maps, expected, strict=True):
        np.testing.assert_allclose(actual.numpy(), golden_map, atol=1e-3, rtol=0)


def test_bf16_error_is_rounding_only(state, reference, frames):
    # The reference is float32 arithmetic with weights and layer outputs rounded to bf16.
    images = normalize_images(torch.from_numpy(frames), "public").bfloat16()
    rounded = S3FD({key: value.bfloat16().float() for key, value in state.items()}).network
    for layer in rounded.children():
        layer.register_forward_hook(lambda layer, inputs, result: result.bfloat16().float())
    with torch.inference_mode():
        maps = S3FD(state, dtype=torch.bfloat16).network(images)
        rounded_maps = rounded(images.float())
    for actual, rounded_map, name in zip(
        maps, rounded_maps, [f"head_{k}{i}" for i in LEVELS for k in ("cls", "reg")], strict=True
    ):
        assert actual.dtype == torch.bfloat16
        golden_map = reference[name]
        error, rounding_error = (np.sqrt(np.mean((m.float().numpy() - golden_map) ** 2)) for m in (actual, rounded_map))
        assert 0 < error < 1.2 * rounding_error, name
        assert rounding_error < 0.25 * np.sqrt(np.mean(golden_map**2)), name


def test_fingerprint_depends_on_dtype_and_compat(state):
    assert S3FD(state, dtype=torch.bfloat16).fingerprint != S3FD(state).fingerprint
    assert S3FD(state).fingerprint == S3FD(state, batch_size=3).fingerprint != S3FD(state, compat="public").fingerprint


def test_detections_equal_reference_end_to_end(public, reference, frames):
    for image, faces in enumerate(public.detect(list(frames))):
        actual, golden_faces = to_array(faces), reference[f"e2e_dets_{image}"]
        golden_faces = np.concatenate([golden_faces[:, :4].clip(min=0), golden_faces[:, 4:]], axis=1)
        np.testing.assert_allclose(actual[0, :4], golden_faces[0, :4], atol=1e-2)
        assert actual[0, 4] == pytest.approx(golden_faces[0, 4], abs=1e-4)
        assert np.trunc(actual[0, :4]).tolist() == reference["e2e_boxes"][image].tolist()
        distance = np.abs(actual[:, None] - golden_faces[None]).max(axis=-1)  # the order of close scores may differ
        assert (distance.min(axis=0) < 1e-2).mean() > 0.9
        assert len(actual) == pytest.approx(len(golden_faces), rel=0.1)


def test_decoded_cells_contain_reference_candidates(reference):
    boxes, scores = decode_boxes(reference_maps(reference))
    cells = torch.cat([boxes, scores[..., None]], dim=2).numpy()
    candidates = reference["post_raw"].transpose(1, 0, 2)  # (3, 13, 5)
    assert candidates.shape == (3, 13, 5)
    for actual, golden_faces in zip(cells, candidates, strict=True):
        assert np.abs(actual[:, None] - golden_faces[None]).max(axis=-1).min(axis=0).max() < 1e-3


def test_suppress_overlaps_equals_reference(reference):
    boxes, scores = decode_boxes(reference_maps(reference))
    for image in range(3):
        image_boxes, image_scores = suppress_overlaps(boxes[image], scores[image])
        actual = torch.cat([image_boxes, image_scores[:, None]], dim=1).numpy()
        np.testing.assert_allclose(actual, reference[f"post_dets_{image}"], atol=1e-3)


def test_truncated_first_box_equals_reference(state, reference):
    detector = S3FD(state, compat="public")
    detector.network = FixedMaps(reference_maps(reference))
    detections = detector.detect(np.zeros((3, 160, 160, 3), np.uint8))
    assert [bool(faces) for faces in detections] == reference["post_found"].tolist()
    for faces, box in zip(detections, reference["post_boxes"], strict=True):
        assert not faces or np.trunc(faces[0].box).tolist() == box.tolist()


def test_overlap_includes_border_pixels():
    # Width and height 9 mean 10 x 10 pixels. Shifted by 5: 50 of 150 pixels are common, by 6: 40 of 160.
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 0, 14, 9], [6, 0, 15, 9]])
    assert suppress_overlaps(boxes[:2], torch.tensor([0.9, 0.8]))[1].tolist() == pytest.approx([0.9])
    assert suppress_overlaps(boxes[[0, 2]], torch.tensor([0.9, 0.8]))[1].tolist() == pytest.approx([0.9, 0.8])


def test_min_score_is_exclusive():
    boxes = torch.tensor([[0.0, 0, 9, 9], [50, 0, 59, 9]])
    assert suppress_overlaps(boxes, torch.tensor([0.5, 0.5001]))[1].tolist() == pytest.approx([0.5001])


def test_faces_do_not_depend_on_the_batch(public, frames):
    batched = public.detect(list(frames))
    single = [public.detect([frame])[0] for frame in frames]
    for a, b in zip(batched, single, strict=True):
        np.testing.assert_allclose(to_array(a)[:20], to_array(b)[:20], atol=1e-2)


def test_default_input_is_bgr_minus_means():
    red_green_blue = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(1, 2, 2, 3)
    images = normalize_images(red_green_blue)
    assert images.shape == (1, 3, 2, 2) and images.dtype == torch.float32
    assert images[0, :, 1, 1].tolist() == [30 - 104, 20 - 117, 10 - 123]


def test_public_input_is_rgb_minus_means():
    red_green_blue = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(1, 2, 2, 3)
    assert normalize_images(red_green_blue, "public")[0, :, 1, 1].tolist() == [10 - 104, 20 - 117, 30 - 123]


def test_detector_applies_compat_to_the_input(state):
    frame = np.full((256, 256, 3), (10, 20, 30), np.uint8)
    for compat, expected in (("none", [-74, -97, -113]), ("public", [-94, -97, -93])):
        detector = S3FD(state, compat=compat)
        detector.network = FixedMaps(single_face_maps(0.9))
        detector.detect([frame])
        assert detector.network.inputs[0][0, :, 0, 0].tolist() == expected


def test_boxes_are_in_pixels_of_the_original(state):
    detector = S3FD(state, max_side=256)
    detector.network = FixedMaps(single_face_maps(0.9))
    ((face,),) = detector.detect([np.zeros((512, 512, 3), np.uint8)])
    assert detector.network.inputs[0].shape == (1, 3, 256, 256)
    assert face.box == pytest.approx((208, 208, 336, 336))  # (104, 104, 168, 168), twice
    assert face.score == pytest.approx(0.9)


@pytest.mark.parametrize(("compat", "shape"), [("none", (1, 3, 512, 640)), ("public", (1, 3, 1024, 1280))])
def test_large_images_are_downscaled_unless_public(state, compat, shape):
    detector = S3FD(state, compat=compat)
    detector.network = FixedMaps(single_face_maps(0.9))
    detector.detect([np.zeros((1024, 1280, 3), np.uint8)])
    assert detector.network.inputs[0].shape == shape


def test_out_of_memory_halves_the_batch_with_a_warning(state, caplog):
    class SmallMemory(FixedMaps):
        def forward(self, images):
            if len(images) > 2:
                raise torch.OutOfMemoryError("full")
            return super().forward(images)

    detector = S3FD(state, batch_size=4)
    detector.network = SmallMemory([m.repeat(2, 1, 1, 1) for m in single_face_maps(0.9)])
    detections = detector.detect(np.zeros((5, 256, 256, 3), np.uint8))
    assert [len(faces) for faces in detections] == [1] * 5
    assert [len(images) for images in detector.network.inputs] == [2, 2, 1]
    assert len(caplog.records) == 1 and "2 images" in caplog.text


def test_out_of_memory_on_one_image_is_raised(state):
    class NoMemory(FixedMaps):
        def forward(self, images):
            raise torch.OutOfMemoryError("full")

    detector = S3FD(state, batch_size=1)
    detector.network = NoMemory()
    with pytest.raises(torch.OutOfMemoryError):
        detector.detect(np.zeros((1, 64, 64, 3), np.uint8))


def test_empty_batch(public):
    assert public.detect([]) == []


def test_state_dict_of_another_network_is_rejected(state):
    with pytest.raises(DetectorError, match="state_dict"):
        S3FD({key: value for key, value in state.items() if key != "fc6.bias"})
