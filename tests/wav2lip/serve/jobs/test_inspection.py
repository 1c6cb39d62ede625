"""MediaInspector: child processes with limits, a bounded number at once."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.media import write_wav
from tests.helpers.serve import save_upload
from wav2lip.errors import InputError
from wav2lip.serve.errors import RateLimited, Unavailable
from wav2lip.serve.jobs import inspection
from wav2lip.serve.jobs.inspection import MAX_PER_CLIENT, MAX_PROCESSES, MediaInspector
from wav2lip.serve.jobs.limited_process import ProcessLimits
from wav2lip.serve.settings import Settings

HELPER = "tests.helpers.inspection_child"


@pytest.fixture
def make_inspector(monkeypatch, tmp_path, child_processes):
    """Build an inspector whose children behave as their file says instead of decoding it."""
    monkeypatch.setattr(inspection, "MODULE", HELPER)
    monkeypatch.chdir(Path(__file__).parents[4])

    def make(**settings: object) -> tuple[MediaInspector, Path]:
        return MediaInspector(Settings(**settings)), tmp_path  # type: ignore[arg-type]

    return make


def write(folder: Path, behavior: str) -> Path:
    path = folder / behavior
    path.write_text(behavior)
    return path


def test_file_that_takes_too_long_is_refused_in_time(make_inspector):
    inspector, folder = make_inspector(inspect_seconds=0.5)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"a\.mp4: cannot be checked within 0.5 s"):
        inspector.inspect("ann", write(folder, "sleep"), "a.mp4")
    assert time.monotonic() - start < 5


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and file size are enforced on Linux")
@pytest.mark.parametrize("behavior", ["allocate", "write", "crash"])
def test_file_that_fills_memory_or_disk_or_crashes_is_refused(make_inspector, monkeypatch, behavior):
    monkeypatch.setattr(inspection, "MEMORY_MIB", 512)
    inspector, folder = make_inspector()
    with pytest.raises(InputError, match=r"a\.mp4: decoding takes too much memory or time, or crashes"):
        inspector.inspect("ann", write(folder, behavior), "a.mp4")
    assert not (folder / "written").exists() or (folder / "written").stat().st_size == 0


@pytest.mark.skipif(not hasattr(os, "times"), reason="needs POSIX")
def test_processes_are_bounded_in_all_and_per_client(make_inspector):
    inspector, folder = make_inspector(inspect_seconds=30.0)
    path = write(folder, "sleep")

    def inspect(client: str) -> str:
        try:
            inspector.inspect(client, path, "a.mp4")
        except (InputError, Unavailable) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(12) as pool:
        results = [pool.submit(inspect, client) for client in ["ann"] * MAX_PER_CLIENT + ["bob"] * 2 + ["eve"]]
        deadline = time.monotonic() + 10
        while sum(inspector._pending.values()) < len(results) or len(inspector._running) < MAX_PROCESSES:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert len(inspector._running) == MAX_PROCESSES and len(set(inspector._running)) == MAX_PROCESSES
        with pytest.raises(RateLimited, match="4 of your files"):
            inspector.inspect("ann", path, "a.mp4")
        inspector.close()  # ends all at once, also those that sleep
        assert all("try again later" in result.result(timeout=10) for result in results)
    assert threading.active_count() < 50


def test_limits_of_a_child_are_those_of_its_command(tmp_path):
    if sys.platform != "linux":
        pytest.skip("limits of memory are enforced on Linux")
    import resource
    import subprocess

    from wav2lip.serve.jobs.limited_process import build_command

    command = build_command(ProcessLimits(700, 9, 3), "tests.helpers.inspection_child", "limits")
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4]).stdout
    assert output.split() == [str(700 << 20), "9", str(3 << 20), "0"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3 << 20  # this process is not limited


def test_uploads_are_decoded_in_a_child_process(make_service, media, child_processes, monkeypatch):
    monkeypatch.setattr("av.open", lambda *_, **__: pytest.fail("decoded in the server"))
    uploads = make_service().uploads
    video = uploads.save("ann", media / "face.mp4", "a.mp4", "face")
    assert (video.width, video.height, video.still) == (64, 64, False)
    with pytest.raises(InputError, match=r"my clip: is not a supported"):
        save_upload(uploads, b"text" * 100, "my clip")
    with pytest.raises(InputError, match=r"a\.wav: sample rate of 1 Hz: must be between 4000 and 768000 Hz"):
        uploads.save("ann", write_wav(media / "1hz.wav", np.zeros(90), 1), "a.wav")
