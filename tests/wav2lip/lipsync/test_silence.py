"""Closed mouths in pauses: the silence control and the search for a closed-mouth reference."""

import logging
from fractions import Fraction

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from face_detection import DetectorError, build_detector
from models import Wav2Lip
from tests.helpers.lipsync import MemorySource, scripted_lipsync
from tests.helpers.media import write_wav
from wav2lip.audio.voice_activity import detect_voice
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.errors import InputError
from wav2lip.faces.boxes import Pads
from wav2lip.lipsync import Cancelled, LipSyncOptions, closed_mouth_reference, mel_windows_from_file
from wav2lip.lipsync.closed_mouth_reference import SEARCH_INTERVAL_FRAMES, ClosedMouthReference, lip_contrast
from wav2lip.lipsync.silence import SilenceControl, mouth_openness
from wav2lip.media import read_audio
from wav2lip.synthetic import Speaker, render, speak
from wav2lip.synthetic.voice import OPENING

RATE = 16_000


@pytest.fixture(scope="module")
def babble():
    """Two seconds of a synthetic voice."""
    return speak(2.0, Speaker.from_seed(1), 1)


@pytest.fixture(scope="module")
def head(babble):
    return np.stack(list(render(babble, Speaker.from_seed(1), 1)))


def test_silence_control_fades_mel_and_reference():
    closed_mouth, crop = np.full((8, 8, 3), 200, np.uint8), np.full((8, 8, 3), 100, np.uint8)
    silence = SilenceControl([[1, 0.25, 0, 0].__getitem__], lambda target, crop: closed_mouth)
    mel, target = np.full((1, 80, 16), 2, np.float32), FaceTarget((0, 0, 8, 8))
    items = [FrameItem(n, crop, [target]) for n in range(4)]
    assert [float(silence.fade_mel(item, target, mel)[0, 0, 0]) for item in items] == [2, -2.5, -4, -4]  # -4 is silence
    assert [int(silence.reference(item, target, crop)[0, 0, 0]) for item in items] == [100, 175, 200, 200]
    no_reference = SilenceControl([lambda index: 0.0], lambda target, crop: None)
    assert no_reference.reference(items[2], target, crop) is crop


@pytest.fixture(scope="module")
def faces(head):
    """Return the face of every sixth frame of the head."""
    detector = build_detector("mtcnn")
    return {n: face for n, (face,) in zip(range(0, 50, 6), detector.detect(list(head[::6])), strict=False)}


def test_lip_contrast_follows_articulation(babble, head, faces):
    openness = {n: babble.articulation[n, OPENING] for n in faces}
    contrast = {n: lip_contrast(head[n], np.array(face.landmarks)) for n, face in faces.items()}
    assert openness[min(contrast, key=contrast.get)] < 0.1
    assert np.corrcoef(list(openness.values()), list(contrast.values()))[0, 1] > 0.6


PADS = Pads(0, 10, 0, 0)


def build_target(frame, face, person=0):
    """Return a face as a padded target, and its crop."""
    left, top, right, bottom = (round(v) for v in face.box)
    return FaceTarget((left, top, right, bottom + 10), person=person), crop_face(frame, face)


def crop_face(frame, face):
    left, top, right, bottom = (round(v) for v in face.box)
    return cv2.resize(frame[top : bottom + 10, left:right], (96, 96))


class CountingDetector:
    """MTCNN that counts its builds and images."""

    def __init__(self):
        self.name, self.built, self.num_images, self._detector = "mtcnn", 0, 0, build_detector("mtcnn")

    def __call__(self):
        self.built += 1
        return self

    def detect(self, frames):
        self.num_images += len(frames)
        return self._detector.detect(frames)


@pytest.fixture(scope="module")
def other_person(head):
    """Frame and face of another person, mirrored and redder, at about the same place and size."""
    portrait = skimage.data.astronaut()[:256, 96:352, ::-1] * np.array([1, 0.6, 0.4])
    frame = cv2.warpAffine(portrait.astype(np.uint8), np.array([[1.3, 0, -40], [0, 1.3, -25]]), head.shape[2:0:-1])
    ((face,),) = build_detector("mtcnn").detect([frame])
    return frame, face


def test_closed_mouth_is_found_only_near_target(head, faces):
    wide_frames = np.zeros((len(head), 288, 800, 3), np.uint8)
    wide_frames[:, :, 200:456] = head
    target, crop = build_target(head[0], faces[0])
    left, top, right, bottom = target.box
    search = ClosedMouthReference(MemorySource(list(wide_frames)), CountingDetector(), PADS, 96)
    reference = search(FaceTarget((left + 200, top, right + 200, bottom)), crop)
    best = min(faces, key=lambda n: lip_contrast(head[n], np.array(faces[n].landmarks)))
    # The boxes of two detections may differ by a pixel; another person differs by over 30 levels, as tested below.
    assert np.abs(reference.astype(int) - crop_face(head[best], faces[best])).mean() < 8
    assert search(FaceTarget((600, 80, 740, 260), person=1), crop) is None


def test_closed_mouth_is_never_of_another_person(head, faces, other_person, monkeypatch):
    monkeypatch.setattr(closed_mouth_reference, "SEARCH_FRAMES", 24)  # the other person appears later
    frame, face = other_person
    search = ClosedMouthReference(MemorySource([*head[:24], *[frame] * 30]), CountingDetector(), PADS, 96)
    assert search(*build_target(head[0], faces[0], person=0)) is not None
    assert search(*build_target(frame, face, person=1)) is None


@pytest.mark.parametrize("box", ["followed", "fixed"])
def test_closed_mouths_of_two_shots_from_one_search(head, faces, other_person, box):
    frame, face = other_person
    detector, video = CountingDetector(), MemorySource([*head[:24], *[frame] * 12])
    first_target, second_target = build_target(head[0], faces[0], person=0), build_target(frame, face, person=1)
    if box == "fixed":  # without tracking both are person 0
        left, top, right, bottom = first_target[0].box
        second_target = FaceTarget((left, top, right, bottom)), cv2.resize(frame[top:bottom, left:right], (96, 96))
    search = ClosedMouthReference(video, detector, None if box == "fixed" else PADS, 96)
    first, second = search(*first_target), search(*second_target)
    assert np.abs(second.astype(int) - second_target[1]).mean() < 8
    assert np.abs(first.astype(int) - second_target[1]).mean() > 30
    assert np.abs(search(*first_target).astype(int) - first).max() == 0
    assert (detector.built, detector.num_images) == (1, 36 // SEARCH_INTERVAL_FRAMES)


def test_closed_mouth_candidates_are_bounded(head, faces, other_person, monkeypatch):
    monkeypatch.setattr(closed_mouth_reference, "MAX_CANDIDATES", 3)
    frame, face = other_person
    frames = [np.hstack([image, frame]) for image in head[:24]]
    search = ClosedMouthReference(MemorySource(frames), CountingDetector(), PADS, 96)
    assert search(*build_target(head[0], faces[0])) is not None
    (left, top, right, bottom), crop = build_target(frame, face)[0].box, crop_face(frame, face)
    target = FaceTarget((left + 256, top, right + 256, bottom), person=1)
    assert np.abs(search(target, crop).astype(int) - crop).mean() < 8
    assert len(search._candidates) == 3


def test_smaller_face_is_searched_in_larger_images(head, faces):
    small_frames = [cv2.resize(frame, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA) for frame in head]
    frames = []
    for large, small in zip(head, small_frames, strict=True):
        frame = np.zeros((large.shape[0], large.shape[1] * 2, 3), np.uint8)
        frame[:, : large.shape[1]] = large
        frame[: small.shape[0], large.shape[1] : large.shape[1] + small.shape[1]] = small[:, ::-1]
        frames.append(frame)
    detector = CountingDetector()
    search = ClosedMouthReference(MemorySource(frames), detector, PADS, 96)
    assert search(*build_target(head[0], faces[0])) is not None
    ((face, *_),) = build_detector("mtcnn").detect([frames[0][:90, 256:]])
    left, top, right, bottom = (round(v) for v in face.box)
    crop = cv2.resize(frames[0][top : bottom + 10, left + 256 : right + 256], (96, 96))
    first_search = detector.num_images
    assert search(FaceTarget((left + 256, top, right + 256, bottom + 10), person=1), crop) is not None
    assert detector.num_images == 2 * first_search
    assert search(*build_target(head[0], faces[0])) is not None
    assert detector.num_images == 2 * first_search  # the larger images contain the large face too


def test_closed_mouth_search_can_be_cancelled(head, faces):
    answers = iter([False] * 10 + [True])
    search = ClosedMouthReference(MemorySource(list(head)), CountingDetector(), PADS, 96, lambda: next(answers))
    with pytest.raises(Cancelled):
        search(*build_target(head[0], faces[0]))


def test_static_source_has_no_closed_mouth(head, faces):
    static_source = MemorySource([head[0]])
    static_source.static = True
    search = ClosedMouthReference(static_source, pytest.fail, Pads(bottom=10), 96)
    assert search(*build_target(head[0], faces[0])) is None


def test_missing_mtcnn_logs_warning_and_continues(head, faces, monkeypatch, caplog):
    def fail(name, **_):
        raise DetectorError(f"no {name} here")

    monkeypatch.setattr(closed_mouth_reference, "build_detector", fail)
    with (
        caplog.at_level(logging.WARNING),
        scripted_lipsync([faces[0].box]).stream(head, (np.zeros(RATE // 2, np.float32), RATE)) as stream,
    ):
        assert len(list(stream)) == 13
    assert sum("no mtcnn here" in line for line in caplog.messages) == 1
    assert sum("no voice" in line for line in caplog.messages) == 1


def test_silence_changes_only_frames_in_pauses(tmp_path, babble, head, faces):
    audio = np.concatenate([babble.wav[:RATE], np.zeros(RATE, np.float32)])
    path, (left, top, right, bottom) = write_wav(tmp_path / "audio.wav", audio), map(round, faces[0].box)
    torch.manual_seed(0)
    lipsync, source = scripted_lipsync([], Wav2Lip(width=0.125)), MemorySource(list(head))
    windows = mel_windows_from_file(path, Fraction(25))
    options = LipSyncOptions(box=(top, bottom, left, right), blend="box")
    silence = lipsync.silence_control(source, [path], len(windows), options)
    faded, plain = (
        np.stack([item.frame for item in lipsync.run(source, [windows], options, silence=control)]).astype(int)
        for control in (silence, None)
    )
    change, share = (
        np.abs(faded - plain).max(axis=(1, 2, 3)),
        mouth_openness(detect_voice(read_audio(path, RATE)), 50, 25),
    )
    assert (share == 1).sum() > 15
    assert (share == 0).sum() > 15
    assert change[share == 1].max() == 0
    assert (change[share == 0] == 0).sum() <= 1  # one frame may be the reference itself
    for disabled in (LipSyncOptions(silence="off"), LipSyncOptions(compat="public")):
        assert lipsync.silence_control(source, [path], len(windows), disabled) is None


def test_options_reject_unknown_silence():
    with pytest.raises(InputError, match="--silence=hush: must be one of"):
        LipSyncOptions(silence="hush")


def test_mouth_openness_leads_and_lags_the_voice():
    decisions = np.zeros(400, bool)
    decisions[100:200] = True  # from 1 s to 2 s
    decisions[220:260] = True  # after a pause of 0.2 s
    openness = mouth_openness(decisions, 400, 100)  # frames of 10 ms
    assert openness[93:264].min() == 1  # from 70 ms before the voice, through the pause, to 40 ms after
    assert openness[:80].max() == openness[280:].max() == 0
    assert np.all(np.diff(openness[80:93]) >= 0)
    assert np.all(np.diff(openness[264:280]) <= 0)
    assert np.abs(np.diff(openness)).max() < 0.15  # the transition is smooth


@pytest.mark.parametrize(("decisions", "expected"), [
    (np.ones(100, bool), 1), (np.zeros(100, bool), 0), (np.zeros(0, bool), 0),
])  # fmt: skip
def test_mouth_openness_of_constant_decisions(decisions, expected):
    np.testing.assert_array_equal(mouth_openness(decisions, 25, 25), np.full(25, expected, np.float32))
