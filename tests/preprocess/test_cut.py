"""A clip has the right picture and the right sound at every moment."""

import shutil
import wave

import cv2
import numpy as np
import pytest

from preprocess.cut import make_clip
from preprocess.fates import Rejected
from preprocess.sound import write_mel
from tests.preprocess.stubs import DARK, StubDetector, click, job, noise, only_source, write_video
from wav2lip.audio import melspectrogram
from wav2lip.clips import Clip, ClipWriter, read_info


def clip_of(path, out, detector=None, **settings):
    outcome = make_clip(only_source(path), job(out, **settings), detector or StubDetector(), lambda share: None)
    return outcome, out / outcome.clip


def levels_of(clip):
    """Grey level of each crop, by frame number."""
    return {int(n): float(cv2.imread(str(clip / f"{n}.jpg")).mean()) for n in Clip.open(clip).frames}


def samples_of(clip):
    with wave.open(str(clip / "audio.wav")) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2") / 32768


def assert_levels(clip, expected):
    levels = levels_of(clip)
    assert sorted(levels) == list(range(len(expected)))
    np.testing.assert_allclose([levels[n] for n in range(len(expected))], expected, atol=2.5)


def test_thirty_frames_a_second_come_out_at_twenty_five_with_the_nearest_picture(tmp_path):
    video = write_video(tmp_path / "v.mkv", [n / 30 for n in range(30)], [20 + 7 * n for n in range(30)], noise())
    outcome, clip = clip_of(video, tmp_path / "out")
    # Tick k is at k / 25 s, where source frame 1.2 k is nearest.
    nearest = [0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 28, 29]
    assert_levels(clip, [20 + 7 * n for n in nearest])
    assert (outcome.frames, outcome.faces, outcome.seconds) == (25, 25, 1.0)


def test_a_variable_frame_rate_is_resampled_by_its_timestamps(tmp_path):
    # Seconds into the file; frame 1 is nearest to ticks 0.04 and 0.08, frame 2 to 0.12 and 0.16.
    times = [0, 0.03, 0.14, 0.2] + [0.2 + 0.04 * n for n in range(1, 18)]
    video = write_video(tmp_path / "v.mkv", times, [20 + 10 * n for n in range(21)], noise())
    _, clip = clip_of(video, tmp_path / "out")
    nearest = [0, 1, 1, 2, 2, *range(3, 21)]
    assert_levels(clip, [20 + 10 * n for n in nearest])


def test_sound_begins_with_the_first_picture_when_the_pictures_begin_late(tmp_path):
    video = write_video(tmp_path / "v.mkv", [0.2 + n / 25 for n in range(25)], wav=click(0.5, 2.0))
    _, clip = clip_of(video, tmp_path / "out")
    assert abs(int(np.abs(samples_of(clip)).argmax()) - 0.3 * 16_000) <= 16  # Matroska counts milliseconds


def test_silence_is_put_in_where_the_sound_begins_late(tmp_path):
    video = write_video(tmp_path / "v.mkv", wav=click(0.1) + 0.01, sound_from=0.4)
    _, clip = clip_of(video, tmp_path / "out")
    samples = samples_of(clip)
    assert abs(int(samples.argmax()) - 0.5 * 16_000) <= 16
    assert not samples[:6300].any()
    assert samples[6500:7900].all()


def test_sound_that_is_longer_ends_with_the_pictures(tmp_path):
    _, clip = clip_of(write_video(tmp_path / "v.mkv", wav=noise(3.0)), tmp_path / "out")
    assert len(samples_of(clip)) == 16_000


def test_sound_that_is_shorter_is_kept_and_noted(tmp_path):
    times = [n / 25 for n in range(50)]
    outcome, clip = clip_of(write_video(tmp_path / "v.mkv", times, wav=noise(1.0)), tmp_path / "out")
    assert len(samples_of(clip)) == 16_000
    assert any("sound ends at 1.0 s of 2.0 s" in problem for problem in outcome.problems)


def test_silence_is_kept_and_noted(tmp_path):
    outcome, clip = clip_of(write_video(tmp_path / "v.mkv", wav=np.zeros(16_000)), tmp_path / "out")
    assert any("silent" in problem for problem in outcome.problems)
    assert read_info(clip)["problems"] == list(outcome.problems)


def test_a_short_gap_is_filled_and_a_long_one_stays_a_gap_in_the_numbers(tmp_path):
    levels = [100] * 60
    levels[10:13] = [DARK] * 3
    levels[30:40] = [DARK] * 10
    video = write_video(tmp_path / "v.mkv", [n / 25 for n in range(60)], levels, noise(2.4))
    outcome, clip = clip_of(video, tmp_path / "out")
    assert Clip.open(clip).frames.tolist() == [*range(30), *range(40, 60)]
    info = read_info(clip)
    assert info["filled"] == [10, 11, 12]
    assert [n for n, box in enumerate(info["boxes"]) if box is None] == list(range(30, 40))
    assert info["boxes"][0] == [8, 8, 56, 56]
    assert (info["scores"][0], info["scores"][11]) == (0.9, None)
    assert (outcome.frames, outcome.faces, outcome.filled) == (60, 50, 3)


def test_a_box_beyond_the_frame_is_cut_at_its_edge(tmp_path):
    video = write_video(tmp_path / "v.mkv", wav=noise())
    _, clip = clip_of(video, tmp_path / "out", StubDetector((-9.0, 30.0, 40.0, 99.0)))
    assert cv2.imread(str(clip / "0.jpg")).shape == (34, 40, 3)


def test_compat_public_keeps_the_frames_as_they_are_and_fills_nothing(tmp_path):
    levels = [100] * 30
    levels[10] = DARK
    video = write_video(tmp_path / "v.mkv", [n / 30 for n in range(30)], levels, noise(2.0))
    _, clip = clip_of(video, tmp_path / "out", StubDetector((8.9, 8.9, 40.9, 56.9)), compat="public")
    assert Clip.open(clip).frames.tolist() == [*range(10), *range(11, 30)]
    assert cv2.imread(str(clip / "0.jpg")).shape == (48, 32, 3)  # rows 8..55, columns 8..39
    assert len(samples_of(clip)) == 32_000


def test_what_was_done_is_written_into_the_clip(tmp_path):
    video = write_video(tmp_path / "g" / "v.mkv", [n / 30 for n in range(30)], wav=noise())
    _, clip = clip_of(tmp_path, tmp_path / "out")
    info = read_info(clip)
    assert info["source"] == "g/v.mkv"
    assert info["source_size"] == video.stat().st_size
    assert (info["width"], info["height"], info["fps"], info["frames"]) == (64, 64, 25, 25)
    assert info["source_fps"] == pytest.approx(30, rel=0.05)
    assert info["detector"] == "stub"
    assert info["sync_offset"] is info["sync_confidence"] is None


def test_the_same_video_gives_the_same_bytes(tmp_path):
    video = write_video(tmp_path / "v.mkv", wav=noise())
    _, one = clip_of(video, tmp_path / "one")
    _, two = clip_of(video, tmp_path / "two")
    names = sorted(path.name for path in one.iterdir())
    assert len(names) == 28
    assert [(one / name).read_bytes() for name in names] == [(two / name).read_bytes() for name in names]


@pytest.mark.parametrize(
    ("times", "levels", "wav", "cause"),
    [
        (None, None, None, "no audio track"),
        ([], None, noise(), "no video track"),
        (None, [DARK] * 25, noise(), "no face"),
        (None, [100] * 15 + [DARK] * 10, noise(), "too few faces"),
        ([0.0], None, noise(), "too few faces"),
        (None, None, noise(0.1), "too little sound"),
    ],
)
def test_a_video_that_cannot_be_trained_on_is_rejected_and_leaves_nothing(tmp_path, times, levels, wav, cause):
    video = write_video(tmp_path / "v.mkv", times, levels, wav)
    with pytest.raises(Rejected) as rejected:
        clip_of(video, tmp_path / "out")
    assert rejected.value.cause == cause
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_fifteen_faces_are_too_few_and_sixteen_enough(tmp_path):
    video = write_video(tmp_path / "v.mkv", None, [100] * 16 + [DARK] * 9, noise())
    outcome, _ = clip_of(video, tmp_path / "out")
    assert outcome.faces == 16


def test_a_mel_made_in_pieces_has_no_seam(tmp_path, monkeypatch):
    monkeypatch.setattr("wav2lip.audio.PIECE", 37)
    wav = noise(3.01).astype(np.float32)
    with ClipWriter(tmp_path, "a/b") as writer:
        writer.write_frame(0, np.zeros((8, 8, 3), np.uint8))
        writer.write_audio([wav])
        write_mel(writer.folder)
    mel = np.load(tmp_path / "a/b/mel.npy")
    np.testing.assert_allclose(mel, melspectrogram(samples_of(tmp_path / "a/b").astype(np.float32)), atol=1e-5)


def test_the_mel_that_was_written_is_the_one_that_training_reads(tmp_path):
    _, clip = clip_of(write_video(tmp_path / "v.mkv", wav=noise()), tmp_path / "out")
    stamp = (clip / "mel.npy").stat().st_mtime_ns
    kept = np.array(Clip.open(clip).mel())
    assert (clip / "mel.npy").stat().st_mtime_ns == stamp == (clip / "audio.wav").stat().st_mtime_ns
    copy = shutil.copytree(clip, tmp_path / "copy")
    (copy / "mel.npy").unlink()
    np.testing.assert_allclose(kept, Clip.open(copy).mel(), atol=1e-5)
