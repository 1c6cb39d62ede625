"""Tilted heads are painted upright, and nothing but the lips is turned back."""

import cv2
import numpy as np
import pytest
import torch

from face_detection import build_detector
from tests.wav2lip.test_lipsync import Frames, lipsync, silent
from wav2lip.crops import cut
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSync, Options
from wav2lip.lipsync.shown import Shown, Target
from wav2lip.lipsync.turning import as_it_is, tilt, upright

# The astronaut's head: box, then eyes, nose tip and mouth corners, read off the picture by eye.
BOX = (81, 62, 165, 174)
POINTS = np.array([(107, 101), (150, 103), (125, 125), (108, 141), (151, 140)], np.float32)
MIDDLE = ((BOX[0] + BOX[2] - 1) / 2, (BOX[1] + BOX[3] - 1) / 2)


def tilted(portrait, degrees):
    """The portrait turned clockwise about the middle of the face, and its target."""
    turn = cv2.getRotationMatrix2D(MIDDLE, -degrees, 1)
    frame = cv2.warpAffine(portrait, turn, portrait.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return Shown(7, frame, []), Target(BOX, (POINTS @ turn[:, :2].T + turn[:, 2]).astype(np.float32), person=3)


@pytest.mark.parametrize("degrees", [-30, -8, 12, 25])
def test_a_tilted_head_is_seen_as_it_would_be_upright(portrait, degrees):
    straight = upright(*tilted(portrait, 0))
    seen = upright(*tilted(portrait, degrees))
    assert np.degrees(tilt(tilted(portrait, degrees)[1])) == pytest.approx(degrees + 2.7, abs=0.2)  # 2.7 is her own
    assert abs(float(np.diff(seen.target.landmarks[:2, 1])[0])) < 0.1
    assert (seen.shown.number, seen.target.person) == (7, 3)
    ours, expected = (cut(view.shown.frame, view.target.box).astype(int) for view in (seen, straight))
    assert ours.shape == expected.shape == (112, 84, 3)
    blurred = [cv2.GaussianBlur(one.astype(np.float32), (0, 0), 1) for one in (ours, expected)]  # turned twice: softer
    assert np.abs(blurred[0] - blurred[1]).mean() < 2
    assert np.abs(cut(tilted(portrait, degrees)[0].frame, BOX).astype(int) - expected).mean() > 8


def test_what_is_painted_is_turned_back_to_where_it_belongs_and_all_else_stays(portrait):
    shown, target = tilted(portrait, 20)
    before, view = shown.frame.copy(), upright(shown, target)
    x, y = view.target.landmarks[3:].mean(axis=0).round().astype(int)
    view.shown.frame[y - 3 : y + 4, x - 9 : x + 10] = (0, 255, 0)
    assert np.array_equal(shown.frame, before)
    view.put_back()
    changed = np.abs(shown.frame.astype(int) - before).max(axis=2) > 0
    rows, columns = np.nonzero(changed)
    mouth = target.landmarks[3:].mean(axis=0)
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(mouth), abs=1)
    assert 7 * 19 <= changed.sum() < 9 * 22
    along = np.cov(columns, rows)
    angle = np.degrees(np.arctan2(*np.linalg.eigh(along)[1][::-1, -1])) % 180
    assert angle == pytest.approx(22.7, abs=2)  # the bar is as tilted as the eyes


def test_a_head_at_the_edge_of_the_frame_is_turned_too(portrait):
    frame = np.ascontiguousarray(portrait[60:, 80:])
    falling = np.array([(0, 0), (0, 12), (0, 5), (-4, 0), (-4, 12)], np.float32)
    target = Target((0, 0, 85, 114), POINTS - (80, 60) + falling)
    shown = Shown(0, frame.copy(), [])
    view = upright(shown, target)
    view.put_back()
    assert np.array_equal(shown.frame, frame)
    view.shown.frame[:] = 0
    view.put_back()
    assert cut(frame, target.box).mean() > 100
    assert cut(shown.frame, target.box).mean() < 10  # turning to and fro softens what is taken away


def test_without_eyes_a_face_is_painted_as_it_is(portrait):
    shown = Shown(0, portrait, [])
    close = Target(BOX, np.full((5, 2), 100, np.float32))
    for target in (Target(BOX), close):
        assert upright(shown, target).shown is shown
        assert upright(shown, target).target is target
    assert as_it_is(shown, close).shown is shown


def test_align_says_what_it_needs(portrait):
    with pytest.raises(InputError, match="--align does not go with --box"):
        Options(align=True, box=(1, 50, 1, 50))
    with pytest.raises(InputError, match="--align does not go with --compat public"):
        Options(align=True, compat="public")


class Watching:
    """A generator that keeps what it is shown and answers with it."""

    resolution = 96

    def __init__(self):
        self.shown = []

    def on(self, device, precision):
        return self

    def __call__(self, mels, pictures, top=0):
        self.shown += list(pictures[..., 5:2:-1])
        return np.ascontiguousarray(pictures[..., 5:2:-1])


def eyes_of(crop):
    ((face, *_),) = build_detector("mtcnn").detect([cv2.resize(crop, (288, 288))])
    return np.degrees(tilt(Target(tuple(round(v) for v in face.box), np.array(face.landmarks, np.float32))))


@pytest.mark.parametrize(("align", "degrees"), [(True, 0), (False, 22.7)])
def test_the_generator_is_shown_level_eyes_and_the_frame_keeps_its_sharpness(portrait, align, degrees):
    frame, watching = tilted(portrait, 20)[0].frame, Watching()
    ours = LipSync(watching, torch.device("cpu"), lambda batch_size, compat: build_detector("mtcnn"))
    options = Options(align=align, silence="off")
    made = [one.frame.astype(int) for one in ours.shown(Frames([frame] * 2), silent(2), options)]
    assert eyes_of(watching.shown[0]) == pytest.approx(degrees, abs=3)
    for one in made:  # only the softness of a crop of 96 pixels is in it, around the mouth
        assert np.abs(one - frame).mean() < 0.5
        assert np.array_equal(one[:90], frame[:90])


def test_a_detector_without_eyes_is_refused(portrait):
    with pytest.raises(InputError, match="--align needs to know the eyes, which given does not tell"):
        list(lipsync([BOX]).shown(Frames([portrait]), silent(1), Options(align=True)))
