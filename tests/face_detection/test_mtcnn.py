"""MTCNN with the weights of the installed package, on real pictures."""

from __future__ import annotations

import os
import pickle
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from face_detection import DetectorError
from face_detection.haar import Haar
from face_detection.mtcnn import MTCNN
from face_detection.mtcnn_network import output_network, proposal_network, refinement_network
from face_detection.mtcnn_weights import FILES, installed_weights, load_weights, read_arrays
from face_detection.portions import Portions
from tests.face_detection.test_haar import DRAWN, overlap, read

lz4 = pytest.importorskip("lz4.frame")
joblib = pytest.importorskip("joblib")

# Eyes, nose tip and mouth corners, drawn by hand: x, y in pixels.
POINTS = {
    "astronaut": [(203, 101), (246, 103), (221, 125), (204, 141), (247, 140)],
    "photo_person.png": [(195, 146), (266, 143), (232, 190), (202, 219), (263, 217)],
}

# What the networks of facenet-pytorch 2.6.0 (MIT) answer to a ramp from -1 to 1: face, offsets, points.
RAMP = {
    "pnet.lz4": (12, 0.0015483348, [0.036073565, -0.03615896, 0.025501288, 0.12077168], []),
    "rnet.lz4": (24, 0.0006806763, [-0.14635023, -0.22725838, 0.1520619, 0.38738438], []),
    "onet.lz4": (48, 0.0001415267, [-0.039363913, -0.074976727, -0.014943138, 0.11668871],
        [0.36302114, 0.69260991, 0.51655906, 0.34640473, 0.58524323,
         0.26075763, 0.29351625, 0.50456202, 0.73579395, 0.77025062]),
}  # fmt: skip
NETWORKS = dict(zip(FILES, (proposal_network, refinement_network, output_network), strict=True))


@pytest.fixture(scope="module")
def mtcnn():
    return MTCNN(installed_weights())


def tilted(picture, degrees):
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def packed(tmp_path, content):
    path = tmp_path / "net.lz4"
    path.write_bytes(lz4.compress(content))
    return path


# What is found


def test_one_face_is_found_where_it_is(mtcnn, astronaut):
    ((face,),) = mtcnn.detect([astronaut])
    assert overlap(face.box, DRAWN["astronaut"]) > 0.7
    assert 0.9 < face.score <= 1


def test_the_five_points_are_where_they_were_drawn(mtcnn, astronaut):
    ((face,),) = mtcnn.detect([astronaut])
    np.testing.assert_allclose(face.landmarks, POINTS["astronaut"], atol=5)  # of a face 94 pixels wide


def test_a_mirrored_picture_has_its_eyes_in_the_same_order(mtcnn, astronaut):
    ((face,),) = mtcnn.detect([np.ascontiguousarray(astronaut[:, ::-1])])
    left_eye, right_eye, _, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]


@pytest.mark.parametrize("degrees", [-30, -20, 20, 30])
def test_a_tilted_head_is_found(mtcnn, astronaut, degrees):
    picture = tilted(astronaut[:384, 64:448], degrees)
    ((face,),) = mtcnn.detect([picture])
    (x, y), (right_x, right_y) = face.landmarks[:2]
    assert np.degrees(np.arctan2(y - right_y, right_x - x)) == pytest.approx(degrees - 2.7, abs=6)  # its own tilt


def test_a_blank_picture_and_noise_have_no_face(mtcnn):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert mtcnn.detect([np.full((240, 320, 3), 128, np.uint8), noise]) == [[], []]


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (27, 200, 3), (2, 900, 3)])
def test_a_picture_smaller_than_the_smallest_face_has_none(mtcnn, shape):
    assert mtcnn.detect([np.zeros(shape, np.uint8)]) == [[]]


def test_no_pictures_give_no_faces(mtcnn):
    assert mtcnn.detect([]) == []


def test_every_picture_has_its_own_answer(mtcnn, astronaut):
    blank = np.zeros_like(astronaut)
    assert [len(faces) for faces in mtcnn.detect([blank, astronaut, blank])] == [0, 1, 0]


def test_two_faces_are_two_with_the_most_certain_first(mtcnn, astronaut):
    pair = np.hstack([astronaut[:256, 96:352], cv2.GaussianBlur(astronaut[:256, 96:352], (0, 0), 4)])
    (faces,) = mtcnn.detect([pair])
    assert len(faces) == 2 and faces[0].score >= faces[1].score


def test_out_of_memory_halves_the_batch_for_good_and_finds_the_same_faces(mtcnn, astronaut, monkeypatch, caplog):
    expected, whole = mtcnn.detect([astronaut] * 3), mtcnn._detect_batch

    def small(frames):
        if len(frames) > 1:
            raise torch.OutOfMemoryError("full")
        return whole(frames)

    monkeypatch.setattr(mtcnn, "_detect_batch", small)
    monkeypatch.setattr(mtcnn, "portions", Portions(4, "MTCNN", "pictures"))
    for (one,), (other,) in zip(mtcnn.detect([astronaut] * 3), expected, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.01)
    assert [line.getMessage() for line in caplog.records] == [
        "MTCNN ran out of memory; going on with 1 pictures at a time"
    ]


def test_how_many_pictures_are_taken_at_a_time_does_not_matter(mtcnn, astronaut):
    frames = [np.roll(astronaut, shift, axis=1) for shift in (0, 10, 20)]
    single = MTCNN(installed_weights(), batch_size=1).detect(frames)
    for (one,), (other,) in zip(mtcnn.detect(frames), single, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.01)


def test_the_same_picture_has_the_same_answer(mtcnn, astronaut):
    assert mtcnn.detect([astronaut]) == mtcnn.detect([astronaut])


def test_a_picture_three_times_as_large_has_the_face_three_times_as_far(mtcnn, astronaut):
    (small,) = mtcnn.detect([astronaut])[0]
    (large,) = mtcnn.detect([cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)])[0]
    assert overlap(np.array(small.box) * 3, large.box) > 0.9
    np.testing.assert_allclose(large.landmarks, np.array(small.landmarks) * 3, atol=9)


def test_a_box_does_not_start_outside_the_picture(mtcnn, astronaut):
    faces = mtcnn.detect([np.ascontiguousarray(astronaut[85:, 185:])])[0]
    assert len(faces) <= 1 and all(min(face.box) >= 0 for face in faces)


@pytest.mark.parametrize("name", ["photo_person.png", "photo_painting.png"])
def test_a_still_face_is_framed_from_forehead_to_chin(mtcnn, shared_media, name):
    (face,) = mtcnn.detect([read(shared_media / name)])[0]
    assert overlap(face.box, DRAWN[name]) > 0.8


def test_the_points_of_a_close_face_are_where_they_were_drawn(mtcnn, shared_media):
    (face,) = mtcnn.detect([read(shared_media / "photo_person.png")])[0]
    np.testing.assert_allclose(face.landmarks, POINTS["photo_person.png"], atol=8)  # of a face 153 pixels wide


def test_nine_faces_are_nine(mtcnn, shared_media):
    assert len(mtcnn.detect([read(shared_media / "photo_nine_faces.jpg")])[0]) == 9


def test_a_small_face_is_found_and_nothing_else(mtcnn, shared_media):
    assert len(mtcnn.detect([read(shared_media / "photo_full_body.png")])[0]) == 1


def test_grass_has_no_face(mtcnn, shared_media):
    assert mtcnn.detect([read(shared_media / "photo_no_face.jpg")]) == [[]]


def frames_of(path, wanted):
    av = pytest.importorskip("av")
    with av.open(str(path)) as clip:
        return [frame.to_ndarray(format="rgb24") for i, frame in enumerate(clip.decode(video=0)) if i in wanted]


def test_hands_in_a_portrait_clip_are_no_face(mtcnn, shared_media):
    found = mtcnn.detect(frames_of(shared_media / "portrait_1080x1920_hevc.mp4", range(0, 250, 25)))
    assert [len(faces) for faces in found] == [1] * 10
    assert overlap(found[0][0].box, (512, 592, 684, 839)) > 0.7  # drawn by hand


def test_boxes_of_neighbouring_frames_differ_half_as_much_as_those_of_haar(mtcnn, shared_media):
    frames = frames_of(shared_media / "speaker_b_700_vfr.mp4", range(40, 56))
    steps = []
    for detector in (mtcnn, Haar()):
        boxes = [faces[0].box for faces in detector.detect(frames) if faces]
        assert len(boxes) >= 14
        steps.append(np.median([1 - overlap(a, b) for a, b in pairwise(boxes)]))
    assert steps[0] < steps[1] / 2


# The networks and their weights


@pytest.mark.parametrize("name", FILES)
def test_the_networks_answer_as_those_of_another_implementation(name):
    side, face, offsets, points = RAMP[name]
    network = load_weights(NETWORKS[name](), installed_weights() / name).eval()
    ramp = torch.linspace(-1, 1, 3 * side * side).view(1, 3, side, side)
    with torch.inference_mode():
        judged = network(ramp)
    torch.testing.assert_close(judged.log_odds.sigmoid().flatten(), torch.tensor([face]), atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(judged.offsets.flatten(), torch.tensor(offsets), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(judged.points.flatten(), torch.tensor(points), atol=1e-5, rtol=1e-4)


def test_arrays_are_read_as_joblib_reads_them(tmp_path):
    arrays = [
        np.random.default_rng(n).random(shape, np.float32) for n, shape in enumerate([(3, 3, 2, 5), (5,), (7, 1)])
    ]
    joblib.dump(arrays, tmp_path / "net.lz4", compress="lz4")
    for mine, theirs in zip(read_arrays(tmp_path / "net.lz4"), arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs)


class Harm:
    """What a pickle would do that is not ours."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, eval, getattr, np.load, np.fromfile, joblib.load],
                         ids=lambda function: function.__name__)  # fmt: skip
def test_a_pickle_that_calls_anything_is_refused_and_does_nothing(tmp_path, monkeypatch, function):
    monkeypatch.chdir(tmp_path)
    path = packed(tmp_path, pickle.dumps([Harm(function, "harm")]))
    with pytest.raises(DetectorError, match="net.lz4.*it asks for"):
        read_arrays(path)
    assert not (tmp_path / "harm").exists()


def test_a_pickle_that_calls_something_after_the_first_array_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joblib.dump([np.zeros(4, np.float32), Harm(os.mkdir, "harm")], tmp_path / "net.lz4", compress="lz4")
    with pytest.raises(DetectorError, match="mkdir"):
        read_arrays(tmp_path / "net.lz4")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content",
    [
        [np.array([Harm(os.mkdir, "harm")], dtype=object)],
        [np.zeros(3, np.float64)],
        [np.zeros(3, ">f4")],
        [np.asfortranarray(np.ones((3, 2), np.float32))],
        ["text", 1],
        {"a": 1},
        3,
    ],
    ids=["a call", "float64", "big endian", "Fortran order", "text", "a dict", "a number"],
)
def test_anything_but_a_list_of_float32_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    joblib.dump(content, tmp_path / "net.lz4", compress="lz4")
    with pytest.raises(DetectorError, match="net.lz4"):
        read_arrays(tmp_path / "net.lz4")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"hello, this is text", bytes(range(256)) * 50])
def test_a_file_that_is_no_lz4_frame_is_named(tmp_path, content):
    path = tmp_path / "net.lz4"
    path.write_bytes(content)
    with pytest.raises(DetectorError, match="net.lz4"):
        read_arrays(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_cut_weights_are_named(tmp_path, share):
    whole = lz4.decompress((installed_weights() / "pnet.lz4").read_bytes())
    with pytest.raises(DetectorError, match="net.lz4"):
        read_arrays(packed(tmp_path, whole[: int(len(whole) * share)]))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DetectorError, match="pnet.lz4"):
        MTCNN(tmp_path)


def test_weights_of_another_network_are_refused():
    with pytest.raises(DetectorError, match="rnet.lz4 holds the weights of another network"):
        load_weights(proposal_network(), installed_weights() / "rnet.lz4")


def test_a_batch_of_no_pictures_is_refused():
    with pytest.raises(DetectorError, match="batch_size is 0"):
        MTCNN(installed_weights(), batch_size=0)


def test_mtcnn_with_other_weights_is_another_detector():
    ours, same, other = (MTCNN(installed_weights()) for _ in range(3))
    other.deciding.get_parameter(next(name for name, _ in other.deciding.named_parameters())).data.flatten()[0] += 1
    assert ours.fingerprint == same.fingerprint != other.fingerprint
    assert ours.fingerprint != MTCNN(installed_weights(), max_side=320).fingerprint
