"""The notebooks as files, and run from top to bottom in a stand-in for Colab."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from models import Wav2Lip
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.media import probe, read_frames
from wav2lip.sample import write_sample

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STAND_IN = Path(__file__).parent / "stand_in"


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}_colab.ipynb", as_version=4)


def test_there_are_two_notebooks():
    assert [path.name for path in NOTEBOOKS] == ["inference_colab.ipynb", "train_colab.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_what_a_run_leaves_in_it(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert set(book.metadata) == {"accelerator", "colab", "kernelspec", "language_info"}
    assert book.metadata.kernelspec.name == "python3"
    for cell in book.cells:
        assert set(cell.metadata) <= {"cellView", "tags"}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_of_code_is_a_form_and_python_alone(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) > 4
    for cell in cells:
        assert cell.source.startswith("# @title ")
        assert cell.metadata.cellView == "form"
        ast.parse(cell.source)  # no shell lines, no magic


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_what_a_user_chooses_is_in_the_one_cell_of_settings(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    settings, *steps = cells
    assert settings.metadata.tags == ["parameters"]
    fields = re.findall(r"^([A-Z_]+) = .* # @param ", settings.source.replace("  # @param", " # @param"), re.MULTILINE)
    named = {node.id for node in ast.walk(ast.parse(settings.source)) if isinstance(node, ast.Name)}
    assert set(fields) == named
    assert not any("@param" in step.source for step in steps)
    for field in fields:
        assert any(re.search(rf"\b{field}\b", step.source) for step in steps), f"{field} changes nothing"


class Machine:
    """A Colab machine: what is on it is lost with it, what is on the drive is not."""

    def __init__(self, folder, drive, computer):
        self.folder, self.drive, self.computer = folder, drive, computer

    def run(self, name, without=(), **settings):
        """A notebook with other settings and without some steps, run; returns the code cells."""
        self.folder.mkdir(parents=True, exist_ok=True)
        book = read(name)
        at = next(n for n, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
        lines = [f"{field} = {value!r}" for field, value in settings.items()]
        book.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))
        left_out = tuple(f"# @title {step}" for step in without)
        book.cells = [cell for cell in book.cells if not cell.source.startswith(left_out)]
        client = NotebookClient(book, timeout=400, kernel_name="python3", resources={"metadata": {"path": self.folder}})
        env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{STAND_IN}", "DRIVE": str(self.drive), "COMPUTER": str(self.computer)}
        try:
            with pytest.MonkeyPatch.context() as patch:
                for variable, value in env.items():
                    patch.setenv(variable, value)
                client.execute()
        finally:
            nbformat.write(book, self.folder / f"{name}.ipynb")
        return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """Machines that come and go, with one drive and one computer."""
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    (tmp_path / "computer").mkdir()
    return lambda name: Machine(tmp_path / name, tmp_path / "drive", tmp_path / "computer")


def shown(cell):
    """What a cell shows besides words: kinds like image/png, and "video" and "page" for what is in HTML."""
    kinds = []
    for output in cell.outputs:
        data = output.get("data", {})
        kinds += [kind for kind in data if kind.startswith("image/")]
        kinds += [tag for tag in ("video", "iframe", "audio") if f"<{tag}" in data.get("text/html", "")]
    return kinds


def said(cell):
    """The words of a cell's output."""
    texts = [output.get("text") or output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
    return "\n".join(texts)


TINY = {
    "INSTALL_FROM": "", "PROJECT": "tiny", "ON_DRIVE": True, "VIDEOS": "upload", "PLAN": "first look",
    "DETECTOR": "haar", "EXPERT_STEPS": 4, "MORE": "model.width=0.125 batch_size=4 eval_windows=8",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1200)  # ten programs start one after the other
def test_training_goes_from_uploads_to_scores_and_goes_on_on_another_machine(colab):
    first = colab("first")
    for n, video in enumerate(write_sample(first.folder / "made", clips=4, seconds=3.4)):
        shutil.move(video, first.computer / f"take_{n}.mp4")
    project = first.drive / "wav2lip" / "tiny"

    cells = first.run("train", GENERATOR_STEPS=4, **TINY)
    titles = {cell.source.partition("\n")[0].removeprefix("# @title "): cell for cell in cells[3:]}
    assert {title: shown(cell) for title, cell in titles.items()} == {
        "2. Your videos": ["image/png"],
        "3. Doctor": ["iframe", "image/png"],
        "4. Preprocess": ["iframe", "image/png"],
        "5. Train the expert": ["image/png", "image/png"],  # losses, agreement against shift
        "6. Train the generator": ["image/png", "image/png", "image/png", "video"],  # and the strip
        "7. Lip-sync": ["image/png", "video"],
        "8. Evaluate": ["iframe"],
    }
    assert "NOT YET" in said(titles["3. Doctor"])  # 14 s are too little to tell
    result = project / "results" / "result.mp4"
    assert probe(result).require_audio().rate > 0
    assert sum(1 for _ in read_frames(result)) > 60
    assert torch.load(project / "generator" / "last.pth", weights_only=True)["global_step"] == 4

    shutil.rmtree(first.folder)
    shutil.rmtree(first.computer)  # nobody is asked for the videos again
    again = colab("second").run("train", without=("3.", "7.", "8."), GENERATOR_STEPS=6, **TINY)
    preprocessed, expert, generator = again[-3:]
    assert "was brought back" in said(preprocessed)
    assert "resume: goes on from" in said(expert)
    assert "checkpoint_step000000004.pth" in said(generator)
    assert torch.load(project / "generator" / "last.pth", weights_only=True)["global_step"] == 6


@pytest.mark.slow
def test_inference_lip_syncs_the_sample_with_a_checkpoint_that_is_uploaded(colab):
    machine = colab("machine")
    network = Wav2Lip(width=0.125)
    save_checkpoint(machine.computer / "mine.pth", Checkpoint(network.state_dict()))
    cells = machine.run("inference", FACE="sample", SOUND="sample", DETECTOR="haar", DOWNLOAD=True)
    assert [shown(cell) for cell in cells[4:]] == [["image/png"], ["audio"], ["image/png", "video"]]
    result = machine.computer / "00_speech.mp4"
    assert probe(result).require_audio().rate > 0
    assert sum(1 for _ in read_frames(result)) == 150  # 6 s at 25 frames a second


@pytest.mark.slow
def test_a_wrong_setting_stops_the_notebook_with_one_sentence(colab):
    with pytest.raises(CellExecutionError) as stopped:
        colab("machine").run("train", PLAN="everything", ON_DRIVE=False)
    assert "error: PLAN is 'everything'; choose one of first look, own model" in str(stopped.value)
    assert "training.py" not in str(stopped.value)


@pytest.fixture
def install(monkeypatch):
    """Runs a notebook's cell that installs, where the toolkit is not; gives what pip is asked for."""
    asked = []

    def pip(command, **_):
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 1 if "broken" in command[-1] else 0, "", "no such repository")

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    def run(name, source):
        cell = next(cell for cell in read(name).cells if cell.source.startswith("# @title 1. Install"))
        exec(cell.source, {"INSTALL_FROM": source})
        return asked

    return run


@pytest.mark.parametrize("name", ["train", "inference"])
def test_the_toolkit_is_installed_from_a_git_address_or_a_folder(name, install):
    install(name, "https://example.org/toolkit.git")
    assert install(name, "/content/toolkit") == ["git+https://example.org/toolkit.git", "/content/toolkit"]


@pytest.mark.parametrize("name", ["train", "inference"])
def test_where_it_cannot_be_installed_the_notebook_stops_and_says_why(name, install):
    with pytest.raises(SystemExit, match="Fill in INSTALL_FROM above"):
        install(name, "")
    with pytest.raises(SystemExit, match="no such repository"):
        install(name, "https://example.org/broken.git")
