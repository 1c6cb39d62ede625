"""Duplicates of one recording, and clips of the same voice and room that are none."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.curation.clip_origin import ClipOrigin
from preprocess.curation.duplicates import (
    DuplicatePair,
    find_duplicates,
    fingerprint_clip,
    group_duplicates,
    select_redundant,
)
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.media import read_frames

SAMPLE_RATE = 16_000


def babble(seconds: float, seed: int) -> np.ndarray:
    """Return speech-like audio that never repeats: three formants with random syllables."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 6) + 2
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    syllables = np.linspace(0, count - 1, len(time))
    audio = np.zeros(len(time))
    for low, high in ((250, 800), (900, 2300), (2400, 3600)):
        hertz = np.interp(syllables, np.arange(count), rng.uniform(low, high, count))
        loud = np.interp(syllables, np.arange(count), rng.uniform(0.0, 1.0, count) ** 2)
        audio += loud * np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE)
    return 0.15 * audio + rng.normal(0, 0.001, len(time))


def faces(seed: int, gain: float = 1.0, side: int = 120) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.uniform(30, 200, (6, 6)), (side, side), interpolation=cv2.INTER_CUBIC)
    return [np.clip(gain * texture + rng.normal(0, 4, texture.shape), 0, 255).astype(np.uint8) for _ in range(4)]


def fingerprint(audio: np.ndarray, images: list[np.ndarray]) -> str:
    return fingerprint_clip(images, melspectrogram(audio), round(len(audio) / SAMPLE_RATE * 25))


def test_duplicates_survive_noise_gain_brightness_size_trim():
    audio, rng = babble(8, 1), np.random.default_rng(9)
    fingerprints = {
        "a": fingerprint(audio, faces(1)),
        "softer": fingerprint(0.3 * audio, faces(1, gain=0.7)),
        "noisy": fingerprint(audio + rng.normal(0, 0.002, len(audio)), faces(1, side=60)),
        "trimmed": fingerprint(audio[5_111:-7_000], faces(1)),
    }
    pairs = find_duplicates(fingerprints)
    assert group_duplicates(pairs) == [["a", "noisy", "softer", "trimmed"]]
    shared = {(pair.first, pair.second): pair.shared_seconds for pair in pairs}
    assert shared["a", "softer"] == pytest.approx(8, abs=0.1)
    assert shared["a", "trimmed"] == pytest.approx(8 - 12_111 / SAMPLE_RATE, abs=0.1)


def test_same_face_or_same_audio_alone_is_no_duplicate():
    fingerprints = {f"talk{n:02}": fingerprint(babble(6, n), faces(1)) for n in range(30)}
    fingerprints["dubbed"] = fingerprint(babble(6, 0), faces(2))
    assert find_duplicates(fingerprints) == []


@pytest.mark.parametrize("jingle", [1.5, 3.0])
def test_common_jingle_is_no_duplicate(jingle):
    intro, fingerprints = babble(jingle, 99), {}
    for n in range(4):
        talk = babble(10, n)
        talk[: len(intro)] = intro
        fingerprints[f"talk{n}"] = fingerprint(talk, faces(1))
    assert find_duplicates(fingerprints) == []


def test_simultaneous_faces_are_no_duplicates():
    fingerprints = {name: fingerprint(babble(5, 1), faces(1)) for name in ("left", "right")}
    left, right = ClipOrigin("left", "talk.mp4", 0, 125), ClipOrigin("right", "talk.mp4", 100, 125)
    assert find_duplicates(fingerprints, {"left": left, "right": right}) == []
    right_of_other_video = ClipOrigin("right", "again.mp4", 0, 125)
    assert group_duplicates(find_duplicates(fingerprints, {"left": left, "right": right_of_other_video})) == [
        ["left", "right"]
    ]


def test_silent_clips_are_no_duplicates():
    assert find_duplicates({name: fingerprint(np.zeros(5 * SAMPLE_RATE), faces(1)) for name in "abc"}) == []


def test_no_clips_give_no_duplicates():
    assert find_duplicates({}) == [] and group_duplicates([]) == [] and select_redundant([], {}, {}) == {}


def test_fingerprint_is_short():
    assert len(fingerprint(babble(50, 3), faces(3))) < 350


def test_duplicates_are_found_among_thousands_of_clips():
    import base64

    rng = np.random.default_rng(0)

    def encode(landmarks: np.ndarray, image_hash: int) -> str:
        return f"250:{image_hash:016x}:{base64.b64encode(landmarks.astype('<u4').tobytes()).decode()}"

    originals = {f"a/{n:05}": np.sort(rng.integers(0, 1 << 32, 60)) for n in range(5_000)}
    image_hashes = {name: int(rng.integers(1 << 62)) for name in originals}
    fingerprints = {name: encode(landmarks, image_hashes[name]) for name, landmarks in originals.items()}
    copies = list(originals)[::500]
    fingerprints |= {
        f"b{name[1:]}": encode(originals[name][rng.permutation(60)[:20]], image_hashes[name]) for name in copies
    }
    assert [(pair.first, pair.second) for pair in find_duplicates(fingerprints)] == [
        (name, f"b{name[1:]}") for name in copies
    ]


def test_select_redundant_keeps_largest_face_and_chains():
    pairs = [DuplicatePair("a", "b", 5.0), DuplicatePair("b", "c", 1.0)]
    seconds = dict.fromkeys("abc", 5.0)
    assert select_redundant(pairs, {"a": 90, "b": 100, "c": 80}, seconds) == {"a": "b"}  # c shares a fifth with b
    assert select_redundant(pairs[:1], {"a": 90, "b": 90}, seconds) == {"b": "a"}  # the name decides
    assert group_duplicates(pairs) == [["a", "b", "c"]]


FACES = {  # detections in the first frame: left, top, right, bottom
    "speaker_a_512_25fps": (121, 94, 385, 459),
    "speaker_b_700_vfr": (297, 99, 520, 408),
    "speaker_c_590_25fps": (152, 128, 377, 439),
    "speaker_d_524_25fps": (128, 145, 373, 485),
}


def sample_faces(video: Path) -> list[np.ndarray]:
    left, top, right, bottom = FACES[video.stem]
    return [cv2.cvtColor(f[top:bottom, left:right], cv2.COLOR_RGB2GRAY) for f in list(read_frames(video, 25))[::8]]


def test_duplicates_in_real_videos_are_found(shared_media):
    fingerprints = {}
    for video in (shared_media / f"{name}.mp4" for name in FACES):
        fingerprints[video.stem] = fingerprint_clip(sample_faces(video), melspectrogram(load_wav(video)), 125)
    assert group_duplicates(find_duplicates(fingerprints)) == [["speaker_a_512_25fps", "speaker_c_590_25fps"]]


def test_pieces_of_one_talk_are_no_duplicates(shared_media):
    audio = load_wav(shared_media / "long_450x554_125s.mp4")
    pieces = [
        audio[begin : begin + 5 * SAMPLE_RATE] for begin in range(0, len(audio) - 5 * SAMPLE_RATE, 5 * SAMPLE_RATE)
    ]
    fingerprints = {f"{n:02}": fingerprint(piece, faces(1)) for n, piece in enumerate(pieces)}
    assert len(fingerprints) == 25
    assert find_duplicates(fingerprints) == []
    fingerprints["copy"] = fingerprint(audio[SAMPLE_RATE // 3 + 10 * SAMPLE_RATE : 15 * SAMPLE_RATE], faces(1))
    assert group_duplicates(find_duplicates(fingerprints)) == [["02", "copy"]]
