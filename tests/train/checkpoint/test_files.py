"""Second names of checkpoint files, and the lock of their folder."""

import os
import subprocess
import sys

import pytest

from tests.helpers.trainers import exit_code
from tests.helpers.training import cpu_fabric
from train.checkpoint import files
from train.checkpoint.files import link_or_copy, lock_folder
from wav2lip.errors import InputError

# Another process that holds the lock until its input ends.
HOLD_LOCK = """
import sys
from pathlib import Path
from wav2lip.files import lock
with lock(Path(sys.argv[1]), "in use"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_link_or_copy_copies_without_hard_links(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("not supported")

    monkeypatch.setattr(files.os, "link", fail)
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"new"
    assert not os.path.samefile(tmp_path / "a", tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_second_run_in_a_folder_ends_with_a_sentence(tmp_path):
    partial = tmp_path / ".checkpoint_step000000003.pth.123.partial"
    partial.write_bytes(b"being written")
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / files.LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first_run:
        assert first_run.stdout.readline().strip() == b"locked"
        with pytest.raises(InputError, match="another run is training there"), lock_folder(cpu_fabric(), tmp_path):
            pass
        assert partial.exists()
        first_run.kill()  # the lock ends with its process
    with lock_folder(cpu_fabric(), tmp_path):
        assert not partial.exists()


def test_trainer_refuses_a_folder_in_use(noise_data, tmp_path):
    with lock_folder(cpu_fabric(), tmp_path), pytest.raises(InputError, match="checkpoint_dir=.*another run"):
        exit_code("syncnet", noise_data, tmp_path, None)
