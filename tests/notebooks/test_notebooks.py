"""The notebooks as files, and executed from top to bottom with a fake of google.colab."""

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
from wav2lip.colab.training import PLANS
from wav2lip.engine.option_parsing import option_specs
from wav2lip.lipsync.options import LipSyncOptions
from wav2lip.media import probe, read_frames
from wav2lip.synthetic import write_videos

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FAKE_COLAB = Path(__file__).parent / "fake_colab"


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}_colab.ipynb", as_version=4)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def form_choices(name):
    """Return the drop-down choices of a notebook's form by field."""
    settings = code_cells(read(name))[0].source
    return {field: ast.literal_eval(choices)
            for field, choices in re.findall(r"^([A-Z_]+) = .*# @param (\[.*?\])", settings, re.MULTILINE)}  # fmt: skip


def test_there_are_two_notebooks():
    assert [path.name for path in NOTEBOOKS] == ["inference_colab.ipynb", "train_colab.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_stored_without_outputs(path):
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
def test_code_cells_are_forms_in_plain_python(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert len(cells) > 4
    for cell in cells:
        assert cell.source.startswith("# @title ")
        assert cell.metadata.cellView == "form"
        ast.parse(cell.source)  # rejects shell lines and magics


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_form_fields_are_all_in_the_first_cell_and_used(path):
    settings, *steps = code_cells(nbformat.read(path, as_version=4))
    assert settings.metadata.tags == ["parameters"]
    fields = re.findall(r"^([A-Z_]+) = .* # @param ", settings.source.replace("  # @param", " # @param"), re.MULTILINE)
    names = {node.id for node in ast.walk(ast.parse(settings.source)) if isinstance(node, ast.Name)}
    assert set(fields) == names
    assert not any("@param" in step.source for step in steps)
    for field in fields:
        assert any(re.search(rf"\b{field}\b", step.source) for step in steps), f"{field} is not used"


def test_form_choices_are_those_of_the_options():
    choices, specs = form_choices("inference"), option_specs(LipSyncOptions)
    for field, name in (("BLEND", "blend"), ("SILENCE", "silence")):
        assert choices[field] == list(specs[name].choices)
    assert set(choices["FACES"]) <= set(specs["faces"].choices)
    assert form_choices("train")["PLAN"] == list(PLANS)


class Machine:
    """A Colab machine, whose folder is lost with it while the drive persists."""

    def __init__(self, folder, drive, computer):
        self.folder, self.drive, self.computer = folder, drive, computer

    def run(self, name, skip_steps=(), **settings):
        """Execute a notebook with changed settings and without some steps; return the code cells."""
        self.folder.mkdir(parents=True, exist_ok=True)
        book = read(name)
        form = next(n for n, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
        lines = [f"{field} = {value!r}" for field, value in settings.items()]
        book.cells.insert(form + 1, nbformat.v4.new_code_cell("\n".join(lines)))
        titles = tuple(f"# @title {step}" for step in skip_steps)
        book.cells = [cell for cell in book.cells if not cell.source.startswith(titles)]
        client = NotebookClient(book, timeout=400, kernel_name="python3", resources={"metadata": {"path": self.folder}})
        env = {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{FAKE_COLAB}",
            "DRIVE": str(self.drive),
            "COMPUTER": str(self.computer),
        }
        try:
            with pytest.MonkeyPatch.context() as patch:
                for variable, value in env.items():
                    patch.setenv(variable, value)
                client.execute()
        finally:
            nbformat.write(book, self.folder / f"{name}.ipynb")
        return code_cells(book)


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """Factory of machines that share one drive and one computer."""
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    (tmp_path / "computer").mkdir()
    return lambda name: Machine(tmp_path / name, tmp_path / "drive", tmp_path / "computer")


def media_outputs(cell):
    """Return the kinds of media that a cell displays: image/png, and the tags video, iframe and audio in HTML."""
    kinds = []
    for output in cell.outputs:
        data = output.get("data", {})
        kinds += [kind for kind in data if kind.startswith("image/")]
        kinds += [tag for tag in ("video", "iframe", "audio") if f"<{tag}" in data.get("text/html", "")]
    return kinds


def text_output(cell):
    """Return the text of a cell's output."""
    texts = [output.get("text") or output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
    return "\n".join(texts)


TINY = {
    "INSTALL_FROM": "", "PROJECT": "tiny", "USE_DRIVE": True, "VIDEOS": "upload", "PLAN": "quick", "DETECTOR": "haar",
    "EXPERT_STEPS": 4, "EXTRA_OVERRIDES": "model.width=0.125 batch_size=4 eval_windows=8",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(2400)  # ten commands start one after the other
def test_train_notebook_runs_and_resumes_on_another_machine(colab):
    first = colab("first")
    for n, video in enumerate(write_videos(first.folder / "synthetic", count=4, seconds=3.4)):
        shutil.move(video, first.computer / f"video_{n}.mp4")
    project = first.drive / "wav2lip" / "tiny"

    cells = first.run("train", GENERATOR_STEPS=4, **TINY)
    steps = {cell.source.partition("\n")[0].removeprefix("# @title "): cell for cell in cells[3:]}
    assert {title: media_outputs(cell) for title, cell in steps.items()} == {
        "2. Videos": ["image/png"],
        "3. Doctor": ["iframe", "image/png"],
        "4. Preprocess": ["iframe", "image/png"],
        "5. Train the expert": ["image/png", "image/png"],  # losses, offset curve
        "6. Train the generator": ["image/png", "image/png", "image/png", "video"],  # the strip too
        "7. Lip-sync": ["image/png", "video"],
        "8. Evaluate": ["iframe"],
    }
    assert "NOT YET" in text_output(steps["3. Doctor"])  # 14 s are too little for a verdict
    result = project / "results" / "result.mp4"
    assert probe(result).require_audio().rate > 0
    assert sum(1 for _ in read_frames(result)) > 60
    assert torch.load(project / "generator" / "last.pth", weights_only=True)["global_step"] == 4

    shutil.rmtree(first.folder)
    shutil.rmtree(first.computer)  # the second run must not ask for uploads
    cells = colab("second").run("train", skip_steps=("3.", "7.", "8."), GENERATOR_STEPS=6, **TINY)
    preprocess, expert, generator = cells[-3:]
    assert "Restored" in text_output(preprocess)
    assert "resum" in text_output(expert)
    assert "checkpoint_step000000004.pth" in text_output(generator)
    assert torch.load(project / "generator" / "last.pth", weights_only=True)["global_step"] == 6


@pytest.mark.slow
def test_inference_notebook_lip_syncs_the_sample(colab):
    machine = colab("machine")
    network = Wav2Lip(width=0.125)
    save_checkpoint(machine.computer / "mine.pth", Checkpoint(network.state_dict()))
    cells = machine.run("inference", FACE="sample", AUDIO="sample", DETECTOR="haar", DOWNLOAD=True)
    assert [media_outputs(cell) for cell in cells[4:]] == [["image/png"], ["audio"], ["image/png", "video"]]
    result = machine.computer / "00_speech.mp4"
    assert probe(result).require_audio().rate > 0
    assert sum(1 for _ in read_frames(result)) == 150  # 6 s at 25 fps


@pytest.mark.slow
def test_invalid_setting_stops_the_notebook_without_traceback(colab):
    with pytest.raises(CellExecutionError) as raised:
        colab("machine").run("train", PLAN="everything", USE_DRIVE=False)
    assert "error: PLAN='everything': must be one of quick, full" in str(raised.value)
    assert "training.py" not in str(raised.value)


@pytest.fixture
def install(monkeypatch):
    """Run a notebook's install cell as if the toolkit were missing; return the sources passed to pip."""
    sources = []

    def pip(command, **_):
        sources.append(command[-1])
        return subprocess.CompletedProcess(command, 1 if "broken" in command[-1] else 0, "", "no such repository")

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    def run(name, source):
        cell = next(cell for cell in read(name).cells if cell.source.startswith("# @title 1. Install"))
        exec(cell.source, {"INSTALL_FROM": source})
        return sources

    return run


@pytest.mark.parametrize("name", ["train", "inference"])
def test_install_cell_accepts_git_url_or_folder(name, install):
    install(name, "https://example.org/toolkit.git")
    assert install(name, "/content/toolkit") == ["git+https://example.org/toolkit.git", "/content/toolkit"]


@pytest.mark.parametrize("name", ["train", "inference"])
def test_install_cell_stops_with_the_reason(name, install):
    with pytest.raises(SystemExit, match="INSTALL_FROM is empty"):
        install(name, "")
    with pytest.raises(SystemExit, match="no such repository"):
        install(name, "https://example.org/broken.git")
