"""Tilted faces are rotated upright for the generator, and only the change is rotated back."""

import cv2
import numpy as np
import pytest
import torch

from face_detection import build_detector
from tests.helpers.lipsync import MemorySource, scripted_lipsync, silent_windows
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.errors import InputError
from wav2lip.faces.crops import crop_box
from wav2lip.faces.roll_alignment import align_roll, keep_roll, roll_angle
from wav2lip.lipsync import LipSync, LipSyncOptions

# The astronaut's head: box, then eyes, nose tip and mouth corners, annotated by hand.
BOX = (81, 62, 165, 174)
LANDMARKS = np.array([(107, 101), (150, 103), (125, 125), (108, 141), (151, 140)], np.float32)
CENTER = ((BOX[0] + BOX[2] - 1) / 2, (BOX[1] + BOX[3] - 1) / 2)
OWN_ROLL = 2.7  # degrees: the line through these eyes


def tilt(portrait, degrees):
    """Rotate the portrait clockwise about the center of the face; returns the frame and its target."""
    matrix = cv2.getRotationMatrix2D(CENTER, -degrees, 1)
    frame = cv2.warpAffine(portrait, matrix, portrait.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    landmarks = (LANDMARKS @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return FrameItem(7, frame, []), FaceTarget(BOX, landmarks, person=3)


@pytest.mark.parametrize("degrees", [-30, -8, 12, 25])
def test_align_roll_gives_the_upright_face(portrait, degrees):
    straight, tilted = (align_roll(*tilt(portrait, angle)) for angle in (0, degrees))
    assert np.degrees(roll_angle(tilt(portrait, degrees)[1])) == pytest.approx(degrees + OWN_ROLL, abs=0.2)
    assert abs(float(np.diff(tilted.target.landmarks[:2, 1])[0])) < 0.1
    assert (tilted.item.index, tilted.target.person) == (7, 3)
    actual, expected = (crop_box(face.item.frame, face.target.box).astype(int) for face in (tilted, straight))
    assert actual.shape == expected.shape == (112, 84, 3)
    # Resampling twice softens, so both are blurred before they are compared.
    blurred = [cv2.GaussianBlur(crop.astype(np.float32), (0, 0), 1) for crop in (actual, expected)]
    assert np.abs(blurred[0] - blurred[1]).mean() < 2
    assert np.abs(crop_box(tilt(portrait, degrees)[0].frame, BOX).astype(int) - expected).mean() > 8


def test_paste_back_changes_only_the_rotated_pixels(portrait):
    item, target = tilt(portrait, 20)
    before, face = item.frame.copy(), align_roll(item, target)
    x, y = face.target.landmarks[3:].mean(axis=0).round().astype(int)
    height, width = 7, 19  # of a bar over the mouth
    face.item.frame[y - 3 : y + 4, x - 9 : x + 10] = (0, 255, 0)
    assert np.array_equal(item.frame, before)
    face.paste_back()
    changed = np.abs(item.frame.astype(int) - before).max(axis=2) > 0
    rows, columns = np.nonzero(changed)
    mouth = target.landmarks[3:].mean(axis=0)
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(mouth), abs=1)
    assert height * width <= changed.sum() < (height + 2) * (width + 3)  # interpolation adds about a pixel per side
    main_axis = np.linalg.eigh(np.cov(columns, rows))[1][:, -1]
    angle = np.degrees(np.arctan2(main_axis[1], main_axis[0])) % 180
    assert angle == pytest.approx(20 + OWN_ROLL, abs=2)


def test_face_at_the_edge_of_the_frame_is_aligned(portrait):
    frame = np.ascontiguousarray(portrait[60:, 80:])
    roll = np.array([(0, 0), (0, 12), (0, 5), (-4, 0), (-4, 12)], np.float32)
    target = FaceTarget((0, 0, 85, 114), LANDMARKS - (80, 60) + roll)
    item = FrameItem(0, frame.copy(), [])
    face = align_roll(item, target)
    face.paste_back()
    assert np.array_equal(item.frame, frame)
    face.item.frame[:] = 0
    face.paste_back()
    assert crop_box(frame, target.box).mean() > 100  # a bright face
    assert crop_box(item.frame, target.box).mean() < 10  # not 0, because rotation softens the difference


def test_face_without_reliable_eyes_is_not_rotated(portrait):
    item = FrameItem(0, portrait, [])
    close_eyes = FaceTarget(BOX, np.full((5, 2), 100, np.float32))
    for target in (FaceTarget(BOX), close_eyes):
        assert align_roll(item, target).item is item
        assert align_roll(item, target).target is target
    assert keep_roll(item, close_eyes).item is item


def test_align_rejects_incompatible_options():
    with pytest.raises(InputError, match=r"--align.*--box"):
        LipSyncOptions(align=True, box=(1, 50, 1, 50))
    with pytest.raises(InputError, match=r"--align.*public"):
        LipSyncOptions(align=True, compat="public")


class RecordingGenerator:
    """A generator that records its reference faces and returns them."""

    resolution, framing = 96, None

    def __init__(self):
        self.faces = []

    def load(self, device, precision):
        return self

    def __call__(self, mels, faces, first_row=0):
        self.faces += list(faces[..., 5:2:-1])
        return np.ascontiguousarray(faces[..., 5:2:-1])


def detected_roll(crop):
    ((face, *_),) = build_detector("mtcnn").detect([cv2.resize(crop, (288, 288))])
    return np.degrees(roll_angle(FaceTarget(tuple(round(v) for v in face.box), np.array(face.landmarks, np.float32))))


@pytest.mark.parametrize(("align", "degrees"), [(True, 0), (False, 20 + OWN_ROLL)])
def test_generator_gets_level_eyes_and_frame_stays_sharp(portrait, align, degrees):
    frame, generator = tilt(portrait, 20)[0].frame, RecordingGenerator()
    lipsync = LipSync(generator, torch.device("cpu"), lambda batch_size, compat: build_detector("mtcnn"))
    options = LipSyncOptions(align=align, silence="off")
    items = lipsync.run(MemorySource([frame] * 2), [silent_windows(2)], options)
    results = [item.frame.astype(int) for item in items]
    assert detected_roll(generator.faces[0]) == pytest.approx(degrees, abs=3)
    for result in results:  # differs by the softness of a crop of 96 pixels, around the mouth
        assert np.abs(result - frame).mean() < 0.5
        assert np.array_equal(result[:90], frame[:90])


def test_align_rejects_a_detector_without_landmarks(portrait, monkeypatch):
    monkeypatch.setattr("wav2lip.lipsync.pipeline.build_landmarker", lambda weights, device: None)
    options = LipSyncOptions(align=True)
    with pytest.raises(InputError, match=r"--align.*landmarks"):
        list(scripted_lipsync([BOX]).run(MemorySource([portrait]), [silent_windows(1)], options))
