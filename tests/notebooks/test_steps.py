"""What the notebooks' steps are made of."""

import io
import os
import sys
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tone, write_video, write_wav
from wav2lip.errors import InputError
from wav2lip.media import probe
from wav2lip.notebook import show
from wav2lip.notebook.archive import bring_back, keep
from wav2lip.notebook.drawing import Logged, frames_sheet, strip
from wav2lip.notebook.inference import Inference, newest_trained, options_of
from wav2lip.notebook.process import last_line, run, setting
from wav2lip.notebook.training import plan_of
from wav2lip.notebook.workspace import Workspace, bring, given, open_workspace, upload


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module that can be run, out of its source."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def test_a_command_is_shown_with_what_it_says_and_its_exit_code_comes_back(module, capsys):
    speaks = module("speaks", "import sys; print('hello', *sys.argv[1:]); sys.exit(1)")
    assert run(speaks, "a b", fine=(0, 1)) == 1
    assert capsys.readouterr().out == "$ python -m speaks 'a b'\nhello a b\n"


def test_a_failed_command_stops_the_notebook_with_its_last_line(module):
    fails = module("fails", "import sys; print('began'); sys.exit('error: x.mp4: is empty; give another')")
    with pytest.raises(InputError, match=r"^x\.mp4: is empty; give another$"):
        run(fails)


def test_of_a_bar_that_was_written_over_the_last_state_is_the_last_line():
    assert last_line("began\n 10%|#  \r100%|###\r\n\n") == "100%|###"


def test_stopping_a_cell_lets_the_command_save_before_it_ends(module, monkeypatch, tmp_path):
    saves = module("saves", f"""
import signal, time
def save(*_):
    open({str(tmp_path / "saved")!r}, "w").close()
    print("saved")
    raise SystemExit
signal.signal(signal.SIGTERM, save)
print("ready")
time.sleep(60)
""")  # fmt: skip

    class Stopped(io.StringIO):
        """A page whose reader presses stop once the command is ready."""

        def write(self, text):
            if text.strip() == "ready":
                raise KeyboardInterrupt
            return super().write(text)

    page = Stopped()
    monkeypatch.setattr(sys, "stdout", page)
    with pytest.raises(InputError, match="run this cell again to go on"):
        run(saves)
    assert (tmp_path / "saved").exists()
    assert page.getvalue().endswith("saved\n")


def test_a_path_with_a_blank_reaches_hydra_in_quotes(tmp_path):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for path in (tmp_path / "plain", tmp_path / "two words, it's"):
        assert OverridesParser.create().parse_override(setting("out", path)).value() == str(path)


def test_a_data_set_comes_back_from_its_archive_as_it_was_but_for_what_is_made_again(tmp_path):
    data = tmp_path / "data"
    for name in ("a/b/0.jpg", "a/b/audio.wav", "packed/96/index", "dataset.json"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
        os.utime(data / name, ns=(1, 1_700_000_000_123_456_789))
    keep(data, tmp_path / "kept" / "data.tar")
    assert not bring_back(tmp_path / "kept" / "data.tar", data)  # it is there
    again = tmp_path / "again"
    assert bring_back(tmp_path / "kept" / "data.tar", again)
    files = [path for path in again.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(again).as_posix() for path in files) == [
        "a/b/0.jpg",
        "a/b/audio.wav",
        "dataset.json",
    ]
    for path in files:
        assert path.read_text() == path.relative_to(again).as_posix()
        assert path.stat().st_mtime == pytest.approx(1_700_000_000.123457, abs=1e-6)


def test_videos_are_copied_once_and_keep_times_that_a_drive_can_keep(tmp_path):
    drive, disk = tmp_path / "drive", tmp_path / "disk"
    (drive / "day").mkdir(parents=True)
    video = drive / "day" / "a.mp4"
    video.write_bytes(b"first")
    os.utime(video, ns=(5, 1_700_000_000_987_654_321))
    bring([video], drive, disk)
    copy = disk / "day" / "a.mp4"
    assert copy.stat().st_mtime_ns == 1_700_000_000_000_000_000
    os.utime(video, ns=(5, 1_700_000_000_987_000_000))  # as Drive gives it back: to the millisecond
    copy.write_bytes(b"FIRST")
    bring([video], drive, disk)
    assert copy.read_bytes() == b"FIRST"  # of the same size: it was not copied again
    assert copy.stat().st_mtime_ns == 1_700_000_000_000_000_000


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_a_project_needs_a_plain_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="PROJECT is"):
        open_workspace(name)
    assert list(tmp_path.iterdir()) == []


def test_outside_of_colab_a_missing_file_is_named_with_where_it_belongs(tmp_path):
    with pytest.raises(InputError, match="FACE: there is no nowhere.mp4"):
        given("nowhere.mp4", "FACE")
    with pytest.raises(InputError, match=r"face holds no video; put it there"):
        upload(tmp_path / "face", "video")


def test_an_empty_field_takes_the_newest_upload_and_says_which(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("wav2lip.notebook.show.words", said.append)
    monkeypatch.setattr("wav2lip.notebook.show.sound", lambda _file: None)
    place = Workspace(tmp_path, tmp_path)
    (tmp_path / "sound").mkdir()
    for name, written in (("a.wav", 30), ("b.wav", 40), ("c.wav", 20)):
        (tmp_path / "sound" / name).write_bytes(b"x")
        os.utime(tmp_path / "sound" / name, (written, written))
    assert Inference(place).get_sound("") == tmp_path / "sound" / "b.wav"
    assert len(said) == 1 and str(tmp_path / "sound" / "b.wav") in said[0]


def test_a_plan_takes_other_steps_and_more_keys():
    plan = plan_of("own model", 0, 7, "batch_size=8 'run=a b'")
    assert (plan.expert_steps, plan.generator_steps) == (20_000, 7)
    assert plan.keys == ("batch_size=8", "run=a b")


def test_the_forms_options_are_flags_that_inference_knows():
    from wav2lip.infer import build_parser

    options = options_of(25, "all", "box", "off", "haar", "--start 5")
    args = build_parser().parse_args(["--checkpoint_path", "c", "--face", "f", "--audio", "a", *options])
    assert args.pads == [0, 25, 0, 0]
    assert (args.faces, args.blend, args.silence, args.detector, args.start) == ("all", "box", "off", "haar", 5.0)


def test_the_newest_checkpoint_of_all_projects_is_found(tmp_path):
    assert newest_trained(tmp_path) is None
    for age, name in enumerate(("new/gan/best.pth", "old/generator/best.pth", "old/expert/best.pth")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 1000 - age))
    assert newest_trained(tmp_path) == tmp_path / "new/gan/best.pth"


def test_a_sheet_has_a_square_for_each_video_in_rows_of_eight(tmp_path):
    videos = [write_video(tmp_path / f"{n}.mp4", [np.full((64, 96, 3), 20 * n, np.uint8)] * 12) for n in range(9)]
    (tmp_path / "notes.mp4").write_text("no video")
    sheet = np.asarray(Image.open(frames_sheet([tmp_path / "notes.mp4", *videos], tmp_path / "sheet.png")))
    assert sheet.shape == (2 * 112, 8 * 112, 3)
    greys = sheet[56::112, 56::112].mean(axis=2).flatten()
    assert greys[:9] == pytest.approx(20 * np.arange(9), abs=4)
    assert (greys[9:] == 255).all()


@pytest.mark.parametrize("frames", [3, 40, 2000])
def test_a_strip_shows_the_same_moments_of_two_videos_whatever_their_length(frames, tmp_path):
    shades = [np.full((32, 32, 3), 250 * n // frames, np.uint8) for n in range(frames)]
    videos = [write_video(tmp_path / f"{name}.mp4", shades) for name in "ab"]
    rows = np.asarray(Image.open(strip(videos, tmp_path / "strip.png"))).mean(axis=2)
    assert rows.shape == (360, 180 * min(8, frames - 2))
    assert rows[90] == pytest.approx(rows[270], abs=2)
    moments = rows[90, 90::180]
    assert (np.diff(moments) > 0).all()
    assert moments[-1] > (150 if frames < 750 else 70)  # of 250; of a long one the first half minute


def test_files_of_which_none_is_a_video_are_refused(tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(InputError, match="no video that can be read"):
        frames_sheet([tmp_path / "notes.mp4"], tmp_path / "sheet.png")


def test_a_large_video_is_shown_as_its_first_half_minute_with_sound(tmp_path, monkeypatch):
    sound = write_wav(tmp_path / "tone.wav", tone(33))
    frames = [np.zeros((720, 64, 3), np.uint8)] * (33 * 5)
    video = write_video(tmp_path / "long.mp4", frames, fps=5, audio=sound)
    shown, excerpts = [], []
    monkeypatch.setattr(show, "display", lambda content, **_: shown.append(content))
    monkeypatch.setattr(show, "LARGEST_VIDEO", 0)
    excerpt = show._excerpt
    monkeypatch.setattr(show, "_excerpt", lambda *args: excerpts.append(probe(excerpt(*args))) or excerpts[-1].path)
    show.video(video)
    (told,) = excerpts
    assert told.seconds == pytest.approx(30, abs=0.2)
    assert told.require_audio().rate == 16_000
    assert told.require_video().height == 360
    assert "<video controls" in shown[0]["text/html"]
    assert "The first 30 s" in shown[1].data


def test_fine_tuning_against_a_critic_is_asked_for_in_keys_that_the_trainer_knows(tmp_path, monkeypatch):
    from hydra import compose, initialize_config_module

    from wav2lip.notebook import training

    asked = []
    monkeypatch.setattr(training, "run", lambda module, *keys: asked.append((module, keys)))
    for name in ("draw_losses", "show"):
        monkeypatch.setattr(training, name, mock.Mock())
    monkeypatch.setattr(training, "logged", lambda *_: Logged(None, None, []))
    (tmp_path / "gan").mkdir()
    for file in (tmp_path / "mine.pth", tmp_path / "gan" / "last.pth"):
        file.touch()
    steps = training.Training(Workspace(tmp_path, tmp_path / "work"), plan_of("own model"))
    made = steps.train_generator(tmp_path / "expert's.pth", gan=True, start=str(tmp_path / "mine.pth"))
    assert made == tmp_path / "gan" / "last.pth"
    ((module, keys),) = asked
    assert module == "train.wav2lip_gan"
    with initialize_config_module("configs", version_base="1.3"):
        config = compose("wav2lip_gan", list(keys))
    assert config.syncnet_checkpoint_path == str(tmp_path / "expert's.pth")
    assert (config.checkpoint_path, config.reset_optimizer) == (str(tmp_path / "mine.pth"), True)
    assert (config.disc_warmup, config.max_steps, config.checkpoint_interval) == (500, 30_000, 1000)
    assert config.resume
