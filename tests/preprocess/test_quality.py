"""What would harm training is told from what would not, each by the figure meant for it."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.measure import blur_effect

from preprocess.quality import Limits, Quality, judge, measure, sharpness, turn
from tests.conftest import tone, write_wav
from wav2lip.clips import Clip
from wav2lip.errors import InputError

FRAMES = 40


def make_clip(folder: Path, face: np.ndarray, change=lambda crop, n: crop, sound: np.ndarray | None = None) -> Clip:
    """A clip of a face (h, w, 3) RGB that wanders a little, each crop changed."""
    folder.mkdir(parents=True)
    for number in range(FRAMES):
        crop = change(np.roll(face, 3 * (number % 7), axis=1), number)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    write_wav(folder / "audio.wav", tone(FRAMES / 25) if sound is None else sound)
    return Clip.open(folder)


@pytest.fixture
def face(portrait) -> np.ndarray:
    return portrait[:200, 20:220]


def test_a_good_clip_breaks_no_limit(tmp_path, face):
    quality = measure(make_clip(tmp_path / "c", face), None)
    assert judge(quality, Limits()) is None
    assert quality.face_pixels == 200
    assert (quality.frozen_share, quality.clipped_share, quality.silent_share) == (0, 0, 0)
    assert quality.head_turn is None and quality.filled_share is None
    json.dumps(quality.as_json(), allow_nan=False)


def dimmed(crop, number):
    return (crop * 0.06).astype(np.uint8)


def blurred(crop, number):
    return cv2.GaussianBlur(crop, (0, 0), 0.03 * crop.shape[0])


def bleached(crop, number):
    return np.clip(crop * 6.0, 0, 255).astype(np.uint8)


def small(crop, number):
    return cv2.resize(crop, (40, 44))


@pytest.mark.parametrize(
    ("change", "cause"),
    [(dimmed, "dark"), (blurred, "blurred"), (bleached, "overexposed"), (small, "small face")],
)
def test_pictures_that_harm_are_told_by_their_cause(tmp_path, face, change, cause):
    found = judge(measure(make_clip(tmp_path / "c", face, change), None), Limits())
    assert found is not None
    assert found[0] == cause
    assert "quality." in found[1]


def test_a_frozen_video_is_found_through_the_noise_of_its_coding(tmp_path, face):
    draw = np.random.default_rng(0)

    def frozen(crop, number):
        return np.clip(face + draw.normal(0, 1.5, face.shape), 0, 255).astype(np.uint8)

    quality = measure(make_clip(tmp_path / "c", face, frozen), None)
    assert quality.frozen_share > 0.9
    assert judge(quality, Limits())[0] == "frozen"


def test_lips_that_move_in_a_face_at_rest_are_not_frozen(tmp_path, face):
    def talks(crop, number):
        still = face.copy()
        still[140 : 144 + 4 * (number % 4), 80:120] = 20  # a mouth that opens and closes
        return still

    assert measure(make_clip(tmp_path / "c", face, talks), None).frozen_share == 0


@pytest.mark.parametrize(
    ("sound", "cause"),
    [(tone(1.6) * 0.001, "silent"), (np.clip(tone(1.6) * 30, -1, 1), "clipped sound")],
)
def test_sound_that_harms_is_told_by_its_cause(tmp_path, face, sound, cause):
    assert judge(measure(make_clip(tmp_path / "c", face, sound=sound), None), Limits())[0] == cause


def test_shares_of_the_sound_are_those_put_in(tmp_path, face):
    sound = np.concatenate([np.zeros(8_000), tone(1.0)])  # a third is silent
    quality = measure(make_clip(tmp_path / "c", face, sound=sound), None)
    assert quality.silent_share == pytest.approx(1 / 3, abs=0.03)
    wave = np.tile([0.2, 1.0, 0.2, -1.0], 4_000)  # half of the samples at full scale
    assert measure(make_clip(tmp_path / "d", face, sound=wave), None).clipped_share == pytest.approx(0.5, abs=0.01)


def test_clip_json_gives_the_size_in_the_source_and_the_boxes_put_in(tmp_path, face):
    info = {"boxes": [[10, 20, 60 + n, 99] for n in range(FRAMES)], "filled": [3, 4], "landmarks": None}
    quality = measure(make_clip(tmp_path / "c", face), info)
    assert quality.face_pixels == pytest.approx(50 + (FRAMES - 1) / 2)
    assert quality.filled_share == 2 / FRAMES


@pytest.mark.parametrize("degrees", [0, 15, 30, 45, 60, -45])
@pytest.mark.parametrize("tilt", [0, 20])
def test_head_turn_is_half_the_sine_of_the_angle_however_the_head_is_tilted(degrees, tilt):
    head = np.array([[-31, -35, 0], [31, -35, 0], [0, 0, 31], [-24, 28, 0], [24, 28, 0]], float)  # mm; nose in front
    angle, roll = np.radians(degrees), np.radians(tilt)
    around = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    picture = (head @ around.T)[:, :2] @ np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    assert turn(3 * picture + 100) == pytest.approx(0.5 * abs(np.sin(angle)), abs=0.02)


def test_sharpness_falls_with_every_blur_as_the_published_measure_does(face):
    grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (96, 96), interpolation=cv2.INTER_AREA)
    steps = [grey] + [cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (0.7, 1.4, 2.8, 5.6)]
    ours, published = [sharpness(step) for step in steps], [1 - blur_effect(step, h_size=9) for step in steps]
    assert ours == sorted(ours, reverse=True)
    assert np.abs(np.subtract(ours, published)).max() < 0.1
    assert sharpness((0.3 * grey).astype(np.uint8)) == pytest.approx(ours[0], abs=0.05)


def test_a_limit_of_none_is_lifted_and_one_below_zero_refused(tmp_path, face):
    quality = measure(make_clip(tmp_path / "c", face, small), None)
    assert judge(quality, Limits())[1] == (
        "its face is 40 pixels wide, below 48; quality.face_pixels changes the limit"
    )
    assert judge(quality, replace(Limits(), face_pixels=None)) is None
    with pytest.raises(InputError, match=r"quality.sharpness=-1"):
        Limits(sharpness=-1)


def test_every_limit_has_a_figure_and_decides():
    best = Quality(200, 0.6, 0.5, 0, 0, 0, 0, 0, 0, 0, "")
    worst = {"face_pixels": 1, "sharpness": 0, "exposure": 0}
    limits = list(Limits.__dataclass_fields__)
    assert len(limits) == 9
    for name in limits:
        assert f"quality.{name} " in judge(replace(best, **{name: worst.get(name, 1.0)}), Limits())[1]


def test_a_damaged_picture_is_named(tmp_path, face):
    clip = make_clip(tmp_path / "c", face)
    (clip.path / "7.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"7\.jpg: is not a whole picture"):
        measure(clip, None)
