"""Architecture rules: one-way imports, no import cycle, small folders, no work at import."""

import ast
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED_IMPORTS = {
    "models": set(),
    "face_detection": {"models"},
    "wav2lip": {"models", "face_detection"},
    "preprocess": {"wav2lip", "face_detection", "configs"},
    "train": {"wav2lip", "models", "configs"},
    "configs": {"wav2lip"},
    "workflows": {"wav2lip"},
}
# Inside the library: what several engines share must not depend on one of them.
FORBIDDEN_IMPORTS = {
    "wav2lip/engine": ("wav2lip.lipsync", "wav2lip.serve", "wav2lip.evaluation"),
    "wav2lip/restoration": ("wav2lip.lipsync", "wav2lip.serve", "wav2lip.evaluation"),
    "wav2lip/reporting": ("wav2lip.serve", "wav2lip.evaluation", "wav2lip.lipsync", "wav2lip.demo"),
    "wav2lip/sadtalker": ("wav2lip.lipsync.pipeline", "wav2lip.serve", "wav2lip.evaluation"),
    "wav2lip/lipsync": ("wav2lip.sadtalker", "wav2lip.serve", "wav2lip.evaluation"),
    "wav2lip/media": ("wav2lip.engine", "wav2lip.lipsync", "wav2lip.faces"),
    "wav2lip/execution": ("wav2lip.engine", "wav2lip.lipsync", "wav2lip.serve"),
    "wav2lip/audio": ("wav2lip.engine", "wav2lip.lipsync", "wav2lip.faces"),
}
MAX_MODULES_PER_FOLDER = 12
FILES = [path.relative_to(ROOT) for package in ALLOWED_IMPORTS for path in sorted((ROOT / package).rglob("*.py"))]


@cache
def imported_modules(path: Path) -> frozenset[str]:
    """Absolute names that a file imports, `from a import b` as both a and a.b; imports for type checking included."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def imported_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(path)}


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Imports between the project's modules; `from a import b` counts for a only if b is no module."""
    modules = {module_name(path): path for path in FILES}
    graph = {}
    for module, path in modules.items():
        names = imported_modules(path) & modules.keys()
        parents = {name.rpartition(".")[0] for name in names}
        # `from package import module` imports the module, and the package only for its own names.
        graph[module] = {name for name in names if name not in parents or _names_imported_from(path, name)} - {module}
    return graph


def _names_imported_from(path: Path, package: str) -> bool:
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            folder = ROOT / Path(*package.split("."))
            if any(not (folder / f"{a.name}.py").exists() and not (folder / a.name).is_dir() for a in node.names):
                return True
    return False


def modules_on_cycles(graph: dict[str, set[str]]) -> set[str]:
    """Return the modules left after repeatedly removing those without imports among the rest."""
    remaining = {module: set(targets) for module, targets in graph.items()}
    while leaves := {module for module, targets in remaining.items() if not targets & remaining.keys()}:
        remaining = {module: targets for module, targets in remaining.items() if module not in leaves}
    return set(remaining)


def test_files_are_found():
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_one_way(path):
    internal = imported_packages(path) & ALLOWED_IMPORTS.keys()
    assert internal <= ALLOWED_IMPORTS[path.parts[0]] | {path.parts[0]}


@pytest.mark.parametrize(("folder", "forbidden"), FORBIDDEN_IMPORTS.items(), ids=FORBIDDEN_IMPORTS.keys())
def test_shared_packages_do_not_import_engines(folder, forbidden):
    files = [path for path in FILES if path.as_posix().startswith(f"{folder}/")]
    assert files
    for path in files:
        assert [name for name in imported_modules(path) if name.startswith(forbidden)] == [], path


def test_cycle_search_finds_a_cycle():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}
    assert modules_on_cycles(graph) == {"a", "b", "c"}  # and modules that import the cycle


def test_there_is_no_import_cycle():
    graph = import_graph()
    assert sum(len(targets) for targets in graph.values()) > 500
    assert modules_on_cycles(graph) == set()


def test_folders_hold_at_most_a_dozen_modules():
    modules = Counter(path.parent.as_posix() for path in FILES if path.name not in ("__init__.py", "__main__.py"))
    assert {folder: count for folder, count in modules.items() if count > MAX_MODULES_PER_FOLDER} == {}


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "models"], ids=str)
def test_networks_need_only_torch(path):
    assert imported_packages(path) <= {"torch", "models", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "wav2lip"], ids=str)
def test_library_does_not_import_hydra(path):
    assert not imported_packages(path) & {"hydra", "omegaconf"}


ENGINES = {"ray", "flyte"}
ENGINE_FILES = ("wav2lip/execution/ray_cluster.py", "workflows/flyte_lipsync.py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_engines_are_imported_by_their_own_module_only(path):
    assert path.as_posix() in ENGINE_FILES or not imported_packages(path) & ENGINES


ENTRY_POINTS = [
    "preprocess", "preprocess.sync", "preprocess.pack", "preprocess.doctor", "train.syncnet", "train.wav2lip",
    "train.wav2lip_gan", "wav2lip.infer", "wav2lip.export", "wav2lip.evaluate", "wav2lip.demo", "wav2lip.synthetic",
    "wav2lip.serve", "wav2lip.weights", "preprocess.merge", "wav2lip.batch", "wav2lip.costs",
    "wav2lip.sadtalker", "wav2lip.prepare", "wav2lip.serve.worker", "wav2lip.serve.usage",
]  # fmt: skip
# One process for all of them: importing torch takes most of the time.
PRINT_ALL_HELP = """
import contextlib, io, json, runpy, sys
results = {}
for module in sys.argv[1:]:
    sys.argv, out, code = [module, "--help"], io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code or 0
    results[module] = code, len(out.getvalue().splitlines())
assert not {"ray", "flyte"} & sys.modules.keys()
print(json.dumps(results))
"""


def test_every_entry_point_has_help():
    command = [sys.executable, "-c", PRINT_ALL_HELP, *ENTRY_POINTS]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout.splitlines()[-1])
    assert sorted(results) == sorted(ENTRY_POINTS)
    assert {name: (code, lines > 8) for name, (code, lines) in results.items()} == dict.fromkeys(results, (0, True))
