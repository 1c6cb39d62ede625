"""Quality measurements and limits."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.measure import blur_effect

from preprocess.curation.quality import Limits, Quality, check_limits, head_turn, measure_clip, sharpness
from tests.helpers.media import tone, write_wav
from wav2lip.dataset.clip import Clip
from wav2lip.errors import InputError

FRAMES = 40


def make_clip(folder: Path, face: np.ndarray, change=lambda crop, n: crop, audio: np.ndarray | None = None) -> Clip:
    """Write a clip of a slightly moving face (h, w, 3) RGB, with a function applied to each crop."""
    folder.mkdir(parents=True)
    for number in range(FRAMES):
        crop = change(np.roll(face, 3 * (number % 7), axis=1), number)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    write_wav(folder / "audio.wav", tone(FRAMES / 25) if audio is None else audio)
    return Clip.open(folder)


@pytest.fixture
def face(portrait) -> np.ndarray:
    return portrait[:200, 20:220]


def test_good_clip_violates_no_limit(tmp_path, face):
    quality = measure_clip(make_clip(tmp_path / "c", face), None)
    assert check_limits(quality, Limits()) is None
    assert quality.face_pixels == 200
    assert (quality.static_share, quality.clipped_share, quality.silent_share) == (0, 0, 0)
    assert quality.head_turn is None and quality.filled_share is None
    json.dumps(quality.to_json(), allow_nan=False)


def darken(crop, number):
    return (crop * 0.06).astype(np.uint8)


def blur(crop, number):
    return cv2.GaussianBlur(crop, (0, 0), 0.03 * crop.shape[0])


def overexpose(crop, number):
    return np.clip(crop * 6.0, 0, 255).astype(np.uint8)


def shrink(crop, number):
    return cv2.resize(crop, (40, 44))


@pytest.mark.parametrize(
    ("change", "cause"),
    [(darken, "dark"), (blur, "blurred"), (overexpose, "overexposed"), (shrink, "small face")],
)
def test_bad_images_are_rejected_by_cause(tmp_path, face, change, cause):
    violation = check_limits(measure_clip(make_clip(tmp_path / "c", face, change), None), Limits())
    assert violation is not None
    assert violation[0] == cause
    assert "quality." in violation[1]


def test_static_video_is_detected_despite_noise(tmp_path, face):
    rng = np.random.default_rng(0)

    def add_noise(crop, number):
        return np.clip(face + rng.normal(0, 1.5, face.shape), 0, 255).astype(np.uint8)

    quality = measure_clip(make_clip(tmp_path / "c", face, add_noise), None)
    assert quality.static_share > 0.9
    assert check_limits(quality, Limits())[0] == "static video"


def test_moving_lips_are_not_static(tmp_path, face):
    def move_lips(crop, number):
        image = face.copy()
        image[140 : 144 + 4 * (number % 4), 80:120] = 20  # a mouth that opens and closes
        return image

    assert measure_clip(make_clip(tmp_path / "c", face, move_lips), None).static_share == 0


@pytest.mark.parametrize(
    ("audio", "cause"),
    [(tone(1.6) * 0.001, "silent"), (np.clip(tone(1.6) * 30, -1, 1), "clipped audio")],
)
def test_bad_audio_is_rejected_by_cause(tmp_path, face, audio, cause):
    assert check_limits(measure_clip(make_clip(tmp_path / "c", face, audio=audio), None), Limits())[0] == cause


def test_audio_shares_match_input(tmp_path, face):
    audio = np.concatenate([np.zeros(8_000), tone(1.0)])  # a third is silent
    quality = measure_clip(make_clip(tmp_path / "c", face, audio=audio), None)
    assert quality.silent_share == pytest.approx(1 / 3, abs=0.03)
    wave = np.tile([0.2, 1.0, 0.2, -1.0], 4_000)  # half of the samples at full scale
    assert measure_clip(make_clip(tmp_path / "d", face, audio=wave), None).clipped_share == pytest.approx(0.5, abs=0.01)


def test_clip_json_gives_face_size_and_filled_share(tmp_path, face):
    info = {"boxes": [[10, 20, 60 + n, 99] for n in range(FRAMES)], "filled": [3, 4], "landmarks": None}
    quality = measure_clip(make_clip(tmp_path / "c", face), info)
    assert quality.face_pixels == pytest.approx(50 + (FRAMES - 1) / 2)
    assert quality.filled_share == 2 / FRAMES


@pytest.mark.parametrize("degrees", [0, 15, 30, 45, 60, -45])
@pytest.mark.parametrize("tilt", [0, 20])
def test_head_turn_is_half_sine_of_yaw_at_any_roll(degrees, tilt):
    head = np.array([[-31, -35, 0], [31, -35, 0], [0, 0, 31], [-24, 28, 0], [24, 28, 0]], float)  # mm; nose in front
    angle, roll = np.radians(degrees), np.radians(tilt)
    yaw = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    points = (head @ yaw.T)[:, :2] @ np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    assert head_turn(3 * points + 100) == pytest.approx(0.5 * abs(np.sin(angle)), abs=0.02)


def test_sharpness_matches_published_blur_effect(face):
    gray = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (96, 96), interpolation=cv2.INTER_AREA)
    steps = [gray] + [cv2.GaussianBlur(gray, (0, 0), sigma) for sigma in (0.7, 1.4, 2.8, 5.6)]
    actual, published = [sharpness(step) for step in steps], [1 - blur_effect(step, h_size=9) for step in steps]
    assert actual == sorted(actual, reverse=True)
    assert np.abs(np.subtract(actual, published)).max() < 0.1
    assert sharpness((0.3 * gray).astype(np.uint8)) == pytest.approx(actual[0], abs=0.05)


def test_limit_none_is_disabled_and_negative_is_error(tmp_path, face):
    quality = measure_clip(make_clip(tmp_path / "c", face, shrink), None)
    reason = check_limits(quality, Limits())[1]
    assert all(text in reason for text in ("40 pixels", "48", "quality.min_face_pixels"))
    assert check_limits(quality, replace(Limits(), min_face_pixels=None)) is None
    with pytest.raises(InputError, match=r"quality.min_sharpness=-1"):
        Limits(min_sharpness=-1)


def test_every_limit_rejects_by_its_field():
    best = Quality(200, 0.6, 0.5, 0, 0, 0, 0, 0, 0, 0, "")
    worst = {"face_pixels": 1, "sharpness": 0, "exposure": 0}
    limits = list(Limits.__dataclass_fields__)
    assert len(limits) == 9
    for limit in limits:
        name = limit.split("_", 1)[1]
        assert f"quality.{limit} " in check_limits(replace(best, **{name: worst.get(name, 1.0)}), Limits())[1]


def test_corrupt_image_is_named(tmp_path, face):
    clip = make_clip(tmp_path / "c", face)
    (clip.path / "7.jpg").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"7\.jpg: is corrupt"):
        measure_clip(clip, None)
