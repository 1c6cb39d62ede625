"""S3FD against the reference: heads, decoding, boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from face_detection.interface import DetectorError
from face_detection.s3fd import S3FD, decode, prepare, suppress
from face_detection.s3fd_network import S3FDNetwork
from tests.reference import golden, state_dict_shapes, tensor, weights

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


class HandMade(torch.nn.Module):
    """Gives the head maps it was made from, whatever it sees, and keeps what it saw."""

    def __init__(self, maps=()):
        super().__init__()
        self.maps = maps
        self.seen = []

    def forward(self, pictures):
        self.seen.append(pictures)
        return [m[: len(pictures)] for m in self.maps]


def hand_made_maps(reference):
    return [torch.from_numpy(reference[f"post_in_{kind}{i}"]) for i in LEVELS for kind in ("cls", "reg")]


def logits(score):
    """Head maps of a 256 x 256 picture with one face of that score, 64 pixels wide, around (136, 136)."""
    maps = []
    for side in (64, 32, 16, 12, 6, 3):
        conf = torch.zeros(1, 2, side, side)
        conf[:, 0] = 20
        maps += [conf, torch.zeros(1, 4, side, side)]
    maps[4][0, :, 8, 8] = torch.tensor([0.0, float(np.log(score / (1 - score)))])
    return maps


def as_rows(faces):
    return np.array([[*face.box, face.score] for face in faces])


def test_the_state_dict_has_the_published_keys_and_shapes_in_the_published_order():
    ours = {key: list(value.shape) for key, value in S3FDNetwork().state_dict().items()}
    assert len(ours) == 65
    assert list(ours.items()) == list(state_dict_shapes("s3fd").items())


def test_norm_scales_start_at_10_8_and_5():
    network = S3FDNetwork()
    starts = [network.conv3_3_norm.weight, network.conv4_3_norm.weight, network.conv5_3_norm.weight]
    assert [w.unique().tolist() for w in starts] == [[10], [8], [5]]


def test_the_twelve_head_maps_are_those_of_the_reference(public, reference, frames):
    with torch.inference_mode():
        maps = public.network(prepare(torch.from_numpy(frames), "public"))
    expected = [reference[f"head_{kind}{i}"] for i in LEVELS for kind in ("cls", "reg")]
    assert [m.shape for m in maps] == [e.shape for e in expected]
    for ours, theirs in zip(maps, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-3, rtol=0)


def test_in_16_bits_the_head_maps_are_off_by_what_rounding_to_8_bits_takes_and_no_more(state, reference, frames):
    """Beside float32 arithmetic on weights and results of layers that are rounded by hand."""
    pictures = prepare(torch.from_numpy(frames), "public").bfloat16()
    rounded = S3FD({key: value.bfloat16().float() for key, value in state.items()}).network
    for layer in rounded.children():
        layer.register_forward_hook(lambda layer, given, result: result.bfloat16().float())
    with torch.inference_mode():
        maps = S3FD(state, dtype=torch.bfloat16).network(pictures)
        by_hand = rounded(pictures.float())
    for ours, theirs, name in zip(maps, by_hand, [f"head_{k}{i}" for i in LEVELS for k in ("cls", "reg")], strict=True):
        assert ours.dtype == torch.bfloat16
        exact = reference[name]
        error, expected = (np.sqrt(np.mean((m.float().numpy() - exact) ** 2)) for m in (ours, theirs))
        assert 0 < error < 1.2 * expected, name
        assert expected < 0.25 * np.sqrt(np.mean(exact**2)), name


def test_a_detector_that_computes_in_other_numbers_is_another_one(state):
    assert S3FD(state, dtype=torch.bfloat16).fingerprint != S3FD(state).fingerprint
    assert S3FD(state).fingerprint == S3FD(state, batch_size=3).fingerprint != S3FD(state, compat="public").fingerprint


def test_detections_are_those_of_the_reference_from_pixels_to_boxes(public, reference, frames):
    for image, faces in enumerate(public.detect(list(frames))):
        ours, theirs = as_rows(faces), reference[f"e2e_dets_{image}"]
        theirs = np.concatenate([theirs[:, :4].clip(min=0), theirs[:, 4:]], axis=1)
        np.testing.assert_allclose(ours[0, :4], theirs[0, :4], atol=1e-2)
        assert ours[0, 4] == pytest.approx(theirs[0, 4], abs=1e-4)
        assert np.trunc(ours[0, :4]).tolist() == reference["e2e_boxes"][image].tolist()
        distance = np.abs(ours[:, None] - theirs[None]).max(axis=-1)  # close scores may fall either way
        assert (distance.min(axis=0) < 1e-2).mean() > 0.9
        assert len(ours) == pytest.approx(len(theirs), rel=0.1)


def test_every_candidate_of_the_reference_is_among_the_decoded_cells(reference):
    boxes, scores = decode(hand_made_maps(reference))
    cells = torch.cat([boxes, scores[..., None]], dim=2).numpy()
    candidates = reference["post_raw"].transpose(1, 0, 2)  # (3, 13, 5)
    assert candidates.shape == (3, 13, 5)
    for ours, theirs in zip(cells, candidates, strict=True):
        assert np.abs(ours[:, None] - theirs[None]).max(axis=-1).min(axis=0).max() < 1e-3


def test_duplicates_go_weak_faces_go_and_two_faces_stay(reference):
    boxes, scores = decode(hand_made_maps(reference))
    for image in range(3):
        kept_boxes, kept_scores = suppress(boxes[image], scores[image])
        ours = torch.cat([kept_boxes, kept_scores[:, None]], dim=1).numpy()
        np.testing.assert_allclose(ours, reference[f"post_dets_{image}"], atol=1e-3)


def test_the_first_box_cut_to_whole_pixels_is_the_reference_box(state, reference):
    detector = S3FD(state, compat="public")
    detector.network = HandMade(hand_made_maps(reference))
    found = detector.detect(np.zeros((3, 160, 160, 3), np.uint8))
    assert [bool(faces) for faces in found] == reference["post_found"].tolist()
    for faces, box in zip(found, reference["post_boxes"], strict=True):
        assert not faces or np.trunc(faces[0].box).tolist() == box.tolist()


def test_overlap_is_counted_in_whole_pixels():
    # Widths 9 and height 9 stand for 10 x 10 pixels. Shifted by 5: 50 of 150 pixels are common, by 6: 40 of 160.
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 0, 14, 9], [6, 0, 15, 9]])
    assert suppress(boxes[:2], torch.tensor([0.9, 0.8]))[1].tolist() == pytest.approx([0.9])
    assert suppress(boxes[[0, 2]], torch.tensor([0.9, 0.8]))[1].tolist() == pytest.approx([0.9, 0.8])


def test_a_score_of_exactly_one_half_is_no_face():
    boxes = torch.tensor([[0.0, 0, 9, 9], [50, 0, 59, 9]])
    assert suppress(boxes, torch.tensor([0.5, 0.5001]))[1].tolist() == pytest.approx([0.5001])


def test_faces_do_not_depend_on_the_other_pictures_of_the_batch(public, frames):
    together = public.detect(list(frames))
    alone = [public.detect([frame])[0] for frame in frames]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(as_rows(a)[:20], as_rows(b)[:20], atol=1e-2)


def test_the_network_is_fed_blue_green_red_less_their_means_by_default():
    red_green_blue = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(1, 2, 2, 3)
    pictures = prepare(red_green_blue)
    assert pictures.shape == (1, 3, 2, 2) and pictures.dtype == torch.float32
    assert pictures[0, :, 1, 1].tolist() == [30 - 104, 20 - 117, 10 - 123]


def test_public_feeds_red_green_blue_with_the_same_three_means():
    red_green_blue = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(1, 2, 2, 3)
    assert prepare(red_green_blue, "public")[0, :, 1, 1].tolist() == [10 - 104, 20 - 117, 30 - 123]


def test_the_detector_passes_compat_on_to_what_enters_the_network(state):
    frame = np.full((256, 256, 3), (10, 20, 30), np.uint8)
    for compat, expected in (("none", [-74, -97, -113]), ("public", [-94, -97, -93])):
        detector = S3FD(state, compat=compat)
        detector.network = HandMade(logits(0.9))
        detector.detect([frame])
        assert detector.network.seen[0][0, :, 0, 0].tolist() == expected


def test_a_face_found_in_a_shrunk_picture_is_given_in_pixels_of_the_full_one(state):
    detector = S3FD(state, max_side=256)
    detector.network = HandMade(logits(0.9))
    ((face,),) = detector.detect([np.zeros((512, 512, 3), np.uint8)])
    assert detector.network.seen[0].shape == (1, 3, 256, 256)
    assert face.box == pytest.approx((208, 208, 336, 336))  # (104, 104, 168, 168), twice
    assert face.score == pytest.approx(0.9)


@pytest.mark.parametrize(("compat", "seen"), [("none", (1, 3, 512, 640)), ("public", (1, 3, 1024, 1280))])
def test_large_pictures_are_shrunk_unless_the_boxes_are_to_be_the_public_ones(state, compat, seen):
    detector = S3FD(state, compat=compat)
    detector.network = HandMade(logits(0.9))
    detector.detect([np.zeros((1024, 1280, 3), np.uint8)])
    assert detector.network.seen[0].shape == seen


def test_out_of_memory_halves_the_batch_with_one_line_and_goes_on(state, caplog):
    class Small(HandMade):
        def forward(self, pictures):
            if len(pictures) > 2:
                raise torch.OutOfMemoryError("full")
            return super().forward(pictures)

    detector = S3FD(state, batch_size=4)
    detector.network = Small([m.repeat(2, 1, 1, 1) for m in logits(0.9)])
    found = detector.detect(np.zeros((5, 256, 256, 3), np.uint8))
    assert [len(faces) for faces in found] == [1] * 5
    assert [len(seen) for seen in detector.network.seen] == [2, 2, 1]
    assert len(caplog.records) == 1 and "2 pictures" in caplog.text


def test_out_of_memory_on_a_single_picture_is_raised(state):
    class Full(HandMade):
        def forward(self, pictures):
            raise torch.OutOfMemoryError("full")

    detector = S3FD(state, batch_size=1)
    detector.network = Full()
    with pytest.raises(torch.OutOfMemoryError):
        detector.detect(np.zeros((1, 64, 64, 3), np.uint8))


def test_no_pictures_give_no_faces(public):
    assert public.detect([]) == []


def test_a_state_dict_of_another_network_is_refused(state):
    with pytest.raises(DetectorError, match="state_dict"):
        S3FD({key: value for key, value in state.items() if key != "fc6.bias"})
