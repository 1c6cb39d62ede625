"""The repository ships no file list."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_no_filelist_is_shipped():
    process = subprocess.run(["git", "ls-files", "filelists"], cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        pytest.skip("not a git checkout")
    assert process.stdout.split() == ["filelists/README.md"]
