"""The engine with tiny networks: modes, lengths, frame rates, prepared faces, bad inputs before any work."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from face_detection import build_detector
from tests.helpers.media import click, decode_audio, noise, peak_time, tone, write_video, write_wav
from tests.helpers.talking_head import tiny_sadtalker
from wav2lip.engine.result_stream import Cancelled
from wav2lip.errors import InputError
from wav2lip.media import probe
from wav2lip.sadtalker import SadTalkerOptions, pipeline
from wav2lip.sadtalker.identity import Identity


@pytest.fixture(scope="module")
def engine():
    return tiny_sadtalker()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("audio") / "speech.wav", noise(0.5))


def frames(engine, face, audio, **options):
    with engine.stream(face, audio, SadTalkerOptions(**options)) as stream:
        return list(stream)


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        ("crop", None),
        ("extcrop", None),
        ("resize", (200, 256)),
        ("full", (200, 256)),
        ("extfull", (200, 256)),
    ],
)
def test_size_of_each_mode(engine, portrait, speech, mode, shape):
    photo = portrait[:200]
    result = frames(engine, photo, speech, preprocess=mode, still=True)
    assert len(result) == 13  # 0.5 s at 25 fps, covered
    assert result[0].shape[:2] == shape if shape else result[0].shape[1] == 256
    assert all(frame.shape == result[0].shape for frame in result)


@pytest.mark.parametrize(("fps", "count"), [(25, 13), (30, 15), (50, 25), (12.5, 7), (23.976, 12)])
def test_any_frame_rate(engine, portrait, speech, fps, count):
    assert len(frames(engine, portrait, speech, fps=fps)) == count


def test_motion_does_not_depend_on_the_frame_rate(engine, portrait, speech):
    slow, fast = frames(engine, portrait, speech), frames(engine, portrait, speech, fps=50)
    for index in range(0, 13, 4):
        np.testing.assert_array_equal(slow[index], fast[2 * index])


@pytest.mark.parametrize("compat", ["none", "public"])
@pytest.mark.parametrize("count", [1, 2, 3, 20, 21, 22, 33, 40])
def test_lengths(engine, portrait, compat, count):
    result = frames(engine, portrait, (np.zeros(640 * count, np.float32), 16000), compat=compat)
    assert len(result) == count


def test_public_drops_the_rest_of_a_frame(engine, portrait):
    audio = (np.zeros(1000, np.float32), 16000)
    assert len(frames(engine, portrait, audio)) == 2
    assert len(frames(engine, portrait, audio, compat="public")) == 1


def test_audio_is_in_sync_and_keeps_its_rate(engine, portrait, tmp_path):
    audio = write_wav(tmp_path / "click.wav", click(0.3, 0.6, 44100), 44100)
    result = engine(portrait, audio, tmp_path / "out.mp4")
    assert (result.frames, result.fps) == (15, 25)
    assert peak_time(decode_audio(result.outfile)) == pytest.approx(0.3, abs=0.01)
    with av.open(str(result.outfile)) as file:
        assert file.streams.audio[0].rate == 44100


def test_idle_video_loops_and_is_silent(engine, portrait, tmp_path):
    result = engine(portrait, None, tmp_path / "idle.mp4", SadTalkerOptions(idle=1.5, fps=30))
    assert result.frames == 45
    assert np.abs(decode_audio(result.outfile)).max() < 1e-3
    looped = [frame.astype(int) for frame in frames(engine, portrait, None, idle=1.5, fps=30)]
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(looped)]
    assert np.abs(looped[0] - looped[-1]).mean() <= max(steps)
    assert max(steps) > 0


def test_free_view_moves_the_head(engine, portrait, speech):
    turned = frames(engine, portrait, speech, still=True, input_yaw=(0, 40))
    still = frames(engine, portrait, speech, still=True, input_yaw=(0,))
    difference = [np.abs(a.astype(int) - b).mean() for a, b in zip(turned, still, strict=True)]
    assert difference[0] == 0 and difference[-1] > 10


def test_seed_determines_the_result(engine, portrait, speech):
    first, again, other = (frames(engine, portrait, speech, seed=seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_prepared_face_gives_the_same_bytes_without_detection(engine, portrait, speech, tmp_path):
    engine.prepare(portrait, SadTalkerOptions(preprocess="full"), "CC0, with consent").save(tmp_path / "face.w2l")
    assert Identity.load(tmp_path / "face.w2l").note == "CC0, with consent"
    other = tiny_sadtalker(detector=object())  # any call would fail
    other(tmp_path / "face.w2l", speech, tmp_path / "prepared.mp4")
    engine(portrait, speech, tmp_path / "photo.mp4", SadTalkerOptions(preprocess="full"))
    assert other.head.calls == []
    assert (tmp_path / "prepared.mp4").read_bytes() == (tmp_path / "photo.mp4").read_bytes()


def test_prepared_face_of_other_settings_is_refused(engine, portrait, speech, tmp_path):
    engine.prepare(portrait).save(tmp_path / "face.w2l")
    with pytest.raises(InputError, match="prepared with --preprocess crop; remove --preprocess"):
        frames(engine, tmp_path / "face.w2l", speech, preprocess="full")
    with pytest.raises(InputError, match="remove --rotate, --faces"):
        frames(engine, tmp_path / "face.w2l", speech, rotate=True, faces="leftmost")
    with pytest.raises(InputError, match="prepared with --size 256; add it"):
        frames(engine, tmp_path / "face.w2l", speech, size=512)
    with pytest.raises(InputError, match="prepared with other checkpoint files"):
        frames(tiny_sadtalker(checkpoint="other"), tmp_path / "face.w2l", speech)


class RecordingMouth:
    """A mouth stage that halves the box of the photo's face and records those of the frames."""

    def __init__(self):
        self.photo, self.boxes = None, []

    def find_box(self, frame, box):
        self.photo, left, top, right, bottom = frame, *box
        return np.array([left, top, (left + right) / 2, (top + bottom) / 2])

    def __call__(self, items, audio, fps):
        for item in items:
            self.boxes += [target.box for target in item.targets]
            yield item


@pytest.mark.parametrize("is_prepared", [False, True])
def test_mouth_is_drawn_into_the_box_of_its_own_detector(portrait, speech, tmp_path, is_prepared):
    mouth = RecordingMouth()
    engine = tiny_sadtalker(load_mouth=lambda path: mouth)
    (face,) = engine._detectors.get(1).detect([portrait])[0]
    photo = portrait
    if is_prepared:
        engine.prepare(portrait).save(photo := tmp_path / "face.w2l")
    (tmp_path / "mouth.pth").touch()
    frames(engine, photo, speech, still=True, mouth=tmp_path / "mouth.pth")
    np.testing.assert_array_equal(mouth.photo, portrait)
    region = engine.prepare(portrait).region
    halves = np.array([face.box[2] - face.box[0], face.box[3] - face.box[1]]) / 2 * 256 / region.size
    for left, top, right, bottom in mouth.boxes:
        np.testing.assert_allclose([right - left, bottom - top], halves, atol=2)
    assert len(mouth.boxes) == 13


def test_points_replace_the_detector(portrait, speech, tmp_path):
    points = tmp_path / "points.json"
    points.write_text(json.dumps([[105, 95], [145, 92], [128, 118], [112, 145], [146, 142]]))
    engine = tiny_sadtalker(detector=object())
    assert len(frames(engine, portrait, speech, points=points)) == 13
    points.write_text(json.dumps([[105, 95], [145, 92], [128, 118], [112, 145], [300, 142]]))
    with pytest.raises(InputError, match="cut by the edge"):
        frames(engine, portrait, speech, points=points)


def test_motion_of_a_video_needs_no_audio(engine, portrait, tmp_path):
    video = write_video(tmp_path / "ref.mp4", [np.roll(portrait, 2 * n, axis=1) for n in range(6)], 25,
                        write_wav(tmp_path / "a.wav", tone(0.24)))  # fmt: skip
    result = engine(portrait, None, tmp_path / "out.mp4", SadTalkerOptions(ref_video=video))
    assert result.frames in (6, 7)  # the encoded audio is longer by up to a block of AAC
    assert probe(result.outfile).audio is not None
    with_pose = frames(engine, portrait, tmp_path / "a.wav", ref_pose=video, ref_eyeblink=video)
    assert len(with_pose) == 6


def test_intermediate_files_are_kept(engine, portrait, speech, tmp_path):
    from scipy.io import loadmat

    engine(portrait, speech, tmp_path / "out.mp4", intermediate_dir=tmp_path / "kept")
    assert loadmat(tmp_path / "kept/first_frame_dir/photo.mat")["coeff_3dmm"].shape == (1, 73)
    assert loadmat(tmp_path / "kept/photo##audio.mat")["coeff_3dmm"].shape == (13, 70)
    assert np.loadtxt(tmp_path / "kept/first_frame_dir/photo_landmarks.txt").shape == (5, 2)
    assert Image.open(tmp_path / "kept/first_frame_dir/photo.png").size == (256, 256)


def test_progress_names_every_stage(engine, portrait, speech, tmp_path):
    calls = []
    engine(portrait, speech, tmp_path / "out.mp4", progress=lambda *call: calls.append(call))
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == [
        "mel", "landmarks", "3DMM", "audio2exp", "face render"
    ]  # fmt: skip
    assert calls[-1] == ("face render", 13, 13)


def test_cancelled_request_leaves_no_file(engine, portrait, speech, tmp_path):
    with pytest.raises(Cancelled):
        engine(portrait, speech, tmp_path / "out.mp4", is_cancelled=lambda: True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ref_pose": Path("none.mp4")}, "--ref_pose=none.mp4: no such file"),
        ({"ref_eyeblink": Path("none.mp4")}, "--ref_eyeblink=none.mp4: no such file"),
        ({"points": Path("none.txt")}, "--points=none.txt: no such file"),
        ({"mouth": Path("none.pth")}, "--mouth=none.pth: no such file"),
        ({"enhancer": "none.pth"}, "none.pth"),
        ({"codec": "none"}, "--codec none: not a video encoder"),
    ],
)
def test_missing_files_are_found_before_the_work(portrait, speech, tmp_path, options, reason):
    engine = tiny_sadtalker(detector=object())
    with pytest.raises(InputError, match=reason):
        engine(portrait, speech, tmp_path / "out.mp4", SadTalkerOptions(**options))
    assert engine.head.calls == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("face", "audio"), [("none.png", None), (None, "none.wav"), ("text.png", None), (None, "text.wav")]
)
def test_unusable_inputs_are_reported(engine, portrait, speech, tmp_path, face, audio):
    for name in ("text.png", "text.wav"):
        (tmp_path / name).write_text("Dear diary,\n" * 30)
    inputs = tmp_path / face if face else portrait, tmp_path / audio if audio else speech
    with pytest.raises(InputError, match="none|text"):
        engine(*inputs, tmp_path / "out.mp4")


def test_upper_case_and_video_sources_work(engine, portrait, speech, tmp_path):
    Image.fromarray(portrait).save(tmp_path / "PHOTO.JPG")
    gray = np.full_like(portrait, 120)
    video = write_video(tmp_path / "face.MP4", [gray] * 6 + [portrait] * 5)
    for path in (tmp_path / "PHOTO.JPG", video):
        assert frames(engine, path, speech, preprocess="full")[0].shape == (256, 256, 3)


@pytest.mark.slow
def test_photo_of_24_megapixels_gives_the_crop_of_a_small_one(engine, portrait, speech, tmp_path):
    photo = Image.fromarray(portrait)
    photo.resize((4900, 4900), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=95)
    (large, *_), (small, *_) = (frames(engine, face, speech, still=True) for face in (tmp_path / "large.jpg", portrait))
    assert large.shape[1] == 256
    height = min(len(large), len(small))
    assert np.abs(large[:height].astype(int) - small[:height]).mean() < 12


def test_audio_is_required(engine, portrait, speech):
    with pytest.raises(InputError, match="--driven_audio: is missing"):
        engine.stream(portrait, None)
    with pytest.raises(InputError, match="--idle: makes a video without speech"):
        engine.stream(portrait, speech, SadTalkerOptions(idle=2))


def test_reference_video_is_cropped_as_the_prepared_photo(engine, portrait, speech, tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(
        pipeline, "reference_coefficients", lambda path, mode, *others: modes.append(mode) or np.zeros((5, 73))
    )
    engine.prepare(portrait, SadTalkerOptions(preprocess="full")).save(tmp_path / "face.w2l")
    (tmp_path / "ref.mp4").touch()
    frames(engine, tmp_path / "face.w2l", speech, ref_pose=tmp_path / "ref.mp4")
    assert modes == ["full"]


def test_one_detector_serves_photo_and_reference_video(portrait, speech, tmp_path):
    built = []

    def build(batch_size, compat):
        built.append(batch_size)
        return build_detector("mtcnn")

    engine = tiny_sadtalker(build=build)
    video = write_video(tmp_path / "ref.mp4", [portrait] * 2)
    frames(engine, portrait, speech, ref_pose=video, cache=False)
    assert built == [8]


def test_audio_track_is_selected(engine, portrait, tmp_path):
    tracks = tmp_path / "tracks.mka"
    with av.open(str(tracks), "w") as file:
        streams = [file.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
        for stream, seconds in zip(streams, (0.2, 0.6), strict=True):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, int(16000 * seconds)), np.int16), "s16", "mono")
            frame.rate = 16000
            file.mux(stream.encode(frame))
    assert [len(frames(engine, portrait, tracks, audio_track=n)) for n in (1, 2)] == [5, 15]


def test_metadata_names_what_was_generated(engine, portrait, speech, tmp_path):
    engine(portrait, speech, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.metadata["comment"].startswith("The head and face in this video were generated by")


def test_enhancers_restore_every_frame_without_a_detector(engine, portrait, speech, tmp_path, monkeypatch):
    calls = []

    def build_restorer(name, scale, faces_only):
        def restore(images):
            calls.append((name, images.shape[1:]))
            return (255 - images).repeat(scale, axis=1).repeat(scale, axis=2)

        restore.scale, restore.faces_only = scale, faces_only
        return restore

    restorers = {"face.pth": build_restorer("face", 1, True), "frame.pth": build_restorer("frame", 2, False)}
    engine.prepare(portrait, SadTalkerOptions(preprocess="full")).save(tmp_path / "face.w2l")
    other = tiny_sadtalker(detector=object())  # any call would fail
    monkeypatch.setattr(other, "_restorers", SimpleNamespace(get=lambda path: restorers[path]))
    enhancers = {"enhancer": "face.pth", "background_enhancer": "frame.pth"}
    (plain, *_), (enhanced, *_) = (frames(other, tmp_path / "face.w2l", speech, **each) for each in ({}, enhancers))
    assert sorted(calls) == 13 * [("face", (512, 512, 3))] + 13 * [("frame", (256, 256, 3))]
    np.testing.assert_array_equal(enhanced[:20, :20], 255 - plain[:20, :20])
    (large, *_) = frames(other, tmp_path / "face.w2l", speech, upscale=True, **enhancers)
    assert large.shape == (512, 512, 3)
