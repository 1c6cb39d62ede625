"""Start of every command: environment of torch, and packages that exclude each other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import ENTRY_POINTS
from wav2lip import cli

# Start each command up to its import of torch, and record the variable there.
STOP_AT_TORCH = """
import json, os, runpy, sys
user_value, *commands = sys.argv[1:]
values = {}
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            values[command] = os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK")
            raise SystemExit
sys.meta_path.insert(0, Stop())
for command in commands:
    for name in [name for name in sys.modules if name.split(".")[0] in
                 ("configs", "face_detection", "models", "preprocess", "train", "wav2lip")]:
        del sys.modules[name]
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)
    if user_value:
        os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] = user_value
    sys.argv = [command, "--help"]
    try:
        runpy.run_module(command, run_name="__main__")
    except SystemExit:
        pass
print(json.dumps(values))
"""


@pytest.mark.parametrize(("user_value", "expected"), [("", "1"), ("0", "0")])
def test_mps_fallback_is_set_before_torch_in_every_command(user_value, expected):
    command = [sys.executable, "-c", STOP_AT_TORCH, user_value, *ENTRY_POINTS]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    values = json.loads(process.stdout.splitlines()[-1])
    outside = {name for name in ENTRY_POINTS if not name.startswith("wav2lip.")}  # of the package that sets it
    assert len(outside) > 6
    assert set(values) >= outside | {"wav2lip.infer", "wav2lip.evaluate"}  # the help of a few needs no torch
    assert set(values.values()) == {expected}


def install_wheel(folder: Path, name: str) -> None:
    """Write the metadata of an installed package."""
    metadata = folder / f"{name.replace('-', '_')}-4.10.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.10.0\n")


def test_two_opencv_wheels_are_one_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    install_wheel(tmp_path, "opencv-python-headless")
    with pytest.raises(SystemExit):
        cli.run(lambda: 0)
    assert caplog.messages == []
    install_wheel(tmp_path, "opencv-python")
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: 0)
    assert ended.value.code == 0
    assert caplog.messages == [
        "opencv-python and opencv-python-headless are installed and overwrite each other's files; keep one: "
        'pip uninstall -y opencv-python opencv-python-headless, then pip install "opencv-python-headless<5"'
    ]
