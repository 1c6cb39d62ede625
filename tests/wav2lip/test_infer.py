"""The inference command: upstream's flags, results for valid inputs, one error message for the others."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.helpers.infer import BOX, OLD_RESULT, DecodedVideo, command_line, run_command, write_inputs
from tests.helpers.media import ffmpeg, tone, write_video, write_wav
from wav2lip import infer
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.audio.windows import InferenceWindows
from wav2lip.cli import join_dashed_file_names, run
from wav2lip.engine.option_parsing import parse_options
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSyncOptions, mel_windows_from_file

FLAGS = {  # upstream's, with their defaults
    "outfile": "results/result_voice.mp4", "static": False, "fps": None, "pads": "auto",
    "face_det_batch_size": 16, "wav2lip_batch_size": 128, "resize_factor": 1, "crop": [0, -1, 0, -1],
    "box": [-1, -1, -1, -1], "rotate": False, "nosmooth": False,
}  # fmt: skip
REQUIRED = ["--checkpoint_path", "g.pth", "--face", "f.mp4", "--audio", "a.wav"]


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("media"))


@pytest.fixture
def run_and_fail(media, tmp_path, capsys):
    """Run a command that must fail with one error message and keep the old result; returns the message."""

    def command(*extra_flags: str, **flags: object) -> str:
        out = tmp_path / "out" / "result.mp4"
        out.parent.mkdir()
        out.write_bytes(OLD_RESULT)
        before = {path: path.stat().st_size for path in media.iterdir()}
        argv = command_line(media, out, **flags) + list(extra_flags or BOX)
        with pytest.raises(SystemExit) as raised:
            run(lambda: infer.infer(argv))
        assert raised.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
        assert out.read_bytes() == OLD_RESULT
        assert list(out.parent.iterdir()) == [out]
        assert {path: path.stat().st_size for path in media.iterdir()} == before
        return lines[-1].removeprefix("error: ")

    return command


# Flags


def test_parser_has_upstream_flags_and_defaults():
    parsed = vars(infer.build_parser().parse_args(REQUIRED))
    assert {flag: parsed[flag] for flag in FLAGS} == FLAGS
    assert (parsed["checkpoint_path"], parsed["face"], parsed["audio"]) == ("g.pth", "f.mp4", ["a.wav"])


def test_command_without_checkpoint_finds_one_and_logs_it(media, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    argv = command_line(media, Path("out.mp4"), checkpoint_path=None) + BOX
    with pytest.raises(SystemExit) as ended:
        run(lambda: infer.infer(argv))
    assert ended.value.code == 2
    for age, (name, network) in enumerate([("old", "generator"), ("gan", "generator"), ("expert", "expert")]):
        best = tmp_path / "checkpoints" / name / "best.pth"
        best.parent.mkdir(parents=True)
        best.write_bytes((media / f"{network}.pth").read_bytes())
        os.utime(best, (age, age))  # the expert is newest
    run_command(argv)
    assert "checkpoint: checkpoints/gan/best.pth" in [message.replace("\\", "/") for message in caplog.messages]


def test_published_checkpoints_precede_trained_ones(tmp_path):
    for path in ("checkpoints/best.pth", "models/wav2lip.pth", "models/wav2lip_gan.pth"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert infer.find_checkpoint(tmp_path) == tmp_path / "models/wav2lip_gan.pth"
    (tmp_path / "models/wav2lip_gan.pth").unlink()
    assert infer.find_checkpoint(tmp_path) == tmp_path / "models/wav2lip.pth"
    (tmp_path / "models/wav2lip.pth").unlink()
    with pytest.raises(InputError, match="give the file of a generator"):
        infer.find_checkpoint(tmp_path)


@pytest.mark.parametrize("flag", ["--face", "--audio"])
def test_parser_requires_three_files(flag, capsys):
    at = REQUIRED.index(flag)
    with pytest.raises(SystemExit) as raised:
        infer.infer(REQUIRED[:at] + REQUIRED[at + 2 :])
    assert raised.value.code == 2
    assert f"required: {flag}" in capsys.readouterr().err


def test_parser_accepts_upstream_values():
    values_by_flag = {"static": ["True"], "fps": ["29.97"], "pads": list("1234"), "face_det_batch_size": ["2"],
             "wav2lip_batch_size": ["3"], "resize_factor": ["2"], "crop": ["0", "-1", "5", "-1"],
             "box": list("5678"), "rotate": [], "nosmooth": []}  # fmt: skip
    argv = REQUIRED + [text for flag, values in values_by_flag.items() for text in (f"--{flag}", *values)]
    options = parse_options(LipSyncOptions, infer.build_parser().parse_args(argv))
    assert (options.static, options.fps, options.smooth, options.box) == (True, 29.97, False, (5, 6, 7, 8))
    assert options.pads == (1, 2, 3, 4)
    assert (options.resize_factor, options.rotate, options.crop) == (2, True, (0, -1, 5, -1))
    assert (options.face_det_batch_size, options.wav2lip_batch_size) == (2, 3)


@pytest.mark.parametrize(("argv", "expected"), [
    ([], False), (["--static"], True), (["--static", "True"], True), (["--static", "false"], False),
    (["--static", "False"], False), (["--static", "1"], True), (["--static=no"], False),
])  # fmt: skip
def test_parser_static_values(argv, expected):
    assert infer.build_parser().parse_args(REQUIRED + argv).static is expected


def test_parser_rejects_invalid_bool(capsys):
    with pytest.raises(SystemExit, match="2"):
        infer.build_parser().parse_args([*REQUIRED, "--static", "maybe"])
    assert "'maybe': must be true or false" in capsys.readouterr().err


def test_file_names_may_begin_with_dash():
    words = ["--face", "-1.mp4", "--audio", "-a b.wav", "--outfile", "-x", "--fps", "-1"]
    argv = join_dashed_file_names(words, infer.FILE_FLAGS)
    parsed = infer.build_parser().parse_args(["--checkpoint_path", "g.pth", *argv])
    assert (parsed.face, parsed.audio, parsed.outfile, parsed.fps) == ("-1.mp4", ["-a b.wav"], "-x", -1)


def test_missing_file_name_does_not_consume_next_flag(capsys):
    with pytest.raises(SystemExit, match="2"):
        infer.infer(["--checkpoint_path", "g.pth", "--face", "--audio", "a.wav"])
    assert "argument --face: expected one argument" in capsys.readouterr().err


# Results


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30", "50", "60"])
def test_result_has_fps_of_video_and_length_of_audio(media, tmp_path, rate):
    face = ffmpeg("-f", "lavfi", "-i", f"testsrc=s=64x64:r={rate}:d=0.6", tmp_path / "face.mp4")
    run_command(command_line(media, tmp_path / "out.mp4", face=face) + BOX)
    video = DecodedVideo(tmp_path / "out.mp4")
    assert video.fps == Fraction(rate)
    assert len(video) == -(-1 * Fraction(rate) // 1)  # one second, rounded up; the video is looped


def test_shorter_audio_ends_video(media, tmp_path):
    run_command(command_line(media, tmp_path / "out.mp4", audio=write_wav(tmp_path / "a.wav", tone(0.3))) + BOX)
    assert len(DecodedVideo(tmp_path / "out.mp4")) == 8  # 7.5, rounded up


@pytest.mark.parametrize(("rate", "frames"), [("25", 25), ("23.976", 24), ("60", 60), ("0.5", 1)])
def test_command_makes_video_of_image_at_fps(media, tmp_path, rate, frames):
    run_command(command_line(media, tmp_path / "out.mp4", face=media / "face.png", fps=rate) + BOX)
    video = DecodedVideo(tmp_path / "out.mp4")
    assert len(video) == frames
    assert float(video.fps) == pytest.approx(float(rate), rel=1e-4)


def test_image_without_suffix_is_accepted(media, tmp_path):
    (tmp_path / "portrait").write_bytes((media / "face.png").read_bytes())
    run_command(command_line(media, tmp_path / "out.mp4", face=tmp_path / "portrait", audio=media / "face.mp4") + BOX)
    assert len(DecodedVideo(tmp_path / "out.mp4")) in {25, 26, 27}  # AAC lasts to the end of its last block


@pytest.mark.parametrize(("flags", "shape"), [
    ([], (64, 64)), (["--resize_factor", "2"], (32, 32)), (["--crop", "0", "48", "0", "-1"], (48, 64)),
    (["--rotate", "--crop", "0", "-1", "0", "31"], (64, 32)),
], ids=str)  # fmt: skip
def test_framing_flags_change_size(media, tmp_path, flags, shape):
    box = ["--box", "2", "30", "2", "30"]
    run_command(command_line(media, tmp_path / "out.mp4", audio=write_wav(tmp_path / "a.wav", tone(0.1))) + flags + box)
    assert DecodedVideo(tmp_path / "out.mp4").images[0].shape[:2] == shape


def test_static_changes_only_lips(media, tmp_path):
    run_command([*command_line(media, tmp_path / "out.mp4", static="true"), "--box", "40", "60", "8", "56"])
    first, *rest = DecodedVideo(tmp_path / "out.mp4").images
    # Above the box a static video changes by loss of the encoder; the input is noise.
    assert max(np.abs(frame[:32].astype(int) - first[:32]).mean() for frame in rest) < 4
    input_frames = DecodedVideo(media / "face.mp4").images
    assert np.abs(input_frames[5][:32].astype(int) - input_frames[0][:32]).mean() > 30


@pytest.mark.parametrize(("name", "rate", "channels"), [
    ("a.wav", 8_000, 1), ("a.wav", 44_100, 6), ("a.mp3", 44_100, 2), ("a.ogg", 48_000, 2), ("a.m4a", 48_000, 1),
])  # fmt: skip
def test_audio_keeps_its_timing(media, tmp_path, name, rate, channels):
    samples = np.zeros((rate, channels))
    samples[round(0.62 * rate) : round(0.621 * rate)] = 0.9
    plain = write_wav(tmp_path / "plain.wav", samples, rate)
    audio = ffmpeg("-i", plain, *(["-c:a", "libvorbis"] if name == "a.ogg" else []), tmp_path / name)
    run_command(command_line(media, tmp_path / "out.mp4", audio=audio) + BOX)
    with av.open(str(tmp_path / "out.mp4")) as file:
        parts = [(frame.time, frame.sample_rate, frame.to_ndarray()[0]) for frame in file.decode(audio=0)]
    loudest = max(parts, key=lambda part: np.abs(part[2]).max())
    assert loudest[0] + np.abs(loudest[2]).argmax() / loudest[1] == pytest.approx(0.6205, abs=0.005)


def test_delayed_audio_track_stays_delayed(media, tmp_path):
    delayed = ffmpeg("-i", media / "face.mp4", "-itsoffset", "0.4", "-i", media / "audio.wav", "-map", "0:v",
                  "-map", "1:a", "-c:v", "copy", "-c:a", "pcm_s16le", tmp_path / "late.mkv")  # fmt: skip
    run_command(command_line(media, tmp_path / "out.mp4", audio=delayed) + BOX)
    samples = load_wav(tmp_path / "out.mp4")
    assert np.flatnonzero(np.abs(samples) > 0.1)[0] / 16_000 == pytest.approx(0.4, abs=0.02)
    assert len(DecodedVideo(tmp_path / "out.mp4")) == 35


def test_silent_audio_gives_result(media, tmp_path):
    run_command(command_line(media, tmp_path / "out.mp4", audio=write_wav(tmp_path / "a.wav", np.zeros(8000))) + BOX)
    assert len(DecodedVideo(tmp_path / "out.mp4")) == 13  # 12.5, rounded up


def test_truncated_video_is_used_with_warning(media, tmp_path, caplog):
    run_command(command_line(media, tmp_path / "out.mp4", face=media / "cut_front.mp4") + BOX)
    assert len(DecodedVideo(tmp_path / "out.mp4")) == 25
    lines = [record.getMessage() for record in caplog.records if "cut_front.mp4" in record.getMessage()]
    assert len(lines) == 1  # although the file is read several times
    assert "its video lasts 0." in lines[0]
    assert "not 1.0 s" in lines[0]


def test_truncated_audio_is_used_with_warning(media, tmp_path, caplog):
    run_command(command_line(media, tmp_path / "out.mp4", audio=media / "cut_front.mp4") + BOX)
    assert 1 <= len(DecodedVideo(tmp_path / "out.mp4")) < 15
    assert "cut_front.mp4: its audio lasts 0." in caplog.text


def test_command_reports_frames_without_face(media, tmp_path, portrait, caplog):
    caplog.set_level("INFO")
    frames = [portrait] * 10 + [np.full_like(portrait, 128)] * 15
    face = write_video(tmp_path / "face.mp4", frames)
    run_command(command_line(media, tmp_path / "out.mp4", face=face, detector="haar"))
    assert "no face, frames unchanged: 0.40-1.00 s" in caplog.text
    assert len(DecodedVideo(tmp_path / "out.mp4")) == 25


@pytest.mark.parametrize("names", [
    {"face": "my face's.mp4", "audio": 'a "speech".wav', "outfile": "the result.mp4"},
    {"face": "-face.mp4", "audio": "-audio.wav", "outfile": "-i.mp4"},
    {"face": "100%d.mp4", "audio": "50%03d.wav", "outfile": "%s.mp4"},
    {"face": "лицо.mp4", "audio": "声.wav", "outfile": "é.mp4"},
    {"face": "face", "audio": "speech", "outfile": "a.b.mp4"},
], ids=lambda names: ascii(names["face"]))  # fmt: skip
def test_files_of_any_name_are_accepted(media, tmp_path, monkeypatch, names):
    (tmp_path / names["face"]).write_bytes((media / "face.mp4").read_bytes())
    (tmp_path / names["audio"]).write_bytes((media / "audio.wav").read_bytes())
    monkeypatch.chdir(tmp_path)
    run_command(command_line(media, Path(), **names) + BOX)
    assert len(DecodedVideo(tmp_path / names["outfile"])) == 25
    assert len(list(tmp_path.iterdir())) == 3


def test_default_outfile_is_that_of_upstream(media, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_command(command_line(media, Path(), outfile=None) + BOX)
    assert len(DecodedVideo(tmp_path / "results" / "result_voice.mp4")) == 25


@pytest.mark.parametrize("samples", [500, 8_000, 16_000 * 6, 16_000 * 20 + 77])
def test_streamed_mel_windows_equal_whole_mel(tmp_path, samples):
    audio = write_wav(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.3, 0.3, samples))
    windows = mel_windows_from_file(audio, Fraction(25))
    mel = melspectrogram(np.pad(load_wav(audio), (0, max(0, 800 - samples))))
    expected = InferenceWindows.build(mel, samples, 25)
    assert len(windows) == len(expected) == -(-samples * 25 // 16_000)
    for frame in (*range(len(windows)), 0, len(windows) - 1, len(windows) // 2):  # in order, then back and forth
        np.testing.assert_allclose(windows[frame], expected[frame], atol=1e-4)


# Error messages


@pytest.mark.parametrize(("flag", "name", "reason"), [
    ("face", "none.mp4", "no such file"),
    ("face", "a folder.mp4", "is a folder"),
    ("face", "audio.wav", "no video track"),
    ("face", "text.mp4", "not audio or video"),
    ("face", "text.png", "not audio or video"),
    ("face", "empty.mp4", "is empty"),
    ("face", "empty.png", "is empty"),
    ("face", "cut.png", "not an image, or corrupt"),
    ("face", "cut_last.mp4", "corrupt"),
    ("audio", "none.wav", "no such file"),
    ("audio", "a folder.mp4", "is a folder"),
    ("audio", "silent.mp4", "no audio track"),
    ("audio", "face.png", "no audio track"),
    ("audio", "text.wav", "not audio or video"),
    ("audio", "empty.wav", "is empty"),
    ("audio", "nothing.wav", "its audio track is empty"),
    ("audio", "nan.wav", "non-finite samples"),
    ("checkpoint_path", "none.pth", "no such checkpoint"),
    ("checkpoint_path", "a folder.mp4", "is a folder"),
    ("checkpoint_path", "expert.pth", "SyncNet expert"),
    ("checkpoint_path", "discriminator.pth", "visual-quality discriminator"),
    ("checkpoint_path", "text.pth", "not a checkpoint"),
    ("checkpoint_path", "empty.pth", "is empty"),
    ("checkpoint_path", "face.mp4", "checkpoint"),
], ids=lambda value: value)  # fmt: skip
def test_unusable_file_is_named_with_reason(media, run_and_fail, flag, name, reason):
    message = run_and_fail(**{flag: media / name})
    assert message.startswith(f"{media / name}: ")
    assert reason in message


@pytest.mark.parametrize(("flags", "face", "reason"), [
    (["--fps", "0"], "face.png", "--fps=0.0: must"),
    (["--fps", "-25"], "face.png", "--fps=-25.0: must"),
    (["--fps", "nan"], "face.png", "--fps=nan: must"),
    (["--fps", "inf"], "face.png", "--fps=inf: must"),
    (["--fps", "1e-9"], "face.png", "--fps=1e-09: must"),
    (["--resize_factor", "0"], "face.mp4", "--resize_factor=0: must"),
    (["--resize_factor", "-2"], "face.mp4", "--resize_factor=-2: must"),
    (["--resize_factor", "100"], "face.mp4", "--resize_factor=100: must be at most 64"),
    (["--resize_factor", "100"], "face.png", "--resize_factor=100: must be at most 64"),
    (["--crop", "64", "-1", "0", "-1"], "face.mp4", "--crop=64 -1 0 -1"),
    (["--crop", "30", "20", "0", "-1"], "face.mp4", "--crop=30 20 0 -1"),
    (["--crop", "-9", "-1", "0", "-1"], "face.mp4", "--crop=-9 -1 0 -1"),
    (["--box", "40", "20", "0", "64"], "face.mp4", "--box=40 20 0 64"),
    (["--box", "0", "64", "50", "50"], "face.mp4", "--box=0 64 50 50"),
    (["--box", "0", "65", "0", "64"], "face.mp4", "inside the frame of 64 x 64"),
    (["--box", "0", "64", "-2", "64"], "face.mp4", "inside the frame of 64 x 64"),
    (["--box", "-7", "64", "0", "64"], "face.mp4", "inside the frame of 64 x 64"),
    (["--box", "0", "-1", "0", "-1"], "face.png", "inside the frame of 64 x 64"),
    (["--wav2lip_batch_size", "0"], "face.mp4", "--wav2lip_batch_size=0"),
    (["--face_det_batch_size", "-1"], "face.mp4", "--face_det_batch_size=-1"),
    (["--device", "abacus"], "face.mp4", "device abacus"),
    (["--detector", "s3fd", "--s3fd_weights", "none.pth"], "face.mp4", "none.pth"),
    (["--detector", "mtcnn", "--s3fd_weights", "none.pth"], "face.mp4", "--s3fd_weights=none.pth: no such file"),
    (["--landmark_weights", "none.pth"], "face.mp4", "--landmark_weights=none.pth: no such file"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")  # fmt: skip
def test_invalid_value_is_named_with_flag(media, run_and_fail, flags, face, reason):
    box = [] if "--box" in flags or "--detector" in flags else BOX
    assert reason in run_and_fail(*flags, *box, face=media / face)


def test_video_without_face_is_named(media, run_and_fail):
    message = run_and_fail("--detector", "haar")
    assert message.startswith(f"{media / 'face.mp4'}: no face found in any of its 25 frames")


def test_pads_that_remove_face_are_rejected(tmp_path, portrait, run_and_fail):
    Image.fromarray(portrait).save(tmp_path / "face.png")
    message = run_and_fail("--detector", "haar", "--pads", "-200", "-200", "0", "0", face=tmp_path / "face.png")
    assert message.startswith("--pads=(-200, -200, 0, 0)")


def test_strict_fails_at_first_frame_without_face(tmp_path, portrait, run_and_fail):
    face = write_video(tmp_path / "face.mp4", [portrait] * 10 + [np.full_like(portrait, 128)] * 15)
    assert "frame 10 (0.40 s): no face found" in run_and_fail("--detector", "haar", "--strict", face=face)


@pytest.mark.parametrize("flag", ["face", "audio"])
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_result_never_replaces_an_input(media, tmp_path, run_and_fail, flag, link):
    path = tmp_path / "input.mp4"
    path.write_bytes((media / "face.mp4").read_bytes())
    out = path if link is None else tmp_path / "out.mp4"
    if link is not None:
        getattr(out, link)(path)
    assert "is an input file" in run_and_fail(**{flag: path, "outfile": out})
    assert path.read_bytes() == (media / "face.mp4").read_bytes()


@pytest.mark.parametrize(("name", "reason"), [
    ("result.xyz", "must be a video file name"), ("result", "must be a video file name"),
    ("face.png/out.mp4", "be written"), ("a folder.mp4", "is a folder"), ("x" * 250 + ".mp4", "File name too long"),
], ids=["unknown suffix", "no suffix", "below a file", "folder", "too long"])  # fmt: skip
def test_unwritable_result_is_rejected(media, run_and_fail, name, reason):
    message = run_and_fail(outfile=media / name)
    assert str(media / name) in message
    assert reason in message


def test_ffmpeg_failure_reports_its_message(tmp_path, monkeypatch, run_and_fail):
    binary = tmp_path / "bin" / "ffmpeg"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\nhead -c 50000 > /dev/null\necho 'No space left on device' >&2\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    assert "could not be written (No space left on device)" in run_and_fail()


# The command as a process


def run_process(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wav2lip.infer", *arguments], capture_output=True, text=True, timeout=300, **options
    )


def test_help_names_every_flag():
    process = run_process("--help")
    assert process.returncode == 0
    for flag in [*FLAGS, "checkpoint_path", "face", "audio"]:
        assert f"--{flag}" in process.stdout


def test_bad_file_exits_with_2_and_one_line(media, tmp_path):
    process = run_process(*command_line(media, tmp_path / "out.mp4", face=media / "text.mp4"))
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"error: {media / 'text.mp4'}: not audio or video")
    assert not list(tmp_path.iterdir())


MEASURE = """
import resource, sys
from wav2lip.cli import join_dashed_file_names, run
from wav2lip.infer import infer
try:
    run(lambda: infer(sys.argv[1:]))
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_memory_is_independent_of_length(media, tmp_path):
    """54 s more are 31 MB of frames, and 20 MB of audio and its transform; the mel alone is 1.4 MB."""
    memory_mib = {}
    for seconds in (6, 60):
        face = ffmpeg("-f", "lavfi", "-i", f"testsrc=s=160x120:r=10:d={seconds}", "-preset", "ultrafast",
                      tmp_path / f"{seconds}.mp4")  # fmt: skip
        audio = ffmpeg("-f", "lavfi", "-i", f"sine=220:r=48000:d={seconds}", tmp_path / f"{seconds}.wav")
        argv = command_line(media, tmp_path / "out.mp4", face=face, audio=audio) + BOX
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, "-c", MEASURE, *argv]
        process = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert process.returncode == 0, process.stderr
        memory_mib[seconds] = int(process.stdout) / 1024  # MiB
    assert memory_mib[60] - memory_mib[6] < 12


def test_landmark_weights_are_read(run_and_fail, tmp_path):
    weights = tmp_path / "landmarks.pth"
    message = run_and_fail("--align", "--detector", "haar", "--landmark_weights", str(weights))
    assert str(weights) in message
