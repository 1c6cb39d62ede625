"""Data doctor on uploaded clips: `python -m preprocess.doctor` in a subprocess, one at a time."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wav2lip.cli import EXIT_BAD_INPUT
from wav2lip.errors import InputError
from wav2lip.media.suffixes import VIDEO_SUFFIXES
from wav2lip.serve.errors import NotFound
from wav2lip.serve.jobs.limited_process import ProcessLimits, build_command
from wav2lip.serve.jobs.retention import DOCTOR_TIMEOUT_S, EXAMINATION_NAME
from wav2lip.serve.ui.datasets import DESCRIPTION, REPORT
from wav2lip.serve.ui.media_files import sanitize_stem

POLL_INTERVAL_S = 0.5
MEMORY_MIB = 8192  # the networks and the frames of ten clips
FILE_MIB = 4096  # largest file that it writes
MAX_CLIPS = 10
MAX_EXAMINATIONS = 20  # stored reports; older ones are deleted
EXIT_FIT, EXIT_NOT_YET = 0, 1  # exit codes of the doctor
FAULT_PREFIX = "NOT YET: "  # marks faults in the output of the doctor
OUTPUT_FILE, LOG_FILE = "stdout.txt", "stderr.txt"


@dataclass
class Examination:
    """One run of the doctor."""

    client: str  # the only client that may see it
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    started: float = field(default_factory=time.monotonic)
    fit: bool | None = None  # None until the doctor has finished
    faults: list[str] = field(default_factory=list)  # reasons why the clips are not fit

    @property
    def report(self) -> Path:
        """Folder of dataset.json and report.html."""
        return self.folder / "report"

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def last_message(self) -> str:
        """Return the last line that the doctor logged; empty before the first one."""
        path = self.folder / LOG_FILE
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        # Clients must not see paths of the server.
        return lines[-1].replace(f"{self.folder}{os.sep}", "") if lines else ""


class Doctor:
    """Runner of the doctor, one examination at a time; thread-safe."""

    def __init__(self, folder: Path, timeout_s: float = DOCTOR_TIMEOUT_S, expert: Path | None = None):
        """folder: working folder, from which earlier examinations are deleted. expert: SyncNet for sync scores; None:
        one fitted to the clips.

        Raises: InputError if `expert` is not a file.
        """
        self.folder, self.timeout_s, self.expert = folder, timeout_s, expert
        if expert is not None and not expert.is_file():
            raise InputError(f"--expert={expert}: must be a file; give a SyncNet checkpoint, or omit the flag")
        self.process: subprocess.Popen[bytes] | None = None
        self._busy = threading.Lock()
        self._examinations: dict[str, Examination] = {}
        for path in folder.iterdir() if folder.is_dir() else ():  # of a killed server
            if EXAMINATION_NAME.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
        atexit.register(self.kill)  # the server may exit during an examination

    def examine(
        self, client: str, clips: Sequence[tuple[str, Path]], check: Callable[[str, Path], object] = lambda *_: None
    ) -> Generator[Examination, None, None]:
        """Examine clips, pairs of name and file; yield while the doctor works, and once with its verdict.

        The subprocess ends when the generator is closed.
        check: raises InputError for an invalid clip; called with name and file, and only when the doctor is free.
        Raises: InputError if the doctor is busy, takes too long or rejects the clips.
        """
        if not clips:
            raise InputError("no clip: choose a video first")
        if len(clips) > MAX_CLIPS:
            raise InputError(f"{len(clips)} clips: must be at most {MAX_CLIPS}; choose fewer")
        if not self._busy.acquire(blocking=False):
            raise InputError("the doctor is busy with other clips; try again in a few minutes")
        examination = Examination(client, self.folder / secrets.token_hex(8))
        try:
            for clip in clips:
                check(*clip)
            self._prepare(examination, clips)
            yield from self._run(examination)
        finally:
            if examination.fit is None:
                self._delete(examination)
            self._busy.release()

    def find(self, client: str, id: str) -> Examination:
        """Return one of the client's finished examinations."""
        examination = self._examinations.get(id)
        if examination is None or examination.client != client or not (examination.report / REPORT).is_file():
            raise NotFound("no such examination; run the doctor again")
        return examination

    def kill(self) -> None:
        """Kill the subprocess, if there is one."""
        if self.process is not None:
            self.process.kill()  # no effect on a finished process
            self.process.wait()
        self.process = None

    def _prepare(self, examination: Examination, clips: Sequence[tuple[str, Path]]) -> None:
        """Copy the clips to a folder of their own under safe names."""
        while len(self._examinations) >= MAX_EXAMINATIONS:
            self._delete(next(iter(self._examinations.values())))
        self._examinations[examination.id] = examination
        videos = examination.folder / "clips"
        videos.mkdir(parents=True)
        for number, (name, path) in enumerate(clips, 1):
            suffix = Path(name).suffix.lower()
            suffix = suffix if suffix in VIDEO_SUFFIXES else ".mp4"
            shutil.copyfile(path, videos / f"{number}_{sanitize_stem(name)}{suffix}")

    def _delete(self, examination: Examination) -> None:
        self._examinations.pop(examination.id, None)
        shutil.rmtree(examination.folder, ignore_errors=True)

    def _run(self, examination: Examination) -> Generator[Examination, None, None]:
        arguments = [str(examination.folder / "clips"), "--out", str(examination.report), "--workers", "0"]
        arguments += ["--expert", str(self.expert)] if self.expert is not None else []
        limits = ProcessLimits(MEMORY_MIB, max(1, round(self.timeout_s * (os.cpu_count() or 1))), FILE_MIB)
        command = build_command(limits, "preprocess.doctor", *arguments)
        with contextlib.ExitStack() as files:
            stdout = files.enter_context((examination.folder / OUTPUT_FILE).open("wb"))
            stderr = files.enter_context((examination.folder / LOG_FILE).open("wb"))
            self.process = process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
            files.callback(self.kill)
            while process.poll() is None:
                if examination.seconds > self.timeout_s:
                    raise InputError(
                        f"the doctor did not finish within {self.timeout_s:.0f} s; upload shorter clips, or run "
                        "python -m preprocess.doctor on your own machine"
                    )
                yield examination
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_INTERVAL_S)
        shutil.rmtree(examination.folder / "clips")
        _delete_all_but(examination.report, (DESCRIPTION, REPORT))
        yield self._read_verdict(examination, process.returncode)

    def _read_verdict(self, examination: Examination, code: int) -> Examination:
        if code == EXIT_BAD_INPUT:
            raise InputError(examination.last_message().removeprefix("error: "))
        if code not in (EXIT_FIT, EXIT_NOT_YET):
            raise RuntimeError(f"the doctor exited with code {code}: {examination.last_message()}")
        lines = (examination.folder / OUTPUT_FILE).read_text(encoding="utf-8").splitlines()
        examination.fit = code == EXIT_FIT
        examination.faults = [line.removeprefix(FAULT_PREFIX) for line in lines if line.startswith(FAULT_PREFIX)]
        return examination


def _delete_all_but(folder: Path, names: Sequence[str]) -> None:
    """Delete the crops and audio of the clips; the report does not need them."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in names:
            path.unlink()
