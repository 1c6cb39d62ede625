"""A clip has the right picture and the right sound at every moment."""

import shutil
import wave

import cv2
import numpy as np
import pytest

from preprocess.fates import fate_of, lost_spans, seconds_kept
from preprocess.sound import write_mel
from tests.preprocess.stubs import DARK, StubDetector, click, face_of, noise, preprocess, write_video
from wav2lip.audio import melspectrogram
from wav2lip.clips import Clip, ClipWriter, read_info


def clip_of(path, out, detector=None, **settings):
    """The one clip of the one video under a path: what the crops stage says of it, and its folder."""
    (history,) = preprocess(path, out, detector, **settings).values()
    assert history.parts, history.probed
    crops = history.parts[0][1]["crops"]
    (clip,) = crops.figures["clips"]
    return crops.figures, out / clip["clip"]


def fate(history):
    lost = lost_spans(history, {})
    return fate_of(history, lost, seconds_kept(history, {}))


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
    figures, clip = clip_of(video, tmp_path / "out")
    # Tick k is at k / 25 s, where source frame 1.2 k is nearest.
    nearest = [0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 28, 29]
    assert_levels(clip, [20 + 7 * n for n in nearest])
    (told,) = figures["clips"]
    assert (told["frames"], told["faces"], told["filled"]) == (25, 25, 0)


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
    figures, clip = clip_of(write_video(tmp_path / "v.mkv", times, wav=noise(1.0)), tmp_path / "out")
    assert len(samples_of(clip)) == 16_000
    assert any("sound ends at 1.0 s of 2.0 s" in problem for problem in figures["problems"])


def test_a_short_gap_is_filled_and_a_long_one_stays_a_gap_in_the_numbers(tmp_path):
    levels = [100] * 60
    levels[10:13] = [DARK] * 3
    levels[30:40] = [DARK] * 10
    video = write_video(tmp_path / "v.mkv", [n / 25 for n in range(60)], levels, noise(2.4))
    figures, clip = clip_of(video, tmp_path / "out")
    assert Clip.open(clip).frames.tolist() == [*range(30), *range(40, 60)]
    info = read_info(clip)
    assert info["filled"] == [10, 11, 12]
    assert [n for n, box in enumerate(info["boxes"]) if box is None] == list(range(30, 40))
    np.testing.assert_allclose(info["boxes"][0], [8, 8, 56, 56], atol=1)
    assert info["scores"][0] == 0.9
    assert info["scores"][11] is None
    (told,) = figures["clips"]
    assert (told["frames"], told["faces"], told["filled"]) == (60, 50, 3)


def test_a_box_beyond_the_frame_is_cut_at_its_edge(tmp_path):
    video = write_video(tmp_path / "v.mkv", wav=noise(), pictures=[face_of(100, (0, 30, 40, 64))] * 25)
    _, clip = clip_of(video, tmp_path / "out", StubDetector(grown=0.5))
    assert cv2.imread(str(clip / "0.jpg")).shape == (64 - 10, 60, 3)


def test_compat_public_keeps_the_frames_as_they_are_and_fills_nothing(tmp_path):
    levels = [100] * 30
    levels[10] = DARK
    video = write_video(tmp_path / "v.mkv", [n / 30 for n in range(30)], levels, noise(2.0))
    _, clip = clip_of(video, tmp_path / "out", StubDetector(grown=-0.02), compat="public")
    assert Clip.open(clip).frames.tolist() == [*range(10), *range(11, 30)]
    assert cv2.imread(str(clip / "0.jpg")).shape == (55 - 8, 55 - 8, 3)  # 8.96 to 55.04, cut down to whole pixels
    assert len(samples_of(clip)) == 32_000


def test_a_long_video_becomes_clips_of_the_length_asked_for_and_a_brief_sight_none(tmp_path):
    levels = [100] * 100 + [DARK] * 10 + [60] * 20 + [DARK] * 10 + [140] * 60
    video = write_video(tmp_path / "g" / "v.mkv", [n / 25 for n in range(200)], levels, noise(8.0))
    history = preprocess(tmp_path, tmp_path / "out", shortest=1.0, longest=2.5)["g/v.mkv"]
    clips = {clip["clip"]: (clip["first"], clip["frames"]) for _, clip in history.clips()}
    assert clips == {"g/v_000000": (0, 50), "g/v_000050": (50, 50), "g/v_000140": (140, 60)}
    assert video.stat().st_size == read_info(tmp_path / "out/g/v_000140")["source_size"]
    assert read_info(tmp_path / "out/g/v_000140")["start"] == 5.6
    assert_levels(tmp_path / "out/g/v_000140", [140] * 60)
    assert len(samples_of(tmp_path / "out/g/v_000140")) == 60 * 640
    lost = [(span["from"], span["to"], span["stage"], span["cause"]) for span in lost_spans(history, {})]
    assert lost == [(4.0, 4.4, "faces", "no face"), (4.4, 5.2, "segments", "too short"), (5.2, 5.6, "faces", "no face")]
    assert seconds_kept(history, {}) == 160 / 25


def test_the_sound_of_a_later_clip_is_that_of_its_own_seconds(tmp_path):
    write_video(tmp_path / "v.mkv", [n / 25 for n in range(150)], [100] * 150, click(4.5, 6.0))
    preprocess(tmp_path, tmp_path / "out", shortest=1.0, longest=3.0)
    quiet, loud = (samples_of(tmp_path / "out/v" / name) for name in ("000000", "000075"))
    assert not quiet.any()
    assert abs(int(np.abs(loud).argmax()) - 1.5 * 16_000) <= 16


def test_a_clip_ends_with_the_sound(tmp_path):
    write_video(tmp_path / "v.mkv", [n / 25 for n in range(100)], [100] * 100, noise(3.2))
    history = preprocess(tmp_path, tmp_path / "out", shortest=1.0, longest=5.0)["v.mkv"]
    assert Clip.open(tmp_path / "out/v/000000").frames.tolist() == list(range(80))
    (lost,) = lost_spans(history, {})
    assert (lost["from"], lost["to"], lost["cause"]) == (3.2, 4.0, "sound ended")


def test_no_clip_crosses_a_cut(tmp_path):
    left, right = face_of(60, (8, 8, 40, 40)), face_of(180, (12, 12, 44, 44))
    write_video(tmp_path / "v.mkv", [n / 25 for n in range(100)], wav=noise(4.0), pictures=[left] * 45 + [right] * 55)
    history = preprocess(tmp_path, tmp_path / "out", shortest=1.0, longest=5.0, cuts=True)["v.mkv"]
    assert [(clip["first"], clip["frames"]) for _, clip in history.clips()] == [(0, 45), (45, 55)]


def test_a_video_done_in_parts_gives_the_pictures_and_the_sound_of_one_done_whole(tmp_path):
    levels = [40 + n for n in range(175)]
    wav = np.sin(np.arange(7 * 16_000) ** 1.3 / 40) * 0.3
    write_video(tmp_path / "in" / "v.mkv", [n / 25 for n in range(175)], levels, wav)
    settings = {"shortest": 1.0, "longest": 2.0}
    whole = preprocess(tmp_path / "in", tmp_path / "whole", **settings)["v.mkv"]
    parts = preprocess(tmp_path / "in", tmp_path / "parts", part_minutes=2 / 60, **settings)["v.mkv"]
    assert len(whole.parts) == 1
    assert len(parts.parts) == 4
    clips = {clip["clip"]: clip["frames"] for _, clip in parts.clips()}
    assert clips == {"v/000000": 50, "v/000050": 50, "v/000100": 50, "v/000150": 25}
    for clip, frames in clips.items():
        first = int(clip[2:])
        assert_levels(tmp_path / "parts" / clip, levels[first : first + frames])
        sound = samples_of(tmp_path / "parts" / clip)
        np.testing.assert_allclose(sound, wav[first * 640 : first * 640 + len(sound)], atol=2e-4)


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
    write_video(tmp_path / "v.mkv", times, levels, wav)
    history = preprocess(tmp_path, tmp_path / "out")["v.mkv"]
    assert fate(history)[:2] == ("rejected", cause)
    assert len(fate(history)[2]) > 20
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_fifteen_faces_are_too_few_and_sixteen_enough(tmp_path):
    video = write_video(tmp_path / "v.mkv", None, [100] * 16 + [DARK] * 9, noise())
    figures, _ = clip_of(video, tmp_path / "out")
    assert figures["clips"][0]["faces"] == 16


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
