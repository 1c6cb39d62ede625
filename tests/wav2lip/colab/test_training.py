"""Steps of the training notebook."""

from unittest import mock

from hydra import compose, initialize_config_module

from wav2lip.colab import training
from wav2lip.colab.training import TrainingNotebook, build_plan
from wav2lip.colab.training_log import TrainingLog
from wav2lip.colab.workspace import Workspace


def test_build_plan_replaces_steps_and_adds_overrides():
    plan = build_plan("full", 0, 7, "batch_size=8 'run=a b'")
    assert (plan.expert_steps, plan.generator_steps) == (20_000, 7)
    assert plan.overrides == ("batch_size=8", "run=a b")


def test_finetuning_gan_overrides_compose_a_config(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(training, "run_command", lambda module, *overrides: commands.append((module, overrides)))
    monkeypatch.setattr(training, "draw_losses", mock.Mock())
    monkeypatch.setattr(training.display, "show_image", mock.Mock())
    monkeypatch.setattr(training, "read_training_log", lambda *_: TrainingLog(None, None, []))
    (tmp_path / "gan").mkdir()
    for file in (tmp_path / "mine.pth", tmp_path / "gan" / "last.pth"):
        file.touch()
    notebook = TrainingNotebook(Workspace(tmp_path, tmp_path / "work"), build_plan("full"))
    checkpoint = notebook.train_generator(tmp_path / "expert's.pth", gan=True, start=str(tmp_path / "mine.pth"))
    assert checkpoint == tmp_path / "gan" / "last.pth"
    ((module, overrides),) = commands
    assert module == "train.wav2lip_gan"
    with initialize_config_module("configs", version_base="1.3"):
        config = compose("wav2lip_gan", list(overrides))
    assert config.syncnet_checkpoint_path == str(tmp_path / "expert's.pth")
    assert (config.checkpoint_path, config.reset_optimizer) == (str(tmp_path / "mine.pth"), True)
    assert (config.disc_warmup_steps, config.max_steps, config.checkpoint_interval) == (500, 30_000, 1000)
    assert config.resume
