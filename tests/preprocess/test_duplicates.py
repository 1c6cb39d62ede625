"""Copies of one recording are found, and nothing else is, be it the same voice in the same room."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.duplicates import Copies, find, fingerprint, groups, surplus
from preprocess.places import Place
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.media import read_frames

RATE = 16_000


def babble(seconds: float, seed: int) -> np.ndarray:
    """Sound like speech, which never comes twice: three formants that jump about, in syllables."""
    draw = np.random.default_rng(seed)
    count = int(seconds * 6) + 2
    time = np.arange(int(seconds * RATE)) / RATE
    place = np.linspace(0, count - 1, len(time))
    sound = np.zeros(len(time))
    for low, high in ((250, 800), (900, 2300), (2400, 3600)):
        hertz = np.interp(place, np.arange(count), draw.uniform(low, high, count))
        loud = np.interp(place, np.arange(count), draw.uniform(0.0, 1.0, count) ** 2)
        sound += loud * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)
    return 0.15 * sound + draw.normal(0, 0.001, len(time))


def faces(seed: int, gain: float = 1.0, side: int = 120) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    rough = cv2.resize(draw.uniform(30, 200, (6, 6)), (side, side), interpolation=cv2.INTER_CUBIC)
    return [np.clip(gain * rough + draw.normal(0, 4, rough.shape), 0, 255).astype(np.uint8) for _ in range(4)]


def print_of(sound: np.ndarray, pictures: list[np.ndarray]) -> str:
    return fingerprint(pictures, melspectrogram(sound), round(len(sound) / RATE * 25))


def test_copies_are_found_through_noise_gain_brightness_size_and_a_trim():
    sound, draw = babble(8, 1), np.random.default_rng(9)
    prints = {
        "a": print_of(sound, faces(1)),
        "softer": print_of(0.3 * sound, faces(1, gain=0.7)),
        "noisy": print_of(sound + draw.normal(0, 0.002, len(sound)), faces(1, side=60)),
        "trimmed": print_of(sound[5_111:-7_000], faces(1)),
    }
    pairs = find(prints)
    assert groups(pairs) == [["a", "noisy", "softer", "trimmed"]]
    of = {(pair.one, pair.other): pair.shared for pair in pairs}
    assert of["a", "softer"] == pytest.approx(8, abs=0.1)
    assert of["a", "trimmed"] == pytest.approx(8 - 12_111 / RATE, abs=0.1)


def test_one_face_with_other_words_and_one_sound_under_two_faces_are_no_copies():
    prints = {f"talk{n:02}": print_of(babble(6, n), faces(1)) for n in range(30)}
    prints["dubbed"] = print_of(babble(6, 0), faces(2))
    assert find(prints) == []


@pytest.mark.parametrize("jingle", [1.5, 3.0])
def test_talks_of_one_face_that_open_with_the_same_sound_are_no_copies(jingle):
    opening, prints = babble(jingle, 99), {}
    for n in range(4):
        talk = babble(10, n)
        talk[: len(opening)] = opening
        prints[f"talk{n}"] = print_of(talk, faces(1))
    assert find(prints) == []


def test_two_people_in_one_picture_are_no_copies_however_alike_their_faces_are():
    prints = {name: print_of(babble(5, 1), faces(1)) for name in ("left", "right")}
    left, right = Place("left", "talk.mp4", 0, 125), Place("right", "talk.mp4", 100, 125)
    assert find(prints, {"left": left, "right": right}) == []
    again = Place("right", "again.mp4", 0, 125)
    assert groups(find(prints, {"left": left, "right": again})) == [["left", "right"]]


def test_silent_clips_are_no_copies():
    assert find({name: print_of(np.zeros(5 * RATE), faces(1)) for name in "abc"}) == []


def test_nothing_gives_nothing():
    assert find({}) == [] and groups([]) == [] and surplus([], {}, {}) == {}


def test_a_print_stays_short():
    assert len(print_of(babble(50, 3), faces(3))) < 350


def test_a_few_copies_are_found_among_thousands_of_clips():
    import base64

    draw = np.random.default_rng(0)

    def made_up(words: np.ndarray, picture: int) -> str:
        return f"250:{picture:016x}:{base64.b64encode(words.astype('<u4').tobytes()).decode()}"

    originals = {f"a/{n:05}": np.sort(draw.integers(0, 1 << 32, 60)) for n in range(5_000)}
    faces_of = {name: int(draw.integers(1 << 62)) for name in originals}
    prints = {name: made_up(words, faces_of[name]) for name, words in originals.items()}
    copied = list(originals)[::500]
    prints |= {f"b{name[1:]}": made_up(originals[name][draw.permutation(60)[:20]], faces_of[name]) for name in copied}
    assert [(pair.one, pair.other) for pair in find(prints)] == [(name, f"b{name[1:]}") for name in copied]


def test_the_copy_with_the_largest_face_is_kept_and_a_chain_is_not_lost_whole():
    pairs = [Copies("a", "b", 5.0), Copies("b", "c", 1.0)]
    seconds = dict.fromkeys("abc", 5.0)
    assert surplus(pairs, {"a": 90, "b": 100, "c": 80}, seconds) == {"a": "b"}  # c shares a fifth with b
    assert surplus(pairs[:1], {"a": 90, "b": 90}, seconds) == {"b": "a"}  # the name decides
    assert groups(pairs) == [["a", "b", "c"]]


FACES = {  # in the first frame, as a detector gives them: left, top, right, bottom
    "speaker_a_512_25fps": (121, 94, 385, 459),
    "speaker_b_700_vfr": (297, 99, 520, 408),
    "speaker_c_590_25fps": (152, 128, 377, 439),
    "speaker_d_524_25fps": (128, 145, 373, 485),
}


def sampled(video: Path) -> list[np.ndarray]:
    left, top, right, bottom = FACES[video.stem]
    return [cv2.cvtColor(f[top:bottom, left:right], cv2.COLOR_RGB2GRAY) for f in list(read_frames(video, 25))[::8]]


def test_real_videos_two_of_which_turned_out_to_be_one_recording(shared_media):
    prints = {}
    for video in sorted(shared_media.glob("speaker_*.mp4")):
        prints[video.stem] = fingerprint(sampled(video), melspectrogram(load_wav(video)), 125)
    assert len(prints) == 4
    assert groups(find(prints)) == [["speaker_a_512_25fps", "speaker_c_590_25fps"]]


def test_pieces_of_one_long_talk_are_no_copies_of_each_other(shared_media):
    sound = load_wav(shared_media / "long_450x554_125s.mp4")
    pieces = [sound[begin : begin + 5 * RATE] for begin in range(0, len(sound) - 5 * RATE, 5 * RATE)]
    prints = {f"{n:02}": print_of(piece, faces(1)) for n, piece in enumerate(pieces)}
    assert len(prints) == 25
    assert find(prints) == []
    prints["copy"] = print_of(sound[RATE // 3 + 10 * RATE : 15 * RATE], faces(1))
    assert groups(find(prints)) == [["02", "copy"]]
