"""Inference gives the public release's frames when asked to, and better behaviour when not."""

import itertools
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from face_detection import Face
from models import Wav2Lip
from tests.conftest import tone, write_video, write_wav
from tests.reference import golden, weights
from tests.wav2lip.lipsync.painted import MAGENTA, ByColour, painted
from tests.wav2lip.test_media import levels_of, timed_video
from wav2lip.audio import melspectrogram
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.crops import Pads
from wav2lip.errors import InputError
from wav2lip.lipsync import FaceSource, Framing, LipSync, Options, sound_windows
from wav2lip.media import probe, read_frames
from wav2lip.windows import InferenceWindows


class Frames:
    """A source that serves frames from memory."""

    path, static, fps, stated_frames = "frames in memory", False, Fraction(25), 0

    def __init__(self, frames):
        self._frames = frames

    def frames(self, first=0, last=None):
        return (frame.copy() for frame in self._frames[first:last])


class Detector:
    """Says the given boxes, frame after frame; None is a frame without a face."""

    name = "given"

    def __init__(self, boxes):
        self._boxes = itertools.cycle(boxes)

    def detect(self, frames):
        boxes = [next(self._boxes) for _ in frames]
        return [[] if box is None else [Face(tuple(map(float, box)), 0.9)] for box in boxes]


def lipsync(boxes, generator=None):
    torch.manual_seed(0)
    return LipSync(generator or Wav2Lip(width=0.125), torch.device("cpu"), lambda batch_size, compat: Detector(boxes))


def by_colour():
    return LipSync(Wav2Lip(width=0.125), torch.device("cpu"), lambda batch_size, compat: ByColour())


def silent(frames):
    """Windows of that many frames without sound."""
    return InferenceWindows(np.full((80, 16), -4, np.float32), np.zeros(frames, np.int64))


def boxes_of(made):
    """top, bottom, left, right of the one face of each frame."""
    boxes = [one.box for (one,) in (shown.targets for shown in made)]
    return [(top, bottom, left, right) for left, top, right, bottom in boxes]


def test_the_whole_of_inference_is_the_golden_one():
    expected, generator = golden("infer_e2e"), Wav2Lip()
    generator.load_state_dict(weights("generator"))
    ours = lipsync(expected["rects"], generator)
    source = Frames(expected["frames_in"][..., ::-1])  # the release works in BGR
    mel = melspectrogram(expected["wav_i16"].astype(np.float32) / 32768)
    np.testing.assert_allclose(mel, expected["mel"], atol=1e-4)
    windows, options = InferenceWindows.public(mel, 25), Options(wav2lip_batch_size=4, compat="public")
    made = list(ours.shown(source, windows, options))
    assert boxes_of(made) == [tuple(row) for row in expected["coords_y1y2x1x2"].tolist()]
    frames = np.stack([shown.frame for shown in made])[..., ::-1]
    difference = np.abs(frames.astype(int) - expected["frames_out"].astype(int))
    assert difference.max() <= 2
    assert (difference <= 1).mean() >= 0.999


@pytest.mark.parametrize(("pads", "smooth"), [
    (Pads(*map(int, key.split("_")[1:5])), key.endswith("nosmooth0_y1y2x1x2"))
    for key in golden("boxes") if "nosmooth" in key
], ids=str)  # fmt: skip
def test_public_crop_coordinates_are_the_golden_ones(pads, smooth):
    expected = golden("boxes")
    height, width = expected["crop_image_hw"].tolist()
    ours = lipsync(expected["crop_in_rects"])
    frames = Frames([np.zeros((height, width, 3), np.uint8)] * 12)
    made = ours.shown(frames, silent(12), Options(pads=pads, smooth=smooth, compat="public"))
    key = f"crop_{pads.top}_{pads.bottom}_{pads.left}_{pads.right}_nosmooth{int(not smooth)}_y1y2x1x2"
    assert boxes_of(made) == [tuple(row) for row in expected[key].tolist()]


@torch.no_grad()
def test_with_a_fixed_box_composites_are_those_of_the_plain_algorithm():
    rng = np.random.default_rng(5)
    frames = [cv2.GaussianBlur(rng.integers(0, 255, (130, 150, 3), np.uint8), (9, 9), 3) for _ in range(5)]
    generator, mel = Wav2Lip(), melspectrogram(tone(0.6).astype(np.float32))
    generator.load_state_dict(weights("generator"))
    top, bottom, left, right = 20, 121, 30, 110
    plain = []  # one frame at a time, in BGR, as the release does
    generator.eval()
    for i in range(12):
        start = int(i * (80.0 / 25))
        chunk = mel[:, start : start + 16] if start + 16 <= mel.shape[1] else mel[:, -16:]
        bgr = frames[i % 5][..., ::-1].copy()
        face = cv2.resize(bgr[top:bottom, left:right], (96, 96))
        masked = face.copy()
        masked[48:] = 0
        x = np.concatenate((masked, face), axis=2).transpose(2, 0, 1)[None] / 255.0
        out = generator(torch.from_numpy(chunk[None, None].copy()), torch.from_numpy(x.astype(np.float32)))
        face = (out[0].numpy().transpose(1, 2, 0) * 255.0).astype(np.uint8)
        bgr[top:bottom, left:right] = cv2.resize(face, (right - left, bottom - top))
        plain.append(bgr[..., ::-1])
        if start + 16 > mel.shape[1]:
            break
    options = Options(box=(top, bottom, left, right), smooth=False, compat="public")
    ours, windows = lipsync([], generator), InferenceWindows.public(mel, 25)
    made = [shown.frame for shown in ours.shown(Frames(frames), windows, options)]
    assert len(made) == len(plain)
    assert np.abs(np.stack(made).astype(int) - np.stack(plain).astype(int)).mean() < 0.5


@torch.no_grad()
@pytest.mark.parametrize("resolution", [192, 288, 384])
def test_faces_are_cropped_at_the_resolution_of_the_checkpoint_and_pasted_back(resolution, tmp_path):
    torch.manual_seed(0)
    generator = Wav2Lip(width=0.0625, resolution=resolution).eval()
    save_checkpoint(tmp_path / "generator.pth", Checkpoint(generator.state_dict()))
    rng = np.random.default_rng(5)
    frame = cv2.GaussianBlur(rng.integers(0, 255, (260, 300, 3), np.uint8), (9, 9), 3)
    top, bottom, left, right = 20, 245, 30, 240
    mel = melspectrogram(tone(0.3).astype(np.float32))
    face = cv2.resize(frame[top:bottom, left:right, ::-1], (resolution, resolution))
    masked = face.copy()
    masked[resolution // 2 :] = 0
    x = torch.from_numpy(np.concatenate((masked, face), axis=2).transpose(2, 0, 1)[None] / np.float32(255))
    face = (generator(torch.from_numpy(mel[None, None, :, :16].copy()), x)[0].numpy() * 255).astype(np.uint8)
    expected = frame.copy()
    expected[top:bottom, left:right] = cv2.resize(face.transpose(1, 2, 0)[..., ::-1], (right - left, bottom - top))
    ours, windows = LipSync.from_checkpoint(tmp_path / "generator.pth", "cpu"), InferenceWindows.public(mel, 25)
    options = Options(box=(top, bottom, left, right), compat="public")
    made = next(ours.shown(Frames([frame]), windows, options)).frame
    assert np.abs(made.astype(int) - expected).max() <= 1


def test_a_frame_without_a_face_passes_unchanged_and_is_reported_with_its_time(tmp_path, portrait):
    with_face = painted(portrait, (MAGENTA, (60, 40, 180, 200)))
    video = write_video(tmp_path / "face.mp4", [with_face] * 10 + [portrait] * 8 + [with_face] * 7)
    sound = write_wav(tmp_path / "sound.wav", tone(1.0))
    result = by_colour()(video, sound, tmp_path / "out.mp4")
    assert result.without_face == [(0.4, 0.72)]
    made, given = list(read_frames(tmp_path / "out.mp4")), list(read_frames(video))
    assert len(made) == 25
    change = [np.abs(m.astype(int) - g).mean() for m, g in zip(made, given, strict=True)]
    assert max(change[10:18]) < 3 < min(change[:9])  # an untrained mouth is a blot; the rest is the encoder


@pytest.mark.parametrize(("options", "flag"), [
    (Options(strict=True), "--strict"), (Options(compat="public"), "--compat public"),
])  # fmt: skip
def test_strict_and_public_stop_at_a_frame_without_a_face_and_name_the_flag_that_asks_it(options, flag):
    empty = np.zeros((256, 256, 3), np.uint8)
    frames = Frames([painted(empty, (MAGENTA, (60, 40, 180, 200)))] * 10 + [empty] * 10)
    with pytest.raises(InputError, match=rf"frame 10 \(0\.40 s\): no face found; .* or leave out {flag}$"):
        list(by_colour().shown(frames, silent(20), options))


@pytest.mark.parametrize(("device", "most"), [("cpu", 8), ("meta", 24)])
def test_the_detector_is_built_for_the_options_and_kept_while_they_are_the_same(device, most):
    built = []

    def build(batch_size, compat):
        built.append((batch_size, compat))
        return Detector([(0, 0, 8, 8)])

    ours, source = LipSync(Wav2Lip(width=0.125), torch.device(device), build), Frames([np.zeros((64, 64, 3), np.uint8)])
    assert built == []  # a fixed box needs none
    for compat in ("none", "none", "public"):
        ours.finder(source, 1, Options(face_det_batch_size=24, compat=compat))
    ours.finder(source, 1, Options(face_det_batch_size=3, compat="public"))
    assert built == [(most, "none"), (most, "public"), (3, "public")]


def test_the_batch_size_and_compat_of_the_options_reach_s3fd(tmp_path, monkeypatch):
    asked = {}

    def build(name, **arguments):
        asked.update(arguments)
        return Detector([(0, 0, 8, 8)])

    monkeypatch.setattr("wav2lip.lipsync.engine.build_detector", build)
    save_checkpoint(tmp_path / "g.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    ours = LipSync.from_checkpoint(tmp_path / "g.pth", device="cpu")
    frames = Frames([np.zeros((64, 64, 3), np.uint8)])
    next(ours.shown(frames, silent(1), Options(face_det_batch_size=5, compat="public")))
    assert (asked["batch_size"], asked["compat"]) == (5, "public")


def test_an_unknown_compat_is_refused_by_its_flag():
    with pytest.raises(InputError, match="--compat is publik; choose one of none, public"):
        Options(compat="publik")


def test_a_video_without_any_face_is_refused_and_leaves_no_result(tmp_path, portrait):
    video = write_video(tmp_path / "grass.mp4", [portrait] * 5)
    sound = write_wav(tmp_path / "sound.wav", tone(0.2))
    with pytest.raises(InputError, match=r"grass\.mp4: no face found in any of its 5 frames"):
        lipsync([None])(video, sound, tmp_path / "out" / "result.mp4")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_the_result_is_as_long_as_the_sound_and_carries_it(tmp_path, portrait, suffix):
    video = write_video(tmp_path / "face.mp4", [portrait] * 10)
    sound = write_wav(tmp_path / "sound.wav", np.stack([tone(1.5, 44_100)] * 2, axis=1), rate=44_100)
    result = lipsync([(60, 40, 180, 200)])(video, sound, tmp_path / f"a folder's {suffix[1:]}" / f"-é out{suffix}")
    made = probe(result.outfile)
    assert made.require_audio().rate == 44_100
    assert made.seconds == pytest.approx(1.5, abs=0.12)  # AVI keeps the priming of AAC
    assert sum(1 for _ in read_frames(result.outfile)) == result.frames == 38  # 1.5 s * 25, rounded up


def test_a_longer_sound_begins_the_video_again():
    frames = [np.full((64, 64, 3), 20 * n, np.uint8) for n in range(4)]
    windows = InferenceWindows.covering(np.zeros((80, 41), np.float32), 10 * 640, 25)
    frames = [painted(frame, (MAGENTA, (0, 0, 20, 20))) for frame in frames]
    made = by_colour().shown(Frames(frames), windows, Options())
    assert [shown.frame[40, 40, 0] for shown in made] == [0, 20, 40, 60, 0, 20, 40, 60, 0, 20]


def test_a_picture_becomes_a_video_at_the_asked_rate(tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "me.and.you.PNG"), portrait[:255, :251, ::-1])  # odd sizes, dots, upper case
    sound = write_wav(tmp_path / "sound.wav", tone(1.0))
    result = lipsync([(60, 40, 180, 200)])(
        tmp_path / "me.and.you.PNG", sound, tmp_path / "out.mp4", Options(fps=30, static=True)
    )
    frame = next(read_frames(result.outfile))
    assert (result.frames, result.fps) == (30, 30)
    assert frame.shape == (256, 252, 3)  # H.264 needs even sizes
    assert np.abs(frame[:20, :250].astype(int) - portrait[:20, :250]).mean() < 6


def test_framing_shrinks_then_turns_then_cuts():
    frame = np.zeros((80, 120, 3), np.uint8)
    frame[0:8, 0:8] = 200  # top left
    framed = Framing(resize_factor=2, rotate=True, crop=(0, 30, 20, -1)).apply(frame)
    assert framed.shape == (30, 20, 3)  # 40 x 60, turned to 60 x 40, cut
    assert framed[2, -2, 0] == 200  # clockwise: top left came to the top right


def test_a_crop_or_box_outside_the_frame_is_refused_by_its_flag(tmp_path, portrait):
    with pytest.raises(InputError, match="--crop 300 -1 0 -1"):
        Framing(crop=(300, -1, 0, -1)).apply(portrait)
    with pytest.raises(InputError, match="--box 0 400 0 50"):
        next(lipsync([]).shown(Frames([portrait]), silent(1), Options(box=(0, 400, 0, 50))))


@pytest.mark.parametrize("samples", [1, 100, 700, 2000])
def test_sound_of_a_few_milliseconds_still_gives_a_frame(tmp_path, portrait, samples):
    sound = write_wav(tmp_path / "click.wav", np.full(samples, 0.5))
    cv2.imwrite(str(tmp_path / "face.jpg"), portrait[..., ::-1])
    result = lipsync([(60, 40, 180, 200)])(tmp_path / "face.jpg", sound, tmp_path / "out.mp4")
    assert result.frames == -(-samples * 25 // 16_000)


def test_memory_holds_a_batch_of_frames_whatever_the_length():
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def counted(frame):
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return frame.copy().view(Counted)

    class Endless(Frames):
        def frames(self, first=0, last=None):
            return (counted(frame) for frame in self._frames[first:last])

    empty = np.zeros((64, 64, 3), np.uint8)
    source = Endless([empty] * 299 + [painted(empty, (MAGENTA, (0, 0, 32, 32)))])
    windows = InferenceWindows.covering(np.zeros((80, 961), np.float32), 300 * 640, 25)
    for _ in by_colour().shown(source, windows):
        pass
    # 8 read ahead, 50 between two scans, two batches of 8 in generation, 8 finished, and those passed from hand to hand
    assert most <= 100


def test_compat_public_takes_the_frames_of_a_variable_rate_as_they_are_at_the_mean_rate(tmp_path):
    levels = [20, 60, 100, 140, 180]
    path = timed_video(tmp_path / "phone.mp4", [0.0, 0.04, 0.08, 0.6, 0.64], levels)
    source = FaceSource(path, compat="public")
    assert levels_of(source.frames()) == pytest.approx(levels, abs=2)
    assert source.fps == probe(path).require_video().mean_fps < 10
    assert len(list(FaceSource(path).frames())) == 17  # 0.68 s at 25 a second: by its times


def test_compat_public_leaves_a_picture_unframed(tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "face.png"), portrait[..., ::-1])
    framing = Framing(resize_factor=2, rotate=True, crop=(0, 100, 0, -1))
    (public,) = FaceSource(tmp_path / "face.png", framing=framing, compat="public").frames()
    np.testing.assert_array_equal(public, portrait)
    (framed,) = FaceSource(tmp_path / "face.png", framing=framing).frames()
    assert framed.shape == (100, 128, 3)


@pytest.mark.parametrize(("samples", "enough"), [(2999, False), (3000, True)])
def test_compat_public_refuses_sound_shorter_than_a_window(tmp_path, samples, enough):
    sound = write_wav(tmp_path / "word.wav", tone(1.0)[:samples])  # 16 columns need 15 steps of 200 samples
    if enough:
        assert len(sound_windows(sound, Fraction(25), "public")) == 2
        return
    with pytest.raises(InputError, match=r"word\.wav: 0\.19 s of sound are too short; give at least 0\.2 s$"):
        sound_windows(sound, Fraction(25), "public")


def test_a_rotated_phone_video_is_upright(tmp_path, portrait):
    frames = FaceSource(rotated_copy(write_video(tmp_path / "face.mp4", [portrait] * 3), tmp_path / "phone.mp4"))
    frame = next(frames.frames())
    assert np.abs(frame.astype(int) - np.rot90(portrait, 1)).mean() < 8  # noted as 90 degrees counter-clockwise


def rotated_copy(source, target):
    """The same pixels with a note to turn them by 90 degrees when shown, as phones write it."""
    import subprocess

    from wav2lip.media.encoding import ffmpeg_binary

    command = [ffmpeg_binary(), "-loglevel", "error", "-display_rotation", "90", "-i", source, "-c", "copy", target]
    subprocess.run(command, check=True)
    return target
