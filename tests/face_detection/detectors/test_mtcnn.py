"""MTCNN with the weights of the installed package, on real images."""

from __future__ import annotations

import os
import pickle
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from face_detection import DetectorError
from face_detection.adaptive_batch import AdaptiveBatcher
from face_detection.detectors.haar import Haar
from face_detection.detectors.mtcnn import MTCNN
from face_detection.detectors.mtcnn_network import onet, pnet, rnet
from face_detection.detectors.mtcnn_weights import FILES, find_installed_weights, load_weights, read_arrays
from tests.helpers.faces import FACE_BOXES, box_iou, read_rgb

lz4 = pytest.importorskip("lz4.frame")
joblib = pytest.importorskip("joblib")

# Eyes, nose tip and mouth corners, annotated by hand: x, y in pixels.
LANDMARKS = {
    "astronaut": [(203, 101), (246, 103), (221, 125), (204, 141), (247, 140)],
    "photo_person.png": [(195, 146), (266, 143), (232, 190), (202, 219), (263, 217)],
}

# Outputs of facenet-pytorch 2.6.0 (MIT) for a ramp from -1 to 1: size, face, offsets, landmarks.
RAMP_OUTPUTS = {
    "pnet.lz4": (12, 0.0015483348, [0.036073565, -0.03615896, 0.025501288, 0.12077168], []),
    "rnet.lz4": (24, 0.0006806763, [-0.14635023, -0.22725838, 0.1520619, 0.38738438], []),
    "onet.lz4": (48, 0.0001415267, [-0.039363913, -0.074976727, -0.014943138, 0.11668871],
        [0.36302114, 0.69260991, 0.51655906, 0.34640473, 0.58524323,
         0.26075763, 0.29351625, 0.50456202, 0.73579395, 0.77025062]),
}  # fmt: skip
NETWORKS = dict(zip(FILES, (pnet, rnet, onet), strict=True))


@pytest.fixture(scope="module")
def mtcnn():
    return MTCNN(find_installed_weights())


def rotate(image, degrees):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def write_lz4(tmp_path, content):
    path = tmp_path / "net.lz4"
    path.write_bytes(lz4.compress(content))
    return path


# Detection


def test_detects_one_face(mtcnn, astronaut):
    ((face,),) = mtcnn.detect([astronaut])
    assert box_iou(face.box, FACE_BOXES["astronaut"]) > 0.7
    assert 0.9 < face.score <= 1


def test_landmarks_match_annotation(mtcnn, astronaut):
    ((face,),) = mtcnn.detect([astronaut])
    np.testing.assert_allclose(face.landmarks, LANDMARKS["astronaut"], atol=5)  # of a face 94 pixels wide


def test_landmark_order_is_left_to_right_in_the_image(mtcnn, astronaut):
    ((face,),) = mtcnn.detect([np.ascontiguousarray(astronaut[:, ::-1])])
    left_eye, right_eye, _, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]


@pytest.mark.parametrize("degrees", [-30, -20, 20, 30])
def test_detects_tilted_head(mtcnn, astronaut, degrees):
    ((face,),) = mtcnn.detect([rotate(astronaut[:384, 64:448], degrees)])
    (x, y), (right_x, right_y) = face.landmarks[:2]
    own_roll = 2.7  # degrees, from the annotated eyes
    assert np.degrees(np.arctan2(y - right_y, right_x - x)) == pytest.approx(degrees - own_roll, abs=6)


def test_blank_and_noise_have_no_face(mtcnn):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert mtcnn.detect([np.full((240, 320, 3), 128, np.uint8), noise]) == [[], []]


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (27, 200, 3), (2, 900, 3)])
def test_tiny_image_has_no_face(mtcnn, shape):
    assert mtcnn.detect([np.zeros(shape, np.uint8)]) == [[]]


def test_empty_batch(mtcnn):
    assert mtcnn.detect([]) == []


def test_results_are_in_batch_order(mtcnn, astronaut):
    blank = np.zeros_like(astronaut)
    assert [len(faces) for faces in mtcnn.detect([blank, astronaut, blank])] == [0, 1, 0]


def test_faces_are_ordered_by_score(mtcnn, astronaut):
    pair = np.hstack([astronaut[:256, 96:352], cv2.GaussianBlur(astronaut[:256, 96:352], (0, 0), 4)])
    (faces,) = mtcnn.detect([pair])
    assert len(faces) == 2 and faces[0].score >= faces[1].score


def test_out_of_memory_halves_the_batch(mtcnn, astronaut, monkeypatch, caplog):
    expected, detect_batch = mtcnn.detect([astronaut] * 3), mtcnn._detect_batch

    def fail_on_large_batch(frames):
        if len(frames) > 1:
            raise torch.OutOfMemoryError("full")
        return detect_batch(frames)

    monkeypatch.setattr(mtcnn, "_detect_batch", fail_on_large_batch)
    monkeypatch.setattr(mtcnn, "batcher", AdaptiveBatcher(4, "MTCNN", "images"))
    for (actual,), (reference,) in zip(mtcnn.detect([astronaut] * 3), expected, strict=True):
        np.testing.assert_allclose(actual.box, reference.box, atol=0.01)
    assert len(caplog.records) == 1 and "1 images" in caplog.text
    assert mtcnn.batcher.size == 1


def test_result_does_not_depend_on_batch_size(mtcnn, astronaut):
    frames = [np.roll(astronaut, shift, axis=1) for shift in (0, 10, 20)]
    single = MTCNN(find_installed_weights(), batch_size=1).detect(frames)
    for (actual,), (reference,) in zip(mtcnn.detect(frames), single, strict=True):
        np.testing.assert_allclose(actual.box, reference.box, atol=0.01)


def test_detection_is_deterministic(mtcnn, astronaut):
    assert mtcnn.detect([astronaut]) == mtcnn.detect([astronaut])


def test_faces_scale_with_the_image(mtcnn, astronaut):
    (small,) = mtcnn.detect([astronaut])[0]
    (large,) = mtcnn.detect([cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)])[0]
    assert box_iou(np.array(small.box) * 3, large.box) > 0.9
    np.testing.assert_allclose(large.landmarks, np.array(small.landmarks) * 3, atol=9)


def test_boxes_do_not_start_outside_the_image(mtcnn, astronaut):
    faces = mtcnn.detect([np.ascontiguousarray(astronaut[85:, 185:])])[0]
    assert len(faces) <= 1 and all(min(face.box) >= 0 for face in faces)


@pytest.mark.parametrize("name", ["photo_person.png", "photo_painting.png"])
def test_box_spans_forehead_to_chin(mtcnn, shared_media, name):
    (face,) = mtcnn.detect([read_rgb(shared_media / name)])[0]
    assert box_iou(face.box, FACE_BOXES[name]) > 0.8


def test_landmarks_of_close_face_match_annotation(mtcnn, shared_media):
    (face,) = mtcnn.detect([read_rgb(shared_media / "photo_person.png")])[0]
    np.testing.assert_allclose(face.landmarks, LANDMARKS["photo_person.png"], atol=8)  # of a face 153 pixels wide


def test_detects_nine_faces(mtcnn, shared_media):
    assert len(mtcnn.detect([read_rgb(shared_media / "photo_nine_faces.jpg")])[0]) == 9


def test_detects_small_face_only(mtcnn, shared_media):
    assert len(mtcnn.detect([read_rgb(shared_media / "photo_full_body.png")])[0]) == 1


def test_no_false_positive_in_grass(mtcnn, shared_media):
    assert mtcnn.detect([read_rgb(shared_media / "photo_no_face.jpg")]) == [[]]


def read_frames(path, numbers):
    av = pytest.importorskip("av")
    with av.open(str(path)) as clip:
        return [frame.to_ndarray(format="rgb24") for i, frame in enumerate(clip.decode(video=0)) if i in numbers]


def test_no_false_positive_on_hands(mtcnn, shared_media):
    detections = mtcnn.detect(read_frames(shared_media / "portrait_1080x1920_hevc.mp4", range(0, 250, 25)))
    assert [len(faces) for faces in detections] == [1] * 10
    assert box_iou(detections[0][0].box, (512, 592, 684, 839)) > 0.7  # annotated by hand


def test_boxes_are_twice_as_stable_as_haar(mtcnn, shared_media):
    frames = read_frames(shared_media / "speaker_b_700_vfr.mp4", range(40, 56))
    changes = []
    for detector in (mtcnn, Haar()):
        boxes = [faces[0].box for faces in detector.detect(frames) if faces]
        assert len(boxes) >= 14
        changes.append(np.median([1 - box_iou(a, b) for a, b in pairwise(boxes)]))
    assert changes[0] < changes[1] / 2


# The networks and their weights


@pytest.mark.parametrize("name", FILES)
def test_networks_equal_facenet_pytorch(name):
    size, face, offsets, landmarks = RAMP_OUTPUTS[name]
    network = load_weights(NETWORKS[name](), find_installed_weights() / name).eval()
    ramp = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    with torch.inference_mode():
        output = network(ramp)
    torch.testing.assert_close(output.log_odds.sigmoid().flatten(), torch.tensor([face]), atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(output.offsets.flatten(), torch.tensor(offsets), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.landmarks.flatten(), torch.tensor(landmarks), atol=1e-5, rtol=1e-4)


def test_read_arrays_equals_joblib(tmp_path):
    arrays = [
        np.random.default_rng(n).random(shape, np.float32) for n, shape in enumerate([(3, 3, 2, 5), (5,), (7, 1)])
    ]
    joblib.dump(arrays, tmp_path / "net.lz4", compress="lz4")
    for array, expected in zip(read_arrays(tmp_path / "net.lz4"), arrays, strict=True):
        np.testing.assert_array_equal(array, expected)


class Exploit:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, eval, getattr, np.load, np.fromfile, joblib.load],
                         ids=lambda function: function.__name__)  # fmt: skip
def test_pickle_with_a_call_is_rejected_unexecuted(tmp_path, monkeypatch, function):
    monkeypatch.chdir(tmp_path)
    path = write_lz4(tmp_path, pickle.dumps([Exploit(function, "harm")]))
    with pytest.raises(DetectorError, match="net.lz4"):
        read_arrays(path)
    assert not (tmp_path / "harm").exists()


def test_pickle_with_a_late_call_is_rejected_unexecuted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joblib.dump([np.zeros(4, np.float32), Exploit(os.mkdir, "harm")], tmp_path / "net.lz4", compress="lz4")
    with pytest.raises(DetectorError, match="mkdir"):
        read_arrays(tmp_path / "net.lz4")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "content",
    [
        [np.array([Exploit(os.mkdir, "harm")], dtype=object)],
        [np.zeros(3, np.float64)],
        [np.zeros(3, ">f4")],
        [np.asfortranarray(np.ones((3, 2), np.float32))],
        ["text", 1],
        {"a": 1},
        3,
    ],
    ids=["call", "float64", "big endian", "Fortran order", "text", "dict", "number"],
)
def test_other_content_than_float32_is_rejected(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    joblib.dump(content, tmp_path / "net.lz4", compress="lz4")
    with pytest.raises(DetectorError, match="net.lz4"):
        read_arrays(tmp_path / "net.lz4")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"hello, this is text", bytes(range(256)) * 50])
def test_invalid_lz4_error_names_file(tmp_path, content):
    path = tmp_path / "net.lz4"
    path.write_bytes(content)
    with pytest.raises(DetectorError, match="net.lz4"):
        read_arrays(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_truncated_weights_error_names_file(tmp_path, share):
    content = lz4.decompress((find_installed_weights() / "pnet.lz4").read_bytes())
    with pytest.raises(DetectorError, match="net.lz4"):
        read_arrays(write_lz4(tmp_path, content[: int(len(content) * share)]))


def test_missing_file_error_names_file(tmp_path):
    with pytest.raises(DetectorError, match="pnet.lz4"):
        MTCNN(tmp_path)


def test_weights_of_another_network_are_rejected():
    with pytest.raises(DetectorError, match="rnet.lz4.*another network"):
        load_weights(pnet(), find_installed_weights() / "rnet.lz4")


def test_batch_size_0_is_rejected():
    with pytest.raises(DetectorError, match="batch_size=0"):
        MTCNN(find_installed_weights(), batch_size=0)


def test_fingerprint_depends_on_weights_and_size():
    detector, equal, modified = (MTCNN(find_installed_weights()) for _ in range(3))
    next(iter(modified.onet.parameters())).data.flatten()[0] += 1
    assert detector.fingerprint == equal.fingerprint != modified.fingerprint
    assert detector.fingerprint != MTCNN(find_installed_weights(), max_side=320).fingerprint
