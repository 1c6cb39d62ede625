"""Mouths rest while nobody speaks: voices are heard, closed mouths found, and the generator shown them in pauses."""

import logging
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from face_detection import DetectorError, build_detector
from models import Wav2Lip
from tests.conftest import write_wav
from tests.wav2lip.test_lipsync import Frames, lipsync
from wav2lip.crops import Pads
from wav2lip.errors import InputError
from wav2lip.lipsync import Cancelled, Options, closed_mouth, engine, sound_windows
from wav2lip.lipsync.closed_mouth import EVERY, ClosedMouths, lip_contrast
from wav2lip.lipsync.shown import Shown, Target
from wav2lip.lipsync.silence import Silence
from wav2lip.lipsync.voice import openness, voiced
from wav2lip.media import read_audio
from wav2lip.sample import Speaker, render, speak
from wav2lip.sample.speech import OPENING

SPEECH = Path(__file__).parents[4] / "shared" / "media" / "speech_en_8s.wav"
RATE = 16_000


@pytest.fixture(scope="module")
def babble():
    """Two seconds of a made-up voice."""
    return speak(2.0, Speaker.from_seed(1), 1)


@pytest.fixture(scope="module")
def head(babble):
    return np.stack(list(render(babble, Speaker.from_seed(1), 1)))


def noise(seconds, level):
    return np.random.default_rng(0).normal(0, 10 ** (level / 20), int(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("sound", [
    np.zeros(2 * RATE), noise(2, -60), noise(2, -40), 0.01 * np.sin(np.arange(2 * RATE) * 2 * np.pi * 50 / RATE),
], ids=["digital silence", "faint hiss", "room noise at -40 dB", "mains hum"])  # fmt: skip
def test_silence_and_the_noise_of_a_room_are_no_voice(sound):
    assert voiced([sound.astype(np.float32)]).mean() < 0.02


def pink(seconds, level):
    """Noise whose power falls by 3 dB from octave to octave, as that of a room does."""
    bands = np.fft.rfft(noise(seconds, 0))
    sound = np.fft.irfft(bands / np.sqrt(np.maximum(np.arange(len(bands)), 1)))
    return (sound / sound.std() * 10 ** (level / 20)).astype(np.float32)


def test_a_voice_30_dB_fainter_is_heard_as_much(babble):
    share = voiced([babble.wav]).mean()
    assert share > 0.6
    for level in (-30, -40):
        assert voiced([babble.wav * np.float32(10 ** (level / 20))]).mean() > 0.9 * share


def test_the_noise_of_a_room_is_not_raised_to_a_voice(babble):
    assert voiced([pink(8, -60)]).mean() < 0.05
    after_a_voice = np.concatenate([babble.wav, np.zeros(8 * RATE, np.float32)]) + pink(10, -60)
    assert voiced([after_a_voice])[220:].mean() < 0.1


def test_real_speech_is_a_voice_also_when_it_is_faint():
    if not SPEECH.is_file():
        pytest.skip(f"{SPEECH.name} is not at hand")
    sound = np.concatenate(list(read_audio(SPEECH, RATE)))
    assert voiced([sound]).mean() > 0.95
    assert voiced([sound / 10]).mean() > 0.9
    assert voiced([sound / 100]).mean() > 0.9


def test_a_pause_between_words_is_found_where_it_is(babble):
    voice = babble.wav[: RATE // 2 * 3] + noise(1.5, -60)
    heard = voiced([np.concatenate([noise(1, -60), voice, noise(1, -60)]).astype(np.float32)])
    assert heard[:90].mean() < 0.05
    assert heard[105:245].mean() > 0.6
    assert heard[275:].mean() < 0.05


def test_a_voice_is_the_same_in_blocks_of_any_size(babble):
    sound = babble.wav.astype(np.float32)
    blocks = np.split(sound, [1, 700, 701, 9999])
    np.testing.assert_array_equal(voiced(blocks), voiced([sound]))
    assert len(voiced([sound[:1700]])) == 11  # the last step is filled up


def test_the_mouth_is_free_before_the_first_sound_and_shut_soon_after_the_last():
    voice = np.zeros(400, bool)
    voice[100:200] = True  # from 1 s to 2 s
    voice[220:260] = True  # after a breath of 0.2 s
    share = openness(voice, 400, 100)  # frames of 10 ms
    assert share[93:264].min() == 1  # from 70 ms before, through the breath, to 40 ms after
    assert share[:80].max() == share[280:].max() == 0
    assert np.all(np.diff(share[80:93]) >= 0)
    assert np.all(np.diff(share[264:280]) <= 0)
    assert np.abs(np.diff(share)).max() < 0.15  # it eases


@pytest.mark.parametrize(("voice", "expected"), [
    (np.ones(100, bool), 1), (np.zeros(100, bool), 0), (np.zeros(0, bool), 0),
])  # fmt: skip
def test_sound_that_is_all_voice_or_none_frees_or_shuts_the_mouth_throughout(voice, expected):
    np.testing.assert_array_equal(openness(voice, 25, 25), np.full(25, expected, np.float32))


def test_in_a_pause_the_generator_is_given_silence_and_the_closed_mouth():
    closed, crop = np.full((8, 8, 3), 200, np.uint8), np.full((8, 8, 3), 100, np.uint8)
    silence = Silence(np.array([1, 0.25, 0], np.float32), lambda target, crop: closed)
    mel, target = np.full((1, 80, 16), 2, np.float32), Target((0, 0, 8, 8))
    assert [float(silence.mel(n, mel)[0, 0, 0]) for n in range(4)] == [2, -2.5, -4, -4]  # -4 is silence
    shown = [Shown(n, crop, [target]) for n in range(3)]
    assert [int(silence.reference(one, target, crop)[0, 0, 0]) for one in shown] == [100, 175, 200]
    without = Silence(np.zeros(3, np.float32), lambda target, crop: None)
    assert without.reference(shown[2], target, crop) is crop


class Video(Frames):
    """Frames from memory at 25 a second."""

    def frames(self, first=0, last=None):
        return (frame.copy() for frame in self._frames[first:last])


@pytest.fixture(scope="module")
def looks(head):
    """Every sixth frame of the head with its face."""
    detector = build_detector("mtcnn")
    return {n: face for n, (face,) in zip(range(0, 50, 6), detector.detect(list(head[::6])), strict=False)}


def test_lips_are_judged_closed_where_the_articulation_says_so(babble, head, looks):
    opening = {n: babble.articulation[n, OPENING] for n in looks}
    contrast = {n: lip_contrast(head[n], np.array(face.landmarks)) for n, face in looks.items()}
    assert opening[min(contrast, key=contrast.get)] < 0.1
    assert np.corrcoef(list(opening.values()), list(contrast.values()))[0, 1] > 0.6


PADS = Pads(0, 10, 0, 0)


def target_of(frame, face, person=0):
    """A face as a target, with the pads, and its crop."""
    left, top, right, bottom = (round(v) for v in face.box)
    return Target((left, top, right, bottom + 10), person=person), crop_of(frame, face)


def crop_of(frame, face):
    left, top, right, bottom = (round(v) for v in face.box)
    return cv2.resize(frame[top : bottom + 10, left:right], (96, 96))


class Watching:
    """MTCNN that counts what it is shown."""

    def __init__(self):
        self.name, self.built, self.shown, self._detector = "mtcnn", 0, 0, build_detector("mtcnn")

    def __call__(self):
        self.built += 1
        return self

    def detect(self, frames):
        self.shown += len(frames)
        return self._detector.detect(frames)


@pytest.fixture(scope="module")
def stranger(head):
    """Another person at about the same place and size: the astronaut, mirrored and redder, with her face."""
    portrait = skimage.data.astronaut()[:256, 96:352, ::-1] * np.array([1, 0.6, 0.4])
    frame = cv2.warpAffine(portrait.astype(np.uint8), np.array([[1.3, 0, -40], [0, 1.3, -25]]), head.shape[2:0:-1])
    ((face,),) = build_detector("mtcnn").detect([frame])
    return frame, face


def test_the_crop_with_the_closed_mouth_is_found_where_the_person_is_and_only_there(head, looks):
    wide = np.zeros((len(head), 288, 800, 3), np.uint8)
    wide[:, :, 200:456] = head
    target, crop = target_of(head[0], looks[0])
    left, top, right, bottom = target.box
    closed = ClosedMouths(Video(list(wide)), Watching(), PADS, 96)
    found = closed(Target((left + 200, top, right + 200, bottom)), crop)
    best = min(looks, key=lambda n: lip_contrast(head[n], np.array(looks[n].landmarks)))
    assert np.abs(found.astype(int) - crop_of(head[best], looks[best])).mean() < 8
    assert closed(Target((600, 80, 740, 260), person=1), crop) is None


def test_a_person_is_never_shown_the_closed_mouth_of_another_who_sat_at_the_same_place(
    head, looks, stranger, monkeypatch
):
    monkeypatch.setattr(closed_mouth, "SURVEYED", 24)  # the other one comes later
    frame, face = stranger
    closed = ClosedMouths(Video([*head[:24], *[frame] * 30]), Watching(), PADS, 96)
    assert closed(*target_of(head[0], looks[0], person=0)) is not None
    assert closed(*target_of(frame, face, person=1)) is None


@pytest.mark.parametrize("box", ["followed", "fixed"])
def test_people_of_two_shots_get_each_their_own_from_one_survey(head, looks, stranger, box):
    frame, face = stranger
    detector, video = Watching(), Video([*head[:24], *[frame] * 12])
    one, other = target_of(head[0], looks[0], person=0), target_of(frame, face, person=1)
    if box == "fixed":  # nobody is followed in it: both are number 0
        other = (
            Target(one[0].box),
            cv2.resize(frame[one[0].box[1] : one[0].box[3], one[0].box[0] : one[0].box[2]], (96, 96)),
        )
    closed = ClosedMouths(video, detector, None if box == "fixed" else PADS, 96)
    first, second = closed(*one), closed(*other)
    assert np.abs(second.astype(int) - other[1]).mean() < 8
    assert np.abs(first.astype(int) - other[1]).mean() > 30
    assert np.abs(closed(*one).astype(int) - first).max() == 0
    assert (detector.built, detector.shown) == (1, 36 // EVERY)


def test_of_many_faces_a_bounded_number_is_kept_and_each_person_still_has_a_mouth(head, looks, stranger, monkeypatch):
    monkeypatch.setattr(closed_mouth, "KEPT", 3)
    frame, face = stranger
    pair = [np.hstack([one, frame]) for one in head[:24]]
    closed = ClosedMouths(Video(pair), Watching(), PADS, 96)
    assert closed(*target_of(head[0], looks[0])) is not None
    (left, top, right, bottom), crop = target_of(frame, face)[0].box, crop_of(frame, face)
    beside = Target((left + 256, top, right + 256, bottom), person=1)
    assert np.abs(closed(beside, crop).astype(int) - crop).mean() < 8
    assert len(closed._looks) == 3


def test_a_much_smaller_face_than_the_first_one_is_looked_for_in_larger_pictures(head, looks):
    small = [cv2.resize(frame, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA) for frame in head]
    pair = []
    for one, other in zip(head, small, strict=True):
        frame = np.zeros((one.shape[0], one.shape[1] * 2, 3), np.uint8)
        frame[:, : one.shape[1]] = one
        frame[: other.shape[0], one.shape[1] : one.shape[1] + other.shape[1]] = other[:, ::-1]
        pair.append(frame)
    detector = Watching()
    closed = ClosedMouths(Video(pair), detector, PADS, 96)
    assert closed(*target_of(head[0], looks[0])) is not None
    ((face, *_),) = build_detector("mtcnn").detect([pair[0][:90, 256:]])
    left, top, right, bottom = (round(v) for v in face.box)
    crop = cv2.resize(pair[0][top : bottom + 10, left + 256 : right + 256], (96, 96))
    once = detector.shown
    assert closed(Target((left + 256, top, right + 256, bottom + 10), person=1), crop) is not None
    assert detector.shown == 2 * once
    assert closed(*target_of(head[0], looks[0])) is not None
    assert detector.shown == 2 * once  # the larger pictures show the large face too


def test_looking_for_closed_mouths_can_be_cancelled(head, looks):
    asked = iter([False] * 10 + [True])
    closed = ClosedMouths(Video(list(head)), Watching(), PADS, 96, lambda: next(asked))
    with pytest.raises(Cancelled):
        closed(*target_of(head[0], looks[0]))


def test_a_still_has_no_other_mouth_to_show(head, looks):
    still = Video([head[0]])
    still.static = True
    closed = ClosedMouths(still, pytest.fail, Pads(), 96)
    assert closed(*target_of(head[0], looks[0])) is None


def test_without_mtcnn_a_result_is_made_all_the_same_and_the_log_says_what_it_lacks(head, looks, monkeypatch, caplog):
    def missing(name, **_):
        raise DetectorError(f"no {name} here")

    monkeypatch.setattr(engine, "build_detector", missing)
    with (
        caplog.at_level(logging.WARNING),
        lipsync([looks[0].box]).stream(head, (np.zeros(RATE // 2, np.float32), RATE)) as made,
    ):
        assert len(list(made)) == 13
    assert [line for line in caplog.messages if "no mtcnn here" in line] == [
        "in pauses the sound alone is faded, closed mouths are not looked for: no mtcnn here"
    ]
    assert sum("no voice is heard" in line for line in caplog.messages) == 1


def test_only_the_frames_of_a_pause_are_made_otherwise_and_off_and_public_change_none(tmp_path, babble, head, looks):
    sound = np.concatenate([babble.wav[:RATE], np.zeros(RATE, np.float32)])
    path, (left, top, right, bottom) = write_wav(tmp_path / "sound.wav", sound), map(round, looks[0].box)
    torch.manual_seed(0)
    ours, source = lipsync([], Wav2Lip(width=0.125)), Video(list(head))
    windows = sound_windows(path, Fraction(25))
    options = Options(box=(top, bottom, left, right), blend="box")
    silence = ours.silence(source, path, len(windows), options)
    eased, plain = (
        np.stack([one.frame for one in ours.shown(source, windows, options, silence=given)]).astype(int)
        for given in (silence, None)
    )
    change, share = np.abs(eased - plain).max(axis=(1, 2, 3)), openness(voiced(read_audio(path, RATE)), 50, 25)
    assert (share == 1).sum() > 15
    assert (share == 0).sum() > 15
    assert change[share == 1].max() == 0
    assert (change[share == 0] == 0).sum() <= 1  # one of them may be the closed mouth itself
    for off in (Options(silence="off"), Options(compat="public")):
        assert ours.silence(source, path, len(windows), off) is None


def test_an_unknown_way_with_silence_is_refused_by_its_flag():
    with pytest.raises(InputError, match="--silence is hush; choose one of ease, off"):
        Options(silence="hush")
