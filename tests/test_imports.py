"""Imports point one way, and nothing happens at import."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "models": set(),
    "face_detection": set(),
    "wav2lip": {"models", "face_detection"},
    "preprocess": {"wav2lip", "face_detection", "configs"},
    "train": {"wav2lip", "models", "configs"},
    "configs": {"wav2lip"},
}
FILES = [path.relative_to(ROOT) for part in MAY_IMPORT for path in sorted((ROOT / part).rglob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_there_are_files_to_look_at():
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_one_way(path):
    ours = imported_packages(ROOT / path) & MAY_IMPORT.keys()
    assert ours <= MAY_IMPORT[path.parts[0]] | {path.parts[0]}


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "models"], ids=str)
def test_networks_need_torch_alone(path):
    assert imported_packages(ROOT / path) <= {"torch", "models", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "wav2lip"], ids=str)
def test_the_library_does_without_hydra(path):
    assert not imported_packages(ROOT / path) & {"hydra", "omegaconf"}


ENTRY_POINTS = [
    "preprocess", "preprocess.sync", "preprocess.pack", "preprocess.doctor", "train.syncnet", "train.wav2lip",
    "train.wav2lip_gan", "wav2lip.infer", "wav2lip.export", "wav2lip.evaluate", "wav2lip.demo", "wav2lip.serve",
]  # fmt: skip
# One process for all of them: most of the time is torch's import.
ASK_ALL = """
import contextlib, io, json, runpy, sys
told = {}
for module in sys.argv[1:]:
    sys.argv, out, code = [module, "--help"], io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code or 0
    told[module] = code, len(out.getvalue().splitlines())
print(json.dumps(told))
"""


def test_every_entry_point_has_help():
    command = [sys.executable, "-c", ASK_ALL, *ENTRY_POINTS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert sorted(told) == sorted(ENTRY_POINTS)
    assert {module: (code, lines > 8) for module, (code, lines) in told.items()} == dict.fromkeys(told, (0, True))
