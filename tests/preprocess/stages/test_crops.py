"""Images and audio of clips."""

import shutil
import wave

import cv2
import numpy as np
import pytest

from preprocess.audio_track import write_mel
from preprocess.curation.outcomes import dropped_spans, input_outcome, kept_seconds
from tests.helpers.preprocess import DARK, StubDetector, click, face_image, noise, preprocess, write_video
from wav2lip.audio import melspectrogram
from wav2lip.dataset.clip import Clip, ClipWriter, read_info


def preprocess_one(path, out, detector=None, **settings):
    """Return the record data of the only clip of the only video under a path, and its folder."""
    (video,) = preprocess(path, out, detector, **settings).values()
    assert video.chunks, video.probed
    crops = video.chunks[0][1]["crops"]
    (clip,) = crops.data["clips"]
    return crops.data, out / clip["clip"]


def outcome(video):
    dropped = dropped_spans(video, {})
    return input_outcome(video, dropped, kept_seconds(video, {}))


def read_levels(clip):
    """Return the gray level of each crop, by frame number."""
    return {int(n): float(cv2.imread(str(clip / f"{n}.jpg")).mean()) for n in Clip.open(clip).frames}


def read_samples(clip):
    with wave.open(str(clip / "audio.wav")) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2") / 32768


def assert_levels(clip, expected):
    levels = read_levels(clip)
    assert sorted(levels) == list(range(len(expected)))
    np.testing.assert_allclose([levels[n] for n in range(len(expected))], expected, atol=2.5)


def test_30_fps_is_resampled_to_nearest_frames(tmp_path):
    video = write_video(tmp_path / "v.mkv", [n / 30 for n in range(30)], [20 + 7 * n for n in range(30)], noise())
    data, clip = preprocess_one(video, tmp_path / "out")
    # Tick k is at k / 25 s, where source frame 1.2 k is nearest.
    nearest = [0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 28, 29]
    assert_levels(clip, [20 + 7 * n for n in nearest])
    (entry,) = data["clips"]
    assert (entry["frames"], entry["faces"], entry["filled"]) == (25, 25, 0)


def test_variable_frame_rate_is_resampled_by_timestamps(tmp_path):
    # Seconds into the file; frame 1 is nearest to ticks 0.04 and 0.08, frame 2 to 0.12 and 0.16.
    times = [0, 0.03, 0.14, 0.2] + [0.2 + 0.04 * n for n in range(1, 18)]
    video = write_video(tmp_path / "v.mkv", times, [20 + 10 * n for n in range(21)], noise())
    _, clip = preprocess_one(video, tmp_path / "out")
    nearest = [0, 1, 1, 2, 2, *range(3, 21)]
    assert_levels(clip, [20 + 10 * n for n in nearest])


def test_audio_starts_with_late_first_frame(tmp_path):
    video = write_video(tmp_path / "v.mkv", [0.2 + n / 25 for n in range(25)], wav=click(0.5, 2.0))
    _, clip = preprocess_one(video, tmp_path / "out")
    assert abs(int(np.abs(read_samples(clip)).argmax()) - 0.3 * 16_000) <= 16  # Matroska counts milliseconds


def test_late_audio_is_preceded_by_silence(tmp_path):
    video = write_video(tmp_path / "v.mkv", wav=click(0.1) + 0.01, audio_start=0.4)
    _, clip = preprocess_one(video, tmp_path / "out")
    samples = read_samples(clip)
    assert abs(int(samples.argmax()) - 0.5 * 16_000) <= 16
    assert not samples[:6300].any()
    assert samples[6500:7900].all()


def test_longer_audio_ends_with_frames(tmp_path):
    _, clip = preprocess_one(write_video(tmp_path / "v.mkv", wav=noise(3.0)), tmp_path / "out")
    assert len(read_samples(clip)) == 16_000


def test_shorter_audio_is_kept_with_problem(tmp_path):
    times = [n / 25 for n in range(50)]
    data, clip = preprocess_one(write_video(tmp_path / "v.mkv", times, wav=noise(1.0)), tmp_path / "out")
    assert len(read_samples(clip)) == 16_000
    assert any("audio ends at 1.0 s of 2.0 s" in problem for problem in data["problems"])


def test_short_gap_is_filled_and_long_gap_stays(tmp_path):
    levels = [100] * 60
    levels[10:13] = [DARK] * 3
    levels[30:40] = [DARK] * 10
    video = write_video(tmp_path / "v.mkv", [n / 25 for n in range(60)], levels, noise(2.4))
    data, clip = preprocess_one(video, tmp_path / "out")
    assert Clip.open(clip).frames.tolist() == [*range(30), *range(40, 60)]
    info = read_info(clip)
    assert info["filled"] == [10, 11, 12]
    assert [n for n, box in enumerate(info["boxes"]) if box is None] == list(range(30, 40))
    np.testing.assert_allclose(info["boxes"][0], [8, 8, 56, 56], atol=1)
    assert info["scores"][0] == 0.9
    assert info["scores"][11] is None
    (entry,) = data["clips"]
    assert (entry["frames"], entry["faces"], entry["filled"]) == (60, 50, 3)


def test_box_beyond_frame_is_clamped(tmp_path):
    video = write_video(tmp_path / "v.mkv", wav=noise(), images=[face_image(100, (0, 30, 40, 64))] * 25)
    _, clip = preprocess_one(video, tmp_path / "out", StubDetector(margin=0.5))
    assert cv2.imread(str(clip / "0.jpg")).shape == (64 - 10, 60, 3)


def test_compat_public_neither_resamples_nor_fills(tmp_path):
    levels = [100] * 30
    levels[10] = DARK
    video = write_video(tmp_path / "v.mkv", [n / 30 for n in range(30)], levels, noise(2.0))
    _, clip = preprocess_one(video, tmp_path / "out", StubDetector(margin=-0.02), compat="public")
    assert Clip.open(clip).frames.tolist() == [*range(10), *range(11, 30)]
    assert cv2.imread(str(clip / "0.jpg")).shape == (55 - 8, 55 - 8, 3)  # 8.96 to 55.04, truncated to whole pixels
    assert len(read_samples(clip)) == 32_000


def test_long_video_is_divided_into_clips(tmp_path):
    levels = [100] * 100 + [DARK] * 10 + [60] * 20 + [DARK] * 10 + [140] * 60
    file = write_video(tmp_path / "g" / "v.mkv", [n / 25 for n in range(200)], levels, noise(8.0))
    video = preprocess(tmp_path, tmp_path / "out", min_clip_seconds=1.0, max_clip_seconds=2.5)["g/v.mkv"]
    clips = {clip["clip"]: (clip["first"], clip["frames"]) for clip in video.clips()}
    assert clips == {"g/v_000000": (0, 50), "g/v_000050": (50, 50), "g/v_000140": (140, 60)}
    assert file.stat().st_size == read_info(tmp_path / "out/g/v_000140")["source_size"]
    assert read_info(tmp_path / "out/g/v_000140")["start"] == 5.6
    assert_levels(tmp_path / "out/g/v_000140", [140] * 60)
    assert len(read_samples(tmp_path / "out/g/v_000140")) == 60 * 640
    dropped = [(span["from"], span["to"], span["stage"], span["cause"]) for span in dropped_spans(video, {})]
    assert dropped == [
        (4.0, 4.4, "faces", "no face"),
        (4.4, 5.2, "segments", "too short"),
        (5.2, 5.6, "faces", "no face"),
    ]
    assert kept_seconds(video, {}) == 160 / 25


def test_later_clip_has_audio_of_its_seconds(tmp_path):
    write_video(tmp_path / "v.mkv", [n / 25 for n in range(150)], [100] * 150, click(4.5, 6.0))
    preprocess(tmp_path, tmp_path / "out", min_clip_seconds=1.0, max_clip_seconds=3.0)
    quiet, loud = (read_samples(tmp_path / "out/v" / name) for name in ("000000", "000075"))
    assert not quiet.any()
    assert abs(int(np.abs(loud).argmax()) - 1.5 * 16_000) <= 16


def test_clip_ends_with_audio(tmp_path):
    write_video(tmp_path / "v.mkv", [n / 25 for n in range(100)], [100] * 100, noise(3.2))
    video = preprocess(tmp_path, tmp_path / "out", min_clip_seconds=1.0, max_clip_seconds=5.0)["v.mkv"]
    assert Clip.open(tmp_path / "out/v/000000").frames.tolist() == list(range(80))
    (span,) = dropped_spans(video, {})
    assert (span["from"], span["to"], span["cause"]) == (3.2, 4.0, "audio ended")


def test_no_clip_crosses_shot_boundary(tmp_path):
    left, right = face_image(60, (8, 8, 40, 40)), face_image(180, (12, 12, 44, 44))
    write_video(tmp_path / "v.mkv", [n / 25 for n in range(100)], wav=noise(4.0), images=[left] * 45 + [right] * 55)
    video = preprocess(tmp_path, tmp_path / "out", min_clip_seconds=1.0, max_clip_seconds=5.0, cuts=True)["v.mkv"]
    assert [(clip["first"], clip["frames"]) for clip in video.clips()] == [(0, 45), (45, 55)]


def test_chunks_give_same_frames_and_audio_as_whole_video(tmp_path):
    levels = [40 + n for n in range(175)]
    wav = np.sin(np.arange(7 * 16_000) ** 1.3 / 40) * 0.3
    write_video(tmp_path / "in" / "v.mkv", [n / 25 for n in range(175)], levels, wav)
    settings = {"min_clip_seconds": 1.0, "max_clip_seconds": 2.0}
    whole = preprocess(tmp_path / "in", tmp_path / "whole", **settings)["v.mkv"]
    chunks = preprocess(tmp_path / "in", tmp_path / "chunks", chunk_minutes=2 / 60, **settings)["v.mkv"]
    assert len(whole.chunks) == 1
    assert len(chunks.chunks) == 4
    clips = {clip["clip"]: clip["frames"] for clip in chunks.clips()}
    assert clips == {"v/000000": 50, "v/000050": 50, "v/000100": 50, "v/000150": 25}
    for clip, frames in clips.items():
        first = int(clip[2:])
        assert_levels(tmp_path / "chunks" / clip, levels[first : first + frames])
        audio = read_samples(tmp_path / "chunks" / clip)
        np.testing.assert_allclose(audio, wav[first * 640 : first * 640 + len(audio)], atol=2e-4)


def test_clip_json_records_source_and_settings(tmp_path):
    video = write_video(tmp_path / "g" / "v.mkv", [n / 30 for n in range(30)], wav=noise())
    _, clip = preprocess_one(tmp_path, tmp_path / "out")
    info = read_info(clip)
    assert info["source"] == "g/v.mkv"
    assert info["source_size"] == video.stat().st_size
    assert (info["width"], info["height"], info["fps"], info["frames"]) == (64, 64, 25, 25)
    assert info["source_fps"] == pytest.approx(30, rel=0.05)
    assert info["detector"] == "stub"
    assert info["sync_offset"] is info["sync_confidence"] is None


def test_same_video_gives_same_bytes(tmp_path):
    video = write_video(tmp_path / "v.mkv", wav=noise())
    _, first = preprocess_one(video, tmp_path / "one")
    _, second = preprocess_one(video, tmp_path / "two")
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == 28
    assert [(first / name).read_bytes() for name in names] == [(second / name).read_bytes() for name in names]


@pytest.mark.parametrize(
    ("times", "levels", "wav", "cause"),
    [
        (None, None, None, "no audio track"),
        ([], None, noise(), "no video track"),
        (None, [DARK] * 25, noise(), "no face"),
        (None, [100] * 15 + [DARK] * 10, noise(), "too few faces"),
        ([0.0], None, noise(), "too few faces"),
        (None, None, noise(0.1), "too little audio"),
    ],
)
def test_unusable_video_is_rejected_and_leaves_no_files(tmp_path, times, levels, wav, cause):
    write_video(tmp_path / "v.mkv", times, levels, wav)
    video = preprocess(tmp_path, tmp_path / "out")["v.mkv"]
    assert outcome(video)[:2] == ("rejected", cause)
    assert len(outcome(video)[2]) > 20
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_sixteen_faces_are_enough(tmp_path):
    video = write_video(tmp_path / "v.mkv", None, [100] * 16 + [DARK] * 9, noise())
    data, _ = preprocess_one(video, tmp_path / "out")
    assert data["clips"][0]["faces"] == 16


def test_write_mel_has_no_seams(tmp_path, monkeypatch):
    monkeypatch.setattr("wav2lip.audio.mel.PIECE_COLUMNS", 37)
    wav = noise(3.01).astype(np.float32)
    with ClipWriter(tmp_path, "a/b") as writer:
        writer.write_frame(0, np.zeros((8, 8, 3), np.uint8))
        writer.write_audio([wav])
        write_mel(writer.folder)
    mel = np.load(tmp_path / "a/b/wav2lip_mel.npy")
    np.testing.assert_allclose(mel, melspectrogram(read_samples(tmp_path / "a/b").astype(np.float32)), atol=1e-5)


def test_written_mel_is_current_for_training(tmp_path):
    _, clip = preprocess_one(write_video(tmp_path / "v.mkv", wav=noise()), tmp_path / "out")
    stamp = (clip / "wav2lip_mel.npy").stat().st_mtime_ns
    mel = np.array(Clip.open(clip).mel())
    assert (clip / "wav2lip_mel.npy").stat().st_mtime_ns == stamp
    copy = shutil.copytree(clip, tmp_path / "copy")
    (copy / "wav2lip_mel.npy").unlink()
    np.testing.assert_allclose(mel, Clip.open(copy).mel(), atol=1e-5)
