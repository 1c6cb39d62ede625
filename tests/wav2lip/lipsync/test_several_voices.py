"""Several people, each with audio of their own: voices, mix, resting mouths, bad input."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from face_detection.tracking.online_tracker import TrackedFace
from tests.helpers.lipsync import CYAN, MAGENTA, YELLOW, ColorDetector, MemorySource, locate, paint_faces
from tests.helpers.media import tone, write_video, write_wav
from wav2lip.audio.mixing import BLOCK_SAMPLES, mix_audio
from wav2lip.audio.windows import SILENT_WINDOW
from wav2lip.engine.speakers.assignment import PositionAssignment
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSync, LipSyncOptions, audio_input, mel_windows_from_file
from wav2lip.lipsync.segments import join_segments, load_plan, plan_segments, render_segment, save_plan, segment_suffix
from wav2lip.media import read_audio, read_frames

RATE = 16_000
LEFT, MIDDLE, RIGHT = (10, 30, 60, 90), (90, 30, 140, 90), (170, 30, 220, 90)
GRAY = np.full((120, 240, 3), 128, np.uint8)
THREE = paint_faces(GRAY, (MAGENTA, LEFT), (CYAN, MIDDLE), (YELLOW, RIGHT))
SPEECH, SILENCE = (tone(0.4), RATE), (np.zeros(6400, np.float32), RATE)


class LoudnessBackend:
    """A generator whose faces have the maximum of their mel window as level."""

    name, resolution, framing = "loudness", 96, None

    def load(self, device, precision):
        return lambda mels, faces, first_row: np.stack([np.full((96, 96, 3), level(mel), np.uint8) for mel in mels])


def level(mel):
    return round(100 + 20 * float(mel.max()))


def engine():
    # Colors are described by their green level alone.
    describe = lambda crop: np.eye(2)[int(crop[..., 1].mean() > 128)]  # noqa: E731
    return LipSync(
        LoudnessBackend(), torch.device("cpu"), lambda batch_size, compat: ColorDetector(), describe=describe
    )


def options_of(faces, **others):
    return LipSyncOptions(faces=faces, pads=(0, 0, 0, 0), smooth=False, cache=False, blend="box", **others)


def render(audio, options, frames=(THREE,) * 10):
    with engine().stream(np.stack(frames), audio, options) as stream:
        return np.stack(list(stream)).astype(int)


def center(frames, box):
    """Return the levels (N,) in the center of a face."""
    left, top, right, bottom = box
    return frames[:, (top + bottom) // 2, (left + right) // 2, 1]


def test_each_face_speaks_its_own_audio(tmp_path):
    windows = mel_windows_from_file(write_wav(tmp_path / "a.wav", SPEECH[0]), Fraction(25))
    loud, quiet = [level(window) for window in windows], level(SILENT_WINDOW)
    assert min(loud[2:6]) > quiet + 20
    frames = render([SILENCE, SPEECH], options_of("2,0", silence="off"))
    assert center(frames, LEFT).tolist() == loud
    assert center(frames, RIGHT).tolist() == [quiet] * 10
    assert (center(frames, MIDDLE) == CYAN[1]).all()  # --silence off leaves the others as they are
    assert center(render([SILENCE, SPEECH], options_of("2,0")), MIDDLE).tolist() == [quiet] * 10  # the others rest
    assert center(render([SPEECH, (tone(0.8), RATE)], options_of("2,0")), RIGHT)[14:].tolist() == [quiet] * 6


def present(**lefts):
    """Return tracked faces by the left edge of each person."""
    return [TrackedFace(int(name[1:]), np.array([x, 0, x + 9, 9]), 1.0, False) for name, x in lefts.items()]


def test_voice_stays_with_its_face_while_another_is_absent():
    assign = PositionAssignment([0, 1])
    assert assign(present(p0=10, p1=50)) == {0: 0, 1: 1}
    assert assign(present(p1=50)) == {1: 1}
    assert assign(present(p1=5, p2=70)) == {1: 1}  # the face at the first position already speaks
    assert assign(present(p3=2, p1=50)) == {3: 0, 1: 1}
    assert assign(present(p1=2, p3=50)) == {3: 0, 1: 1}  # they change places


def test_voices_follow_the_positions_once_all_are_occupied():
    assign = PositionAssignment([0, 1])
    assert assign(present(p0=50)) == {0: 0}  # the right person appears first
    assert assign(present(p0=50, p1=10)) == {1: 0, 0: 1}
    assert assign(present(p1=60, p0=5)) == {1: 0, 0: 1}
    assert assign(present(p2=50)) == {2: 0}  # after a shot change they are counted again
    assert assign(present(p2=50, p3=10)) == {3: 0, 2: 1}


def test_images_select_the_face_of_each_audio(tmp_path):
    for name, color in (("a", CYAN), ("b", MAGENTA)):
        Image.fromarray(paint_faces(np.zeros((90, 90, 3), np.uint8), (color, (20, 20, 60, 70)))).save(
            tmp_path / f"{name}.png"
        )
    images = (tmp_path / "a.png", tmp_path / "b.png")
    options = LipSyncOptions(face_like=images, pads=(0, 0, 0, 0), smooth=False, cache=False)
    two = paint_faces(GRAY, (MAGENTA, LEFT), (CYAN, RIGHT))
    locator = engine().face_locator(MemorySource([two] * 10), 10, options)
    for _, targets in locate(locator, [two] * 10):
        assert {target.box[0]: target.voice for target in targets} == {170: 0, 10: 1}
    same = LipSyncOptions(face_like=(images[0],) * 2, cache=False)
    with pytest.raises(InputError, match=r"a\.png: is most similar to the same face"):
        render([SPEECH, SPEECH], same, [two] * 10)


def test_mix_is_the_scaled_sum(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.uniform(-0.9, 0.9, BLOCK_SAMPLES + 5000), rng.uniform(-0.9, 0.9, 30_000)
    files = [write_wav(tmp_path / "a.wav", first, 48_000), write_wav(tmp_path / "b.wav", second, 48_000)]
    mix_audio(files, tmp_path / "mix.wav")
    expected = first.copy()
    expected[:30_000] += second
    mixed = np.concatenate(list(read_audio(tmp_path / "mix.wav", 48_000)))
    np.testing.assert_allclose(mixed, expected / np.abs(expected).max(), atol=2e-4)


def test_mix_is_written_at_its_first_use(monkeypatch):
    mixes = []
    monkeypatch.setattr(audio_input, "mix_audio", lambda files, path, on_packet: mixes.append(len(files)) or path)
    with audio_input.open_driving_audio([SPEECH, SILENCE], Fraction(25), options_of("0,1")) as driving:
        assert (driving.length, mixes) == (10, [])
        assert (driving.track, mixes) == (driving.track, [2])


def test_mix_can_be_cancelled(tmp_path):
    class CancelledError(Exception):
        pass

    def cancel():
        raise CancelledError

    file = write_wav(tmp_path / "a.wav", SPEECH[0])
    with pytest.raises(CancelledError):
        mix_audio([file, file], tmp_path / "mix.wav", cancel)


@pytest.mark.parametrize(("audios", "faces", "message"), [
    (2, "largest", "--audio: 2 files for 1 selected face; give as many as faces"),
    (1, "0,1", "--audio: 1 file for 2 selected faces"),
    (3, "0,1", "--audio: 3 files for 2 selected faces"),
    (0, "0", "--audio: must name at least one file"),
    (2, "0,3", "frames array: the face for audio 2 is in none of its 10 frames"),
])  # fmt: skip
def test_audio_without_face_is_refused(audios, faces, message):
    with pytest.raises(InputError, match=message):
        render([SPEECH] * audios, options_of(faces))


def test_face_named_twice_is_refused():
    with pytest.raises(InputError, match="--faces=0,00: names a face twice"):
        LipSyncOptions(faces="0,00")


def test_segments_equal_the_whole(tmp_path):
    options = LipSyncOptions(faces="0,2", cache=False, crf=0.0, preset="ultrafast")
    video = write_video(tmp_path / "face.mp4", [THREE] * 12)
    speech = tone(3.0) * (np.arange(48_000) // 12_000 % 2)
    audios = [write_wav(tmp_path / f"{name}.wav", wav) for name, wav in (("a", speech), ("b", speech[20_000:]))]
    lipsync = engine()
    lipsync(video, audios, tmp_path / "whole.mp4", options)
    save_plan(plan_segments(lipsync, video, audios, options, 1.1), tmp_path / "plan.npz")
    plan, out = load_plan(tmp_path / "plan.npz"), tmp_path / "out.mp4"
    parts = [tmp_path / f"{number}{segment_suffix(out)}" for number in range(plan.count)]
    for number, part in enumerate(parts):
        render_segment(lipsync, plan, number, video, audios, part, options)
    join_segments(parts, audios, out, options, plan.frames, Fraction(25), "")
    for whole, joined in zip(read_frames(tmp_path / "whole.mp4"), read_frames(out), strict=True):
        np.testing.assert_array_equal(joined, whole)
    sounds = [np.concatenate(list(read_audio(path, RATE))) for path in (tmp_path / "whole.mp4", out)]
    np.testing.assert_array_equal(*sounds)
