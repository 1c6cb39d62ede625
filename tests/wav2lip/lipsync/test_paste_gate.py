"""The gate of the blending: hands, turned heads and missed faces are held back, clean frames are not."""

import numpy as np
import pytest
import torch

from face_detection import Face
from tests.wav2lip.faces.test_head_pose import turned
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.crops import resize
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.lipsync.blending import build_blend
from wav2lip.lipsync.blending.paste_gate import PasteGate

BOX = (40, 30, 200, 220)
RNG = np.random.default_rng(0)
FRAME = np.clip(RNG.normal(150, 3, (256, 240, 3)), 0, 255).astype(np.uint8)
FRAME[165:185, 95:145] = (150, 60, 60)  # lips


def with_hand(frame):
    painted = frame.copy()
    painted[180:, 60:180] = (90, 70, 60)
    return painted


def blended(frames, has_gate=True, error=0, targets=None):
    """Blend faces with other lips and without the hand; return the results and whether they were held back."""
    face = resize(FRAME[BOX[1] : BOX[3], BOX[0] : BOX[2]], 96, 96).astype(int)
    face[68:80, 34:62] = (90, 20, 20)
    noise = np.random.default_rng(1).normal(0, error, (24, 24, 3)).repeat(4, 0).repeat(4, 1)
    face = np.clip(face + 6 + noise, 0, 255).astype(np.uint8)
    blend, items = build_blend("feather", has_gate), []
    for number, frame in enumerate(frames):
        target = FaceTarget(BOX) if targets is None else targets[number]
        items.append(FrameItem(number, frame.copy(), [target]))
        blend(items[-1], target, resize(frame[BOX[1] : BOX[3], BOX[0] : BOX[2]], 96, 96), face)
    return [item.frame for item in items], [item.is_held_back for item in items]


def test_clean_frames_are_as_without_gate():
    gated, held = blended([FRAME] * 4)
    plain, _ = blended([FRAME] * 4, has_gate=False)
    np.testing.assert_array_equal(gated, plain)
    assert held == [False] * 4
    assert (gated[0] != FRAME).any()


def test_hand_over_the_chin_stays_visible():
    frames = [FRAME] * 3 + [with_hand(FRAME)] * 6 + [FRAME] * 8
    gated, held = blended(frames)
    plain, _ = blended(frames, has_gate=False)
    for number in range(5, 9):
        np.testing.assert_array_equal(gated[number], frames[number])
        assert np.abs(plain[number].astype(int) - frames[number])[185:205, 80:160].mean() > 20
    assert held[:3] == [False] * 3 and held[4:9] == [True] * 5
    np.testing.assert_array_equal(gated[16], plain[16])  # the generated mouth is back


def test_generator_that_errs_everywhere_is_not_held_back():
    _, held = blended([with_hand(FRAME)] * 6, error=40)
    assert not any(held)


@pytest.mark.parametrize(("yaw", "is_held"), [(30, False), (50, False), (75, True)])
def test_turned_head_is_held_back(yaw, is_held):
    target = FaceTarget(BOX, turned(yaw, 0).astype(np.float32) * 0.7)
    shares = [PasteGate()(0, target, np.zeros((24, 24), np.float32), np.full((64, 64), 0.5, np.float32))]
    assert shares == [0.0 if is_held else 1.0]


def test_gate_changes_softly():
    gate, mask = PasteGate(), np.full((64, 64), 0.5, np.float32)
    clean, covered = np.zeros((24, 24), np.float32), np.zeros((24, 24), np.float32)
    covered[14:] = 60
    shares = [gate(n, FaceTarget(BOX), covered if 2 <= n < 5 else clean, mask) for n in range(11)]
    assert shares == pytest.approx([1, 1, 0.5, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    assert gate(40, FaceTarget(BOX), covered, mask) == 0  # after a gap at once


def test_missed_face_is_held_back_from_the_second_frame():
    gate, mask, clean = PasteGate(), np.full((64, 64), 0.5, np.float32), np.zeros((24, 24), np.float32)
    missed = [0, 1, 0, 1, 1, 1, 0, 0]
    shares = [gate(n, FaceTarget(BOX, is_missed=bool(miss)), clean, mask) for n, miss in enumerate(missed)]
    assert shares == pytest.approx([1, 1, 1, 1, 0.5, 0, 0.2, 0.4])
    differing = np.zeros((24, 24), np.float32)
    differing[14:] = 23  # partly held back for a face that is found
    assert 0 < PasteGate()(0, FaceTarget(BOX), differing, mask) < 1
    assert PasteGate()(0, FaceTarget(BOX, is_missed=True), differing, mask) == 0


class TurnedDetector:
    """One face, turned by 80 degrees in the second half of the frames, which are darker."""

    name = "turned"

    def detect(self, frames):
        return [[self._face(frame)] for frame in frames]

    def _face(self, frame):
        scale = frame.shape[0] / 256
        points = turned(80 if frame.mean() < 115 else 0, 0) * 0.4 + (40, 90)
        return Face(tuple(scale * np.array(BOX, float)), 0.9, tuple(map(tuple, points * scale)))


class PinkBackend:
    """A generator that paints the right skin and other lips."""

    resolution, framing = 96, None

    def load(self, device, precision):
        return lambda mels, faces, first_row: np.ascontiguousarray(faces[..., 5:2:-1] // 2 + 60)


def test_result_counts_frames_held_back(tmp_path):
    frames = np.stack([FRAME] * 20 + [(FRAME * 0.6).astype(np.uint8)] * 20)
    audio = np.random.default_rng(0).normal(0, 0.1, 25_600).astype(np.float32), 16_000
    engine = LipSync(PinkBackend(), torch.device("cpu"), lambda batch_size, compat: TurnedDetector())
    options = {"cache": False, "silence": "off", "pads": (0, 0, 0, 0)}
    result = engine(frames, audio, tmp_path / "a.mp4", LipSyncOptions(**options, gate=True))
    assert 15 <= result.held_back <= 20
    assert engine(frames, audio, tmp_path / "b.mp4", LipSyncOptions(**options)).held_back == 0
