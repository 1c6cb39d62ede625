"""Results rendered in segments equal those rendered at once, frame for frame."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from face_detection import Face
from models import Wav2Lip
from tests.helpers.lipsync import CYAN, MAGENTA, ColorDetector, paint_faces
from tests.helpers.media import tone, write_video, write_wav
from wav2lip.engine.interface import FaceTarget
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.lipsync.closed_mouth_reference import MouthState
from wav2lip.lipsync.segments import (
    SegmentPlan,
    join_segments,
    load_plan,
    plan_segments,
    render_segment,
    save_plan,
    segment_suffix,
)

FRAMES = 45  # of the video: 1.8 s
LOSSLESS = {"crf": 0.0, "preset": "ultrafast", "cache": False}


class LandmarkDetector(ColorDetector):
    """ColorDetector with landmarks, for the search of closed mouths."""

    def detect(self, frames):
        return [[self._add_landmarks(face) for face in faces] for faces in super().detect(frames)]

    def _add_landmarks(self, face):
        left, top, right, bottom = face.box
        places = ((0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75))
        points = [(left + x * (right - left), top + y * (bottom - top)) for x, y in places]
        return Face(face.box, face.score, tuple(points))


@pytest.fixture(scope="module")
def engine():
    torch.manual_seed(0)
    lipsync = LipSync(Wav2Lip(width=0.125), torch.device("cpu"), lambda batch_size, compat: ColorDetector())
    lipsync._landmark_detector = LandmarkDetector
    return lipsync


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A moving face, another one after a cut, and none at last; speech-like noise with pauses."""
    folder = tmp_path_factory.mktemp("segments")
    rng = np.random.default_rng(0)
    frames = []
    for n in range(FRAMES):
        gray = np.full((96, 96, 3), 60 + n, np.uint8)
        if n < 25:
            gray = paint_faces(gray, (MAGENTA, (10 + n, 20, 50 + n, 64)))
        elif n < 38:
            gray = paint_faces(gray + 90, (CYAN, (30, 30, 74, 78)), (MAGENTA, (2, 2, 20, 24)))
        frames.append(np.clip(gray + rng.integers(0, 8, gray.shape), 0, 255).astype(np.uint8))
    write_video(folder / "face.mp4", frames)
    voice = tone(6.0) * (np.arange(96_000) // 12_000 % 2)  # 0.75 s of silence and of tone in turn
    write_wav(folder / "long.wav", voice)
    write_wav(folder / "short.wav", voice[:20_000])
    return folder


def decode(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(stream)]
    return [time for time, _ in frames], np.stack([frame for _, frame in frames])


def render(engine, face, audio, out, options, seconds, order=1):
    """Render all segments, in the order given by a step, and join them."""
    save_plan(plan_segments(engine, face, audio, options, seconds), out.with_suffix(".npz"))
    plan = load_plan(out.with_suffix(".npz"))
    parts = [out.with_name(f"{n}{segment_suffix(out)}") for n in range(plan.count)]
    for number in range(plan.count)[::order]:
        render_segment(engine, plan, number, face, audio, parts[number], options)
    join_segments(parts, audio, out, options, plan.frames, Fraction(25), "")
    return plan


@pytest.mark.parametrize(
    ("audio", "name", "options"),
    [
        ("long", "a.mp4", {}),
        ("long", "a.mp4", {"fit": "pingpong", "faces": "all", "silence": "off"}),
        ("long", "a.mkv", {"fit": "freeze"}),
        ("long", "a.avi", {"fit": "trim", "start": 0.2}),
        ("short", "a.mov", {"short": "keep", "metadata": False}),
        ("long", "a.mp4", {"static": True}),
    ],
    ids=["loop", "pingpong", "freeze", "trim", "keep", "static"],
)
def test_segments_equal_the_whole(engine, media, tmp_path, audio, name, options):
    options = LipSyncOptions(**LOSSLESS, **options)
    face, voice = media / "face.mp4", media / f"{audio}.wav"
    whole = engine(face, voice, tmp_path / "whole" / name, options)
    plan = render(engine, face, voice, tmp_path / name, options, seconds=1.1, order=-1)
    assert plan.step == 32  # 1.1 s are 28 frames; the generator's batch on a CPU has 8
    assert plan.count >= 2
    times, frames = decode(tmp_path / name)
    expected_times, expected = decode(tmp_path / "whole" / name)
    assert len(frames) == whole.frames
    np.testing.assert_array_equal(frames, expected)
    assert times == pytest.approx(expected_times, abs=1e-6)
    with av.open(str(tmp_path / name)) as file, av.open(str(tmp_path / "whole" / name)) as expected_file:
        samples, expected_samples = (
            np.concatenate([frame.to_ndarray() for frame in f.decode(audio=0)], axis=1) for f in (file, expected_file)
        )
        assert file.metadata.get("comment") == expected_file.metadata.get("comment")
    np.testing.assert_array_equal(samples, expected_samples)


def test_plan_survives_its_file(tmp_path):
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 255, (4, 4, 3), np.uint8)
    points = rng.random((5, 2)).astype(np.float32)
    mouths = [
        MouthState({}, None),
        MouthState({0: (np.ones(3, np.float32), crop), 2: (np.zeros(3, np.float32), None)}, (None, 40)),
        MouthState({}, ((1, 2, 3, 4), 50)),
    ]
    targets = [[FaceTarget((1, 2, 3, 4))], [], [FaceTarget((5, 6, 7, 8), points, 2), FaceTarget((0, 0, 1, 1), None, 1)]]
    save_plan(SegmentPlan(41, 16, 24, "loop", targets, mouths), tmp_path / "plan.npz")
    plan = load_plan(tmp_path / "plan.npz")
    assert (plan.frames, plan.step, plan.fit, plan.count) == (41, 16, "loop", 3)
    assert [plan.bounds(n) for n in range(3)] == [(0, 16), (16, 32), (32, 41)]
    assert [plan.margin_start(n) for n in range(3)] == [0, 0, 8]
    boxes = [[(face.box, face.person) for face in frame] for frame in plan.targets]
    assert boxes == [[((1, 2, 3, 4), 0)], [], [((5, 6, 7, 8), 2), ((0, 0, 1, 1), 1)]]
    np.testing.assert_array_equal(plan.targets[2][0].landmarks, points)
    assert plan.targets[2][1].landmarks is None
    assert [state.search for state in plan.mouths] == [None, (None, 40), ((1, 2, 3, 4), 50)]
    np.testing.assert_array_equal(plan.mouths[1].references[0][1], crop)
    assert plan.mouths[1].references[2][1] is None
