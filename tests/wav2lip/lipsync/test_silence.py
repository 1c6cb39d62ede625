"""Mouths rest while nobody speaks: voices are heard, closed mouths found, and the generator shown them in pauses."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from face_detection import build_detector
from models import Wav2Lip
from tests.conftest import write_wav
from tests.wav2lip.test_lipsync import Frames, lipsync
from wav2lip.crops import Pads
from wav2lip.errors import InputError
from wav2lip.lipsync import Options, sound_windows
from wav2lip.lipsync.closed_mouth import ClosedMouths, lip_contrast
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


def test_real_speech_is_a_voice_also_when_it_is_faint():
    if not SPEECH.is_file():
        pytest.skip(f"{SPEECH.name} is not at hand")
    sound = np.concatenate(list(read_audio(SPEECH, RATE)))
    assert voiced([sound]).mean() > 0.95
    assert voiced([sound / 10]).mean() > 0.9


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
    silence = Silence(np.array([1, 0.25, 0], np.float32), lambda target: closed)
    mel, target = np.full((1, 80, 16), 2, np.float32), Target((0, 0, 8, 8))
    assert [float(silence.mel(n, mel)[0, 0, 0]) for n in range(4)] == [2, -2.5, -4, -4]  # -4 is silence
    shown = [Shown(n, crop, [target]) for n in range(3)]
    assert [int(silence.reference(one, target, crop)[0, 0, 0]) for one in shown] == [100, 175, 200]
    without = Silence(np.zeros(3, np.float32), lambda target: None)
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


def test_the_crop_with_the_closed_mouth_is_found_where_the_person_is_and_only_there(head, looks):
    wide = np.zeros((len(head), 288, 800, 3), np.uint8)
    wide[:, :, 200:456] = head
    left, top, right, bottom = (round(v) for v in looks[0].box)
    closed = ClosedMouths(Video(list(wide)), lambda: build_detector("mtcnn"), Pads(0, 10, 0, 0), 96)
    crop = closed(Target((left + 200, top, right + 200, bottom + 10)))
    best = min(looks, key=lambda n: lip_contrast(head[n], np.array(looks[n].landmarks)))
    a, b, c, d = (round(v) for v in looks[best].box)
    expected = cv2.resize(head[best][b : d + 10, a:c], (96, 96))
    assert np.abs(crop.astype(int) - expected).mean() < 8
    assert closed(Target((600, 80, 740, 260), person=1)) is None


def test_a_still_has_no_other_mouth_to_show(head):
    still = Video([head[0]])
    still.static = True
    closed = ClosedMouths(still, pytest.fail, Pads(), 96)
    assert closed(Target((60, 80, 180, 240))) is None


def test_only_the_frames_of_a_pause_are_made_otherwise_and_off_and_public_change_none(tmp_path, babble, head, looks):
    sound = np.concatenate([babble.wav[:RATE], np.zeros(RATE, np.float32)])
    path, box = write_wav(tmp_path / "sound.wav", sound), tuple(round(v) for v in looks[0].box)
    torch.manual_seed(0)
    ours, source = lipsync([box], Wav2Lip(width=0.125)), Video(list(head))
    windows = sound_windows(path, Fraction(25))
    options = Options(smooth=False, blend="box")
    silence = ours.silence(source, path, len(windows), options)
    eased, plain = (
        np.stack([one.frame for one in ours.shown(source, windows, options, silence=given)]).astype(int)
        for given in (silence, None)
    )
    change, share = np.abs(eased - plain).max(axis=(1, 2, 3)), openness(voiced(read_audio(path, RATE)), 50, 25)
    assert (share == 1).sum() > 15
    assert (share == 0).sum() > 15
    assert change[share == 1].max() == 0
    assert change[share == 0].min() > 0
    for off in (Options(silence="off"), Options(compat="public")):
        assert ours.silence(source, path, len(windows), off) is None


def test_an_unknown_way_with_silence_is_refused_by_its_flag():
    with pytest.raises(InputError, match="--silence is hush; choose one of ease, off"):
        Options(silence="hush")
