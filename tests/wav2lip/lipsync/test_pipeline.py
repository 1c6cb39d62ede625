"""The engine equals upstream with compat=public; its behavior without."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from models import Wav2Lip
from tests.helpers.goldens import golden, weights
from tests.helpers.lipsync import (
    MAGENTA,
    MemorySource,
    ScriptedDetector,
    color_lipsync,
    paint_faces,
    scripted_lipsync,
    silent_windows,
)
from tests.helpers.media import gray_levels, timed_video, tone, write_video, write_wav
from wav2lip.audio import melspectrogram
from wav2lip.audio.windows import InferenceWindows
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import InputError
from wav2lip.lipsync import FileSource, Framing, LipSync, LipSyncOptions, mel_windows_from_file
from wav2lip.media import probe, read_frames


def read_boxes(items):
    """Return top, bottom, left, right of the one face of each frame."""
    boxes = [target.box for (target,) in (item.targets for item in items)]
    return [(top, bottom, left, right) for left, top, right, bottom in boxes]


def test_inference_equals_golden_end_to_end():
    expected, generator = golden("infer_e2e"), Wav2Lip()
    generator.load_state_dict(weights("generator"))
    lipsync = scripted_lipsync(expected["rects"], generator)
    source = MemorySource(expected["frames_in"][..., ::-1])  # upstream works in BGR
    mel = melspectrogram(expected["wav_i16"].astype(np.float32) / 32768)
    np.testing.assert_allclose(mel, expected["mel"], atol=1e-4)
    windows, options = InferenceWindows.build_public(mel, 25), LipSyncOptions(wav2lip_batch_size=4, compat="public")
    items = list(lipsync.run(source, [windows], options))
    assert read_boxes(items) == [tuple(row) for row in expected["coords_y1y2x1x2"].tolist()]
    frames = np.stack([item.frame for item in items])[..., ::-1]
    difference = np.abs(frames.astype(int) - expected["frames_out"].astype(int))
    # Truncation to integers turns a rounding error into one level, which resizing may double.
    assert difference.max() <= 2
    assert (difference <= 1).mean() >= 0.999


@pytest.mark.parametrize(("pads", "smooth"), [
    (tuple(map(int, key.split("_")[1:5])), key.endswith("nosmooth0_y1y2x1x2"))
    for key in golden("boxes") if "nosmooth" in key
], ids=str)  # fmt: skip
def test_public_boxes_equal_golden(pads, smooth):
    expected = golden("boxes")
    height, width = expected["crop_image_hw"].tolist()
    lipsync = scripted_lipsync(expected["crop_in_rects"])
    frames = MemorySource([np.zeros((height, width, 3), np.uint8)] * 12)
    items = lipsync.run(frames, [silent_windows(12)], LipSyncOptions(pads=pads, smooth=smooth, compat="public"))
    key = f"crop_{'_'.join(map(str, pads))}_nosmooth{int(not smooth)}_y1y2x1x2"
    assert read_boxes(items) == [tuple(row) for row in expected[key].tolist()]


@torch.no_grad()
def test_fixed_box_equals_plain_algorithm():
    rng = np.random.default_rng(5)
    frames = [cv2.GaussianBlur(rng.integers(0, 255, (130, 150, 3), np.uint8), (9, 9), 3) for _ in range(5)]
    generator, mel = Wav2Lip(), melspectrogram(tone(0.6).astype(np.float32))
    generator.load_state_dict(weights("generator"))
    top, bottom, left, right = 20, 121, 30, 110
    plain = []  # one frame at a time, in BGR, as upstream
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
    options = LipSyncOptions(box=(top, bottom, left, right), smooth=False, compat="public")
    lipsync, windows = scripted_lipsync([], generator), InferenceWindows.build_public(mel, 25)
    frames_out = [item.frame for item in lipsync.run(MemorySource(frames), [windows], options)]
    assert len(frames_out) == len(plain)
    assert np.abs(np.stack(frames_out).astype(int) - np.stack(plain).astype(int)).mean() < 0.5


@torch.no_grad()
@pytest.mark.parametrize("resolution", [192, 288, 384])
def test_crops_have_resolution_of_checkpoint(resolution, tmp_path):
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
    lipsync = LipSync.from_checkpoint(tmp_path / "generator.pth", "cpu")
    windows = InferenceWindows.build_public(mel, 25)
    options = LipSyncOptions(box=(top, bottom, left, right), compat="public")
    result = next(lipsync.run(MemorySource([frame]), [windows], options)).frame
    assert np.abs(result.astype(int) - expected).max() <= 1


def test_frames_without_face_are_unchanged_and_reported(tmp_path, portrait):
    face_frame = paint_faces(portrait, (MAGENTA, (60, 40, 180, 200)))
    video = write_video(tmp_path / "face.mp4", [face_frame] * 10 + [portrait] * 8 + [face_frame] * 7)
    audio = write_wav(tmp_path / "audio.wav", tone(1.0))
    result = color_lipsync()(video, audio, tmp_path / "out.mp4")
    assert result.without_face == [(0.4, 0.72)]
    frames, originals = list(read_frames(tmp_path / "out.mp4")), list(read_frames(video))
    assert len(frames) == 25
    change = [np.abs(m.astype(int) - g).mean() for m, g in zip(frames, originals, strict=True)]
    assert max(change[10:18]) < 3 < min(change[:9])  # a replaced mouth, or loss of the encoder


@pytest.mark.parametrize(("options", "flag"), [
    (LipSyncOptions(strict=True), "--strict"), (LipSyncOptions(compat="public"), "--compat public"),
])  # fmt: skip
def test_strict_and_public_fail_at_frame_without_face(options, flag):
    empty = np.zeros((256, 256, 3), np.uint8)
    frames = MemorySource([paint_faces(empty, (MAGENTA, (60, 40, 180, 200)))] * 10 + [empty] * 10)
    with pytest.raises(InputError, match=rf"frame 10 \(0\.40 s\): no face found; .* or remove {flag}$"):
        list(color_lipsync().run(frames, [silent_windows(20)], options))


@pytest.mark.parametrize(("device", "expected_batch_size"), [("cpu", 8), ("meta", 24)])
def test_detector_is_reused_for_equal_options(device, expected_batch_size):
    built = []

    def build(batch_size, compat):
        built.append((batch_size, compat))
        return ScriptedDetector([(0, 0, 8, 8)])

    lipsync, source = (
        LipSync(Wav2Lip(width=0.125), torch.device(device), build),
        MemorySource([np.zeros((64, 64, 3), np.uint8)]),
    )
    assert built == []  # a fixed box needs no detector
    for compat in ("none", "none", "public"):
        lipsync.face_locator(source, 1, LipSyncOptions(face_det_batch_size=24, compat=compat))
    lipsync.face_locator(source, 1, LipSyncOptions(face_det_batch_size=3, compat="public"))
    assert built == [(expected_batch_size, "none"), (expected_batch_size, "public"), (3, "public")]


def test_batch_size_and_compat_reach_detector(tmp_path, monkeypatch):
    detector_options = {}

    def build(name, **arguments):
        detector_options.update(arguments)
        return ScriptedDetector([(0, 0, 8, 8)])

    monkeypatch.setattr("wav2lip.lipsync.pipeline.build_detector", build)
    save_checkpoint(tmp_path / "g.pth", Checkpoint(Wav2Lip(width=0.125).state_dict()))
    lipsync = LipSync.from_checkpoint(tmp_path / "g.pth", device="cpu")
    frames = MemorySource([np.zeros((64, 64, 3), np.uint8)])
    next(lipsync.run(frames, [silent_windows(1)], LipSyncOptions(face_det_batch_size=5, compat="public")))
    assert (detector_options["batch_size"], detector_options["compat"]) == (5, "public")


def test_options_reject_unknown_compat():
    with pytest.raises(InputError, match="--compat=publik: must be one of"):
        LipSyncOptions(compat="publik")


def test_video_without_face_fails_without_result(tmp_path, portrait):
    video = write_video(tmp_path / "grass.mp4", [portrait] * 5)
    audio = write_wav(tmp_path / "audio.wav", tone(0.2))
    with pytest.raises(InputError, match=r"grass\.mp4: no face found in any of its 5 frames"):
        scripted_lipsync([None])(video, audio, tmp_path / "out" / "result.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_image_without_face_is_called_an_image(tmp_path, portrait):
    Image.fromarray(portrait).save(tmp_path / "grass.png")
    audio = write_wav(tmp_path / "audio.wav", tone(0.2))
    with pytest.raises(InputError, match=r"grass\.png: no face found in the image; add --box or use another one"):
        scripted_lipsync([None])(tmp_path / "grass.png", audio, tmp_path / "result.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_result_has_audio_and_its_length(tmp_path, portrait, suffix):
    video = write_video(tmp_path / "face.mp4", [portrait] * 10)
    audio = write_wav(tmp_path / "audio.wav", np.stack([tone(1.5, 44_100)] * 2, axis=1), rate=44_100)
    result = scripted_lipsync([(60, 40, 180, 200)])(
        video, audio, tmp_path / f"a folder's {suffix[1:]}" / f"-é out{suffix}"
    )
    info = probe(result.outfile)
    assert info.require_audio().rate == 44_100
    assert info.seconds == pytest.approx(1.5, abs=0.12)  # AVI keeps the priming of AAC
    assert sum(1 for _ in read_frames(result.outfile)) == result.frames == 38  # 1.5 s * 25, rounded up


def test_longer_audio_restarts_video():
    frames = [np.full((64, 64, 3), 20 * n, np.uint8) for n in range(4)]
    windows = InferenceWindows.build(np.zeros((80, 41), np.float32), 10 * 640, 25)
    frames = [paint_faces(frame, (MAGENTA, (0, 0, 20, 20))) for frame in frames]
    items = color_lipsync().run(MemorySource(frames), [windows], LipSyncOptions())
    assert [item.frame[40, 40, 0] for item in items] == [0, 20, 40, 60, 0, 20, 40, 60, 0, 20]


def test_image_becomes_video_at_fps(tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "me.and.you.PNG"), portrait[:255, :251, ::-1])  # odd sizes, dots, upper case
    audio = write_wav(tmp_path / "audio.wav", tone(1.0))
    result = scripted_lipsync([(60, 40, 180, 200)])(
        tmp_path / "me.and.you.PNG", audio, tmp_path / "out.mp4", LipSyncOptions(fps=30, static=True)
    )
    frame = next(read_frames(result.outfile))
    assert (result.frames, result.fps) == (30, 30)
    assert frame.shape == (256, 252, 3)  # H.264 needs even sizes
    assert np.abs(frame[:20, :250].astype(int) - portrait[:20, :250]).mean() < 6  # loss of the encoder above the face


def test_framing_resizes_rotates_crops_in_order():
    frame = np.zeros((80, 120, 3), np.uint8)
    frame[0:8, 0:8] = 200  # top left
    result = Framing(resize_factor=2, rotate=True, crop=(0, 30, 20, -1)).apply(frame)
    assert result.shape == (30, 20, 3)  # 40 x 60, rotated to 60 x 40, cropped
    assert result[2, -2, 0] == 200  # clockwise: top left moves to top right


def test_crop_and_box_outside_frame_are_rejected(tmp_path, portrait):
    with pytest.raises(InputError, match="--crop=300 -1 0 -1"):
        Framing(crop=(300, -1, 0, -1)).apply(portrait)
    with pytest.raises(InputError, match="--box=0 400 0 50"):
        next(
            scripted_lipsync([]).run(MemorySource([portrait]), [silent_windows(1)], LipSyncOptions(box=(0, 400, 0, 50)))
        )


@pytest.mark.parametrize("samples", [1, 100, 700, 2000])
def test_audio_of_milliseconds_gives_a_frame(tmp_path, portrait, samples):
    audio = write_wav(tmp_path / "click.wav", np.full(samples, 0.5))
    cv2.imwrite(str(tmp_path / "face.jpg"), portrait[..., ::-1])
    result = scripted_lipsync([(60, 40, 180, 200)])(tmp_path / "face.jpg", audio, tmp_path / "out.mp4")
    assert result.frames == -(-samples * 25 // 16_000)


def test_pipeline_memory_is_bounded():
    alive, max_alive = 0, 0

    class CountedFrame(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def count_frame(frame):
        nonlocal alive, max_alive
        alive += 1
        max_alive = max(max_alive, alive)
        return frame.copy().view(CountedFrame)

    class CountingSource(MemorySource):
        def frames(self, first=0, last=None):
            return (count_frame(frame) for frame in self._frames[first:last])

    empty = np.zeros((64, 64, 3), np.uint8)
    source = CountingSource([empty] * 299 + [paint_faces(empty, (MAGENTA, (0, 0, 32, 32)))])
    windows = InferenceWindows.build(np.zeros((80, 961), np.float32), 300 * 640, 25)
    for _ in color_lipsync().run(source, [windows]):
        pass
    # 8 read ahead, 50 between two scans, two batches of 8 in generation, 8 finished, and those between the stages.
    assert max_alive <= 100


def test_compat_public_reads_variable_rate_at_mean_fps(tmp_path):
    levels = [20, 60, 100, 140, 180]
    path = timed_video(tmp_path / "phone.mp4", [0.0, 0.04, 0.08, 0.6, 0.64], levels)
    source = FileSource(path, compat="public")
    assert gray_levels(source.frames()) == pytest.approx(levels, abs=2)
    assert source.fps == probe(path).require_video().mean_fps < 10
    assert len(list(FileSource(path).frames())) == 17  # 0.68 s at 25 fps, by the timestamps


def test_compat_public_does_not_transform_image(tmp_path, portrait):
    cv2.imwrite(str(tmp_path / "face.png"), portrait[..., ::-1])
    framing = Framing(resize_factor=2, rotate=True, crop=(0, 100, 0, -1))
    (public,) = FileSource(tmp_path / "face.png", framing=framing, compat="public").frames()
    np.testing.assert_array_equal(public, portrait)
    (transformed,) = FileSource(tmp_path / "face.png", framing=framing).frames()
    assert transformed.shape == (100, 128, 3)


@pytest.mark.parametrize(("samples", "is_long_enough"), [(2999, False), (3000, True)])
def test_compat_public_rejects_audio_below_a_window(tmp_path, samples, is_long_enough):
    audio = write_wav(tmp_path / "word.wav", tone(1.0)[:samples])  # 16 columns need 15 steps of 200 samples
    if is_long_enough:
        assert len(mel_windows_from_file(audio, Fraction(25), "public")) == 2
        return
    with pytest.raises(InputError, match=r"word\.wav: audio of 0\.19 s is too short"):
        mel_windows_from_file(audio, Fraction(25), "public")


def test_rotated_phone_video_is_upright(tmp_path, portrait):
    frames = FileSource(write_rotated_copy(write_video(tmp_path / "face.mp4", [portrait] * 3), tmp_path / "phone.mp4"))
    frame = next(frames.frames())
    assert np.abs(frame.astype(int) - np.rot90(portrait, 1)).mean() < 8  # stored as 90 degrees counter-clockwise


def write_rotated_copy(source, target):
    """Copy a video with a rotation of 90 degrees in its metadata, as phones write it."""
    import subprocess

    from wav2lip.media.encoding import ffmpeg_binary

    command = [ffmpeg_binary(), "-loglevel", "error", "-display_rotation", "90", "-i", source, "-c", "copy", target]
    subprocess.run(command, check=True)
    return target
