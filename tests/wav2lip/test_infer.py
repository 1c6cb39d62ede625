"""The command: the public flags, the right result of every input that can have one, a sentence for the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from tests.conftest import tone, write_video, write_wav
from wav2lip import infer
from wav2lip.audio import load_wav, melspectrogram
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import run
from wav2lip.lipsync import sound_windows
from wav2lip.windows import InferenceWindows

FLAGS = {  # the public release's, with its defaults
    "outfile": "results/result_voice.mp4", "static": False, "fps": 25.0, "pads": [0, 10, 0, 0],
    "face_det_batch_size": 16, "wav2lip_batch_size": 128, "resize_factor": 1, "crop": [0, -1, 0, -1],
    "box": [-1, -1, -1, -1], "rotate": False, "nosmooth": False,
}  # fmt: skip
REQUIRED = ["--checkpoint_path", "g.pth", "--face", "f.mp4", "--audio", "a.wav"]
BOX = ["--box", "8", "56", "8", "56"]
OLDER = b"an older result"


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """A folder with a thin random generator, a second of video and sound, and what is wrong in every way."""
    folder = tmp_path_factory.mktemp("media")
    torch.manual_seed(0)
    for name, network in {"generator": Wav2Lip(width=0.125), "expert": SyncNet(width=0.125),
                          "critic": VisualQualityDiscriminator(width=0.125)}.items():  # fmt: skip
        save_checkpoint(folder / f"{name}.pth", Checkpoint(network.state_dict()))
    frames = list(np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), np.uint8))
    sound = write_wav(folder / "sound.wav", tone(1.0))
    video = write_video(folder / "face.mp4", frames, audio=sound)
    write_video(folder / "silent.mp4", frames[:3])
    whole, last = video.read_bytes(), folder / "last.mp4"
    ffmpeg("-i", video, "-c", "copy", last)
    (folder / "cut_last.mp4").write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    (folder / "cut_front.mp4").write_bytes(whole[: len(whole) // 3])
    for name in ("text.mp4", "text.wav", "text.png", "text.pth"):
        (folder / name).write_text("Dear diary,\n" * 30)
    for name in ("empty.mp4", "empty.wav", "empty.png", "empty.pth"):
        (folder / name).write_bytes(b"")
    write_wav(folder / "nothing.wav", np.zeros(0))
    (folder / "nan.wav").write_bytes(float_wav([0.1] * 8000 + [float("nan")] + [0.1] * 8000))
    Image.fromarray(frames[0]).save(folder / "face.png")
    (folder / "cut.png").write_bytes((folder / "face.png").read_bytes()[:3000])
    (folder / "a folder.mp4").mkdir()
    return folder


def ffmpeg(*words: object) -> Path:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return Path(str(words[-1]))


def float_wav(values: list[float]) -> bytes:
    """A WAV file of 32-bit floats at 16 kHz, written by hand."""
    data = np.array(values, "<f4").tobytes()
    form = np.array([3, 1], "<u2").tobytes() + np.array([16_000, 64_000], "<u4").tobytes()
    form += np.array([4, 32], "<u2").tobytes()
    chunks = b"WAVEfmt " + np.uint32(16).tobytes() + form + b"data" + np.uint32(len(data)).tobytes() + data
    return b"RIFF" + np.uint32(len(chunks)).tobytes() + chunks


def words(media: Path, out: Path, **flags: object) -> list[str]:
    """A command line that works, but for the flags given."""
    given = {"checkpoint_path": media / "generator.pth", "face": media / "face.mp4", "audio": media / "sound.wav",
             "outfile": out, "device": "cpu"} | flags  # fmt: skip
    return [word for flag, value in given.items() if value is not None for word in (f"--{flag}", str(value))]


def succeeds(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: infer.infer(argv))
    assert ended.value.code == 0


class Frames:
    """A video as PyAV decodes it."""

    def __init__(self, path: Path):
        with av.open(str(path)) as file:
            self.fps = file.streams.video[0].average_rate
            self.pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]

    def __len__(self) -> int:
        return len(self.pictures)


@pytest.fixture
def fails(media, tmp_path, capsys):
    """Run a command line that must end with one sentence and leave the older result alone; returns the sentence."""

    def command(*more: str, **flags: object) -> str:
        out = tmp_path / "out" / "result.mp4"
        out.parent.mkdir()
        out.write_bytes(OLDER)
        before = {path: path.stat().st_size for path in media.iterdir()}
        argv = words(media, out, **flags) + list(more or BOX)
        with pytest.raises(SystemExit) as ended:
            run(lambda: infer.infer(argv))
        assert ended.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
        assert out.read_bytes() == OLDER
        assert list(out.parent.iterdir()) == [out]
        assert {path: path.stat().st_size for path in media.iterdir()} == before
        return lines[-1].removeprefix("error: ")

    return command


# Flags -------------------------------------------------------------------------------------------------------------


def test_every_public_flag_is_there_with_the_releases_default():
    parsed = vars(infer.build_parser().parse_args(REQUIRED))
    assert {flag: parsed[flag] for flag in FLAGS} == FLAGS
    assert (parsed["checkpoint_path"], parsed["face"], parsed["audio"]) == ("g.pth", "f.mp4", "a.wav")


@pytest.mark.parametrize("flag", ["--checkpoint_path", "--face", "--audio"])
def test_the_three_files_are_asked_for(flag, capsys):
    at = REQUIRED.index(flag)
    with pytest.raises(SystemExit) as ended:
        infer.infer(REQUIRED[:at] + REQUIRED[at + 2 :])
    assert ended.value.code == 2
    assert f"required: {flag}" in capsys.readouterr().err


def test_every_flag_takes_what_the_release_takes():
    typed = {"static": ["True"], "fps": ["29.97"], "pads": list("1234"), "face_det_batch_size": ["2"],
             "wav2lip_batch_size": ["3"], "resize_factor": ["2"], "crop": ["0", "-1", "5", "-1"],
             "box": list("5678"), "rotate": [], "nosmooth": []}  # fmt: skip
    argv = REQUIRED + [word for flag, values in typed.items() for word in (f"--{flag}", *values)]
    options = infer.options_of(infer.build_parser().parse_args(argv))
    assert (options.static, options.fps, options.smooth, options.box) == (True, 29.97, False, (5, 6, 7, 8))
    pads, framing = options.pads, options.framing
    assert (pads.top, pads.bottom, pads.left, pads.right) == (1, 2, 3, 4)
    assert (framing.resize_factor, framing.rotate, framing.crop) == (2, True, (0, -1, 5, -1))
    assert (options.face_det_batch_size, options.wav2lip_batch_size) == (2, 3)


@pytest.mark.parametrize(("typed", "meant"), [
    ([], False), (["--static"], True), (["--static", "True"], True), (["--static", "false"], False),
    (["--static", "False"], False), (["--static", "1"], True), (["--static=no"], False),
])  # fmt: skip
def test_static_means_what_it_says(typed, meant):
    assert infer.build_parser().parse_args(REQUIRED + typed).static is meant


def test_a_word_that_is_neither_true_nor_false_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        infer.build_parser().parse_args([*REQUIRED, "--static", "maybe"])
    assert "'maybe' is neither true nor false" in capsys.readouterr().err


def test_a_file_name_may_begin_with_a_dash():
    argv = infer.with_dashed_names(["--face", "-1.mp4", "--audio", "-a b.wav", "--outfile", "-x", "--fps", "-1"])
    parsed = infer.build_parser().parse_args(["--checkpoint_path", "g.pth", *argv])
    assert (parsed.face, parsed.audio, parsed.outfile, parsed.fps) == ("-1.mp4", "-a b.wav", "-x", -1)


def test_a_forgotten_file_name_is_not_taken_from_the_next_flag(capsys):
    with pytest.raises(SystemExit, match="2"):
        infer.infer(["--checkpoint_path", "g.pth", "--face", "--audio", "a.wav"])
    assert "argument --face: expected one argument" in capsys.readouterr().err


# Right results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30", "50", "60"])
def test_the_result_has_the_rate_of_the_video_and_the_length_of_the_sound(media, tmp_path, rate):
    face = ffmpeg("-f", "lavfi", "-i", f"testsrc=s=64x64:r={rate}:d=0.6", tmp_path / "face.mp4")
    succeeds(words(media, tmp_path / "out.mp4", face=face) + BOX)
    made = Frames(tmp_path / "out.mp4")
    assert made.fps == Fraction(rate)
    assert len(made) == -(-1 * Fraction(rate) // 1)  # a second, rounded up to whole frames; the video began again


def test_a_shorter_sound_ends_the_video(media, tmp_path):
    succeeds(words(media, tmp_path / "out.mp4", audio=write_wav(tmp_path / "a.wav", tone(0.3))) + BOX)
    assert len(Frames(tmp_path / "out.mp4")) == 8  # 7.5


@pytest.mark.parametrize(("rate", "frames"), [("25", 25), ("23.976", 24), ("60", 60), ("0.5", 1)])
def test_a_picture_becomes_a_video_at_fps(media, tmp_path, rate, frames):
    succeeds(words(media, tmp_path / "out.mp4", face=media / "face.png", fps=rate) + BOX)
    made = Frames(tmp_path / "out.mp4")
    assert len(made) == frames
    assert float(made.fps) == pytest.approx(float(rate), rel=1e-4)


def test_a_picture_without_a_dot_in_its_name_will_do(media, tmp_path):
    (tmp_path / "portrait").write_bytes((media / "face.png").read_bytes())
    succeeds(words(media, tmp_path / "out.mp4", face=tmp_path / "portrait", audio=media / "face.mp4") + BOX)
    assert len(Frames(tmp_path / "out.mp4")) in {25, 26, 27}  # AAC of the video ends with its last block


@pytest.mark.parametrize(("flags", "shape"), [
    ([], (64, 64)), (["--resize_factor", "2"], (32, 32)), (["--crop", "0", "48", "0", "-1"], (48, 64)),
    (["--rotate", "--crop", "0", "-1", "0", "31"], (64, 32)),
], ids=str)  # fmt: skip
def test_framing_gives_its_size(media, tmp_path, flags, shape):
    box = ["--box", "2", "30", "2", "30"]
    succeeds(words(media, tmp_path / "out.mp4", audio=write_wav(tmp_path / "a.wav", tone(0.1))) + flags + box)
    assert Frames(tmp_path / "out.mp4").pictures[0].shape[:2] == shape


def test_static_repeats_the_first_frame_but_for_the_lips(media, tmp_path):
    succeeds([*words(media, tmp_path / "out.mp4", static="true"), "--box", "40", "60", "8", "56"])
    first, *others = Frames(tmp_path / "out.mp4").pictures
    assert max(np.abs(frame[:32].astype(int) - first[:32]).mean() for frame in others) < 4
    given = Frames(media / "face.mp4").pictures
    assert np.abs(given[5][:32].astype(int) - given[0][:32]).mean() > 30


@pytest.mark.parametrize(("name", "rate", "channels"), [
    ("a.wav", 8_000, 1), ("a.wav", 44_100, 6), ("a.mp3", 44_100, 2), ("a.ogg", 48_000, 2), ("a.m4a", 48_000, 1),
])  # fmt: skip
def test_a_click_of_the_sound_is_in_the_result_when_it_was(media, tmp_path, name, rate, channels):
    samples = np.zeros((rate, channels))
    samples[round(0.62 * rate) : round(0.621 * rate)] = 0.9
    plain = write_wav(tmp_path / "plain.wav", samples, rate)
    audio = ffmpeg("-i", plain, *(["-c:a", "libvorbis"] if name == "a.ogg" else []), tmp_path / name)
    succeeds(words(media, tmp_path / "out.mp4", audio=audio) + BOX)
    with av.open(str(tmp_path / "out.mp4")) as file:
        parts = [(frame.time, frame.sample_rate, frame.to_ndarray()[0]) for frame in file.decode(audio=0)]
    loudest = max(parts, key=lambda part: np.abs(part[2]).max())
    assert loudest[0] + np.abs(loudest[2]).argmax() / loudest[1] == pytest.approx(0.6205, abs=0.005)


def test_sound_that_begins_late_in_its_file_begins_late_in_the_result(media, tmp_path):
    late = ffmpeg("-i", media / "face.mp4", "-itsoffset", "0.4", "-i", media / "sound.wav", "-map", "0:v",
                  "-map", "1:a", "-c:v", "copy", "-c:a", "pcm_s16le", tmp_path / "late.mkv")  # fmt: skip
    succeeds(words(media, tmp_path / "out.mp4", audio=late) + BOX)
    heard = load_wav(tmp_path / "out.mp4")
    assert np.flatnonzero(np.abs(heard) > 0.1)[0] / 16_000 == pytest.approx(0.4, abs=0.02)
    assert len(Frames(tmp_path / "out.mp4")) == 35


def test_silence_is_given_lips_too(media, tmp_path):
    succeeds(words(media, tmp_path / "out.mp4", audio=write_wav(tmp_path / "a.wav", np.zeros(8000))) + BOX)
    assert len(Frames(tmp_path / "out.mp4")) == 13  # 12.5


def test_a_cut_video_is_used_as_far_as_it_goes_with_a_line(media, tmp_path, caplog):
    succeeds(words(media, tmp_path / "out.mp4", face=media / "cut_front.mp4") + BOX)
    assert len(Frames(tmp_path / "out.mp4")) == 25
    lines = [record.getMessage() for record in caplog.records if "cut_front.mp4" in record.getMessage()]
    assert len(lines) == 1  # though it is read many times
    assert "its pictures last 0." in lines[0]
    assert "s of the 1.0 s that it states" in lines[0]


def test_cut_sound_is_used_as_far_as_it_goes_with_a_line(media, tmp_path, caplog):
    succeeds(words(media, tmp_path / "out.mp4", audio=media / "cut_front.mp4") + BOX)
    assert 1 <= len(Frames(tmp_path / "out.mp4")) < 15
    assert "cut_front.mp4: its sound lasts 0." in caplog.text


def test_a_face_in_some_frames_is_found_and_the_others_are_reported(media, tmp_path, portrait, caplog):
    caplog.set_level("INFO")
    frames = [portrait] * 10 + [np.full_like(portrait, 128)] * 15
    face = write_video(tmp_path / "face.mp4", frames)
    succeeds(words(media, tmp_path / "out.mp4", face=face, detector="haar"))
    assert "no face, frames left unchanged: 0.40-1.00 s" in caplog.text
    assert len(Frames(tmp_path / "out.mp4")) == 25


@pytest.mark.parametrize("names", [
    {"face": "my face's.mp4", "audio": 'a "sound".wav', "outfile": "the result.mp4"},
    {"face": "-face.mp4", "audio": "-sound.wav", "outfile": "-i.mp4"},
    {"face": "100%d.mp4", "audio": "50%03d.wav", "outfile": "%s.mp4"},
    {"face": "лицо.mp4", "audio": "声.wav", "outfile": "é.mp4"},
    {"face": "face", "audio": "sound", "outfile": "a.b.mp4"},
], ids=lambda names: ascii(names["face"]))  # fmt: skip
def test_files_of_any_name_are_used(media, tmp_path, monkeypatch, names):
    (tmp_path / names["face"]).write_bytes((media / "face.mp4").read_bytes())
    (tmp_path / names["audio"]).write_bytes((media / "sound.wav").read_bytes())
    monkeypatch.chdir(tmp_path)
    succeeds(words(media, Path(), **names) + BOX)
    assert len(Frames(tmp_path / names["outfile"])) == 25
    assert len(list(tmp_path.iterdir())) == 3


def test_without_outfile_the_result_is_where_the_release_puts_it(media, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeeds(words(media, Path(), outfile=None) + BOX)
    assert len(Frames(tmp_path / "results" / "result_voice.mp4")) == 25


@pytest.mark.parametrize("samples", [500, 8_000, 16_000 * 6, 16_000 * 20 + 77])
def test_windows_of_a_sound_that_is_read_as_frames_go_on_are_those_of_the_whole_sound(tmp_path, samples):
    sound = write_wav(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.3, 0.3, samples))
    windows = sound_windows(sound, Fraction(25))
    whole = melspectrogram(np.pad(load_wav(sound), (0, max(0, 800 - samples))))
    expected = InferenceWindows.covering(whole, samples, 25)
    assert len(windows) == len(expected) == -(-samples * 25 // 16_000)
    for frame in (*range(len(windows)), 0, len(windows) - 1, len(windows) // 2):  # in order, and from end to end
        np.testing.assert_allclose(windows[frame], expected[frame], atol=1e-4)


# Sentences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "name", "says"), [
    ("face", "none.mp4", "no such file"),
    ("face", "a folder.mp4", "is a folder"),
    ("face", "sound.wav", "has no video track"),
    ("face", "text.mp4", "is not audio or video"),
    ("face", "text.png", "is not audio or video"),
    ("face", "empty.mp4", "is empty"),
    ("face", "empty.png", "is empty"),
    ("face", "cut.png", "is not a whole picture"),
    ("face", "cut_last.mp4", "is not audio or video, or is damaged"),
    ("audio", "none.wav", "no such file"),
    ("audio", "a folder.mp4", "is a folder"),
    ("audio", "silent.mp4", "has no audio track"),
    ("audio", "face.png", "has no audio track"),
    ("audio", "text.wav", "is not audio or video"),
    ("audio", "empty.wav", "is empty"),
    ("audio", "nothing.wav", "its audio track is empty"),
    ("audio", "nan.wav", "holds values that are not numbers"),
    ("checkpoint_path", "none.pth", "no such checkpoint"),
    ("checkpoint_path", "a folder.mp4", "no such checkpoint"),
    ("checkpoint_path", "expert.pth", "it holds a SyncNet expert"),
    ("checkpoint_path", "critic.pth", "it holds a visual-quality discriminator"),
    ("checkpoint_path", "text.pth", "is no checkpoint"),
    ("checkpoint_path", "empty.pth", "is not a whole checkpoint"),
    ("checkpoint_path", "face.mp4", "checkpoint"),
], ids=lambda value: value)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(media, fails, flag, name, says):
    sentence = fails(**{flag: media / name})
    assert sentence.startswith(f"{media / name}: ")
    assert says in sentence


@pytest.mark.parametrize(("more", "face", "says"), [
    (["--fps", "0"], "face.png", "--fps is 0.0; give"),
    (["--fps", "-25"], "face.png", "--fps is -25.0; give"),
    (["--fps", "nan"], "face.png", "--fps is nan; give"),
    (["--fps", "inf"], "face.png", "--fps is inf; give"),
    (["--fps", "1e-9"], "face.png", "--fps is 1e-09; give"),
    (["--resize_factor", "0"], "face.mp4", "--resize_factor is 0; give"),
    (["--resize_factor", "-2"], "face.mp4", "--resize_factor is -2; give"),
    (["--resize_factor", "100"], "face.mp4", "--resize_factor 100 leaves nothing of a frame of 64 x 64"),
    (["--resize_factor", "100"], "face.png", "--resize_factor 100 leaves nothing of a frame of 64 x 64"),
    (["--crop", "64", "-1", "0", "-1"], "face.mp4", "--crop 64 -1 0 -1"),
    (["--crop", "30", "20", "0", "-1"], "face.mp4", "--crop 30 20 0 -1"),
    (["--crop", "-9", "-1", "0", "-1"], "face.mp4", "--crop -9 -1 0 -1"),
    (["--box", "40", "20", "0", "64"], "face.mp4", "--box 40 20 0 64"),
    (["--box", "0", "64", "50", "50"], "face.mp4", "--box 0 64 50 50"),
    (["--box", "0", "65", "0", "64"], "face.mp4", "does not lie in a frame of 64 x 64"),
    (["--box", "0", "64", "-2", "64"], "face.mp4", "does not lie in a frame of 64 x 64"),
    (["--box", "-7", "64", "0", "64"], "face.mp4", "does not lie in a frame of 64 x 64"),
    (["--box", "0", "-1", "0", "-1"], "face.png", "does not lie in a frame of 64 x 64"),
    (["--wav2lip_batch_size", "0"], "face.mp4", "--wav2lip_batch_size is 0; give"),
    (["--face_det_batch_size", "-1"], "face.mp4", "--face_det_batch_size is -1; give"),
    (["--device", "abacus"], "face.mp4", "device abacus"),
    (["--detector", "s3fd", "--s3fd_weights", "none.pth"], "face.mp4", "none.pth"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_its_flag(media, fails, more, face, says):
    box = [] if "--box" in more or "--detector" in more else BOX
    assert says in fails(*more, *box, face=media / face)


def test_no_face_at_all_is_a_sentence_that_names_the_video(media, fails):
    sentence = fails("--detector", "haar")
    assert sentence.startswith(f"{media / 'face.mp4'}: no face found in any of its 25 frames; give a --box")


def test_pads_that_leave_nothing_of_a_face_are_named(tmp_path, portrait, fails):
    Image.fromarray(portrait).save(tmp_path / "face.png")
    sentence = fails("--detector", "haar", "--pads", "-200", "-200", "0", "0", face=tmp_path / "face.png")
    assert sentence.startswith("--pads leave nothing of the face boxes")


def test_strict_stops_at_the_first_frame_without_a_face(tmp_path, portrait, fails):
    face = write_video(tmp_path / "face.mp4", [portrait] * 10 + [np.full_like(portrait, 128)] * 15)
    assert "frame 10 (0.40 s): no face found" in fails("--detector", "haar", "--strict", face=face)


@pytest.mark.parametrize("flag", ["face", "audio"])
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_an_input_is_never_replaced_by_its_own_result(media, tmp_path, fails, flag, link):
    given = tmp_path / "given.mp4"
    given.write_bytes((media / "face.mp4").read_bytes())
    out = given if link is None else tmp_path / "out.mp4"
    if link is not None:
        getattr(out, link)(given)
    assert "would replace the file it is made from" in fails(**{flag: given, "outfile": out})
    assert given.read_bytes() == (media / "face.mp4").read_bytes()


@pytest.mark.parametrize(("name", "says"), [
    ("result.xyz", "says no kind of video"), ("result", "says no kind of video"), ("face.png/out.mp4", "be written"),
    ("a folder.mp4", "is a folder"), ("x" * 250 + ".mp4", "File name too long"),
], ids=["unknown ending", "no ending", "below a file", "folder", "too long"])  # fmt: skip
def test_a_result_that_cannot_be_written_is_refused(media, fails, name, says):
    sentence = fails(outfile=media / name)
    assert str(media / name) in sentence
    assert says in sentence


def test_an_ffmpeg_that_dies_half_way_passes_its_words_on_without_a_trace(tmp_path, monkeypatch, fails):
    binary = tmp_path / "bin" / "ffmpeg"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\nhead -c 50000 > /dev/null\necho 'No space left on device' >&2\nexit 1\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    assert "could not be written (No space left on device)" in fails()


# As a process ------------------------------------------------------------------------------------------------------


def process(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wav2lip.infer", *words], capture_output=True, text=True, timeout=300, **options
    )


def test_help_names_every_flag():
    ended = process("--help")
    assert ended.returncode == 0
    for flag in [*FLAGS, "checkpoint_path", "face", "audio"]:
        assert f"--{flag}" in ended.stdout


def test_a_bad_file_ends_the_process_with_2_and_one_line(media, tmp_path):
    ended = process(*words(media, tmp_path / "out.mp4", face=media / "text.mp4"))
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {media / 'text.mp4'}: is not audio or video")
    assert not list(tmp_path.iterdir())


MEASURE = """
import resource, sys
from wav2lip.errors import run
from wav2lip.infer import infer
try:
    run(lambda: infer(sys.argv[1:]))
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_a_minute_needs_hardly_more_memory_than_five_seconds(media, tmp_path):
    """54 s more, held whole, would be 31 MB of frames and 20 MB of sound and its transform; the mel alone is 1.4 MB."""
    used = {}
    for seconds in (6, 60):
        face = ffmpeg("-f", "lavfi", "-i", f"testsrc=s=160x120:r=10:d={seconds}", "-preset", "ultrafast",
                      tmp_path / f"{seconds}.mp4")  # fmt: skip
        audio = ffmpeg("-f", "lavfi", "-i", f"sine=220:r=48000:d={seconds}", tmp_path / f"{seconds}.wav")
        argv = words(media, tmp_path / "out.mp4", face=face, audio=audio) + BOX
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        ended = subprocess.run([sys.executable, "-c", MEASURE, *argv], capture_output=True, text=True, env=environment)
        assert ended.returncode == 0, ended.stderr
        used[seconds] = int(ended.stdout) / 1024  # MiB
    assert used[60] - used[6] < 12
