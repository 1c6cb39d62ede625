"""The doctor for data, run on clips that a visitor of the page uploaded: a process of its own, one at a time."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wav2lip.errors import BAD_INPUT, InputError
from wav2lip.serve.page.datasets import DATASET, REPORT
from wav2lip.serve.page.kinds import VIDEO_ENDINGS
from wav2lip.serve.page.names import plain
from wav2lip.serve.refusals import NotThere

LONGEST = 600.0  # seconds that one examination may take
EVERY = 0.5  # seconds between two looks at the process
MOST_CLIPS = 10
REMEMBERED = 20  # examinations whose reports are kept; older ones go
FIT, NOT_YET = 0, 1  # exit codes of the doctor
VERDICT = "NOT YET: "  # before each fault, in the doctor's answer
ANSWER, NEWS = "answer.txt", "news.txt"


@dataclass
class Examination:
    """One run of the doctor."""

    client: str  # who may see it
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    began: float = field(default_factory=time.monotonic)
    fit: bool | None = None  # None before it is known
    faults: list[str] = field(default_factory=list)  # why not, in the doctor's sentences

    @property
    def report(self) -> Path:
        """Folder of dataset.json and report.html."""
        return self.folder / "report"

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def news(self) -> str:
        """The last line that the doctor said of its work, "" before there is one."""
        path = self.folder / NEWS
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        return self._without_folder(lines[-1]) if lines else ""

    def _without_folder(self, text: str) -> str:
        """A sentence in which files are called as the visitor knows them."""
        return text.replace(f"{self.folder}{os.sep}", "")


class Doctor:
    """Examines clips, one set at a time; several threads may ask."""

    def __init__(self, folder: Path, longest: float = LONGEST, expert: Path | None = None):
        """folder: for what it works with; emptied at first. expert: judges sync; None: one learned from the clips.

        Raises: InputError if that is no file.
        """
        self.folder, self.longest, self.expert = folder, longest, expert
        if expert is not None and not expert.is_file():
            raise InputError(f"--expert {expert}: is no file; give a SyncNet, or leave it out")
        self.process: subprocess.Popen[bytes] | None = None  # the one that runs
        self._busy = threading.Lock()
        self._known: dict[str, Examination] = {}
        shutil.rmtree(folder, ignore_errors=True)
        atexit.register(self.end)  # where the server ends while he looks

    def examine(
        self, client: str, clips: Sequence[tuple[str, Path]], check: Callable[[str, Path], object] = lambda *_: None
    ) -> Generator[Examination, None, None]:
        """Examine clips, given as names and files; yields while it works, and at the end with what was found.

        check: opens a clip by name and file, and raises InputError if it is none; not called while the doctor is busy.

        The process ends with the iterator, however that ends.
        Raises: InputError if it is busy, if it takes too long, or with what the doctor says against the clips.
        """
        if not clips:
            raise InputError("no clip: choose a video first")
        if len(clips) > MOST_CLIPS:
            raise InputError(f"{len(clips)} clips are too many at once; choose {MOST_CLIPS} at most")
        if not self._busy.acquire(blocking=False):
            raise InputError("the doctor is looking at other clips; try again in a few minutes")
        examination = Examination(client, self.folder / secrets.token_hex(8))
        try:
            for clip in clips:
                check(*clip)
            self._prepare(examination, clips)
            yield from self._run(examination)
        finally:
            if examination.fit is None:
                self._forget(examination)
            self._busy.release()

    def find(self, client: str, id: str) -> Examination:
        """A client's own examination."""
        found = self._known.get(id)
        if found is None or found.client != client or not (found.report / REPORT).is_file():
            raise NotThere("there is no such examination; let the doctor look again")
        return found

    def end(self) -> None:
        """Let no process outlive whoever asked for it."""
        if self.process is not None:
            self.process.kill()  # nothing happens to one that has ended
            self.process.wait()
        self.process = None

    def _prepare(self, examination: Examination, clips: Sequence[tuple[str, Path]]) -> None:
        """Put clips into a folder of their own, under plain names."""
        while len(self._known) >= REMEMBERED:
            self._forget(next(iter(self._known.values())))
        self._known[examination.id] = examination
        videos = examination.folder / "clips"
        videos.mkdir(parents=True)
        for number, (name, path) in enumerate(clips, 1):
            ending = Path(name).suffix.lower()
            shutil.copyfile(path, videos / f"{number}_{plain(name)}{ending if ending in VIDEO_ENDINGS else '.mp4'}")

    def _forget(self, examination: Examination) -> None:
        self._known.pop(examination.id, None)
        shutil.rmtree(examination.folder, ignore_errors=True)

    def _run(self, examination: Examination) -> Generator[Examination, None, None]:
        command = [sys.executable, "-m", "preprocess.doctor", str(examination.folder / "clips")]
        command += ["--out", str(examination.report), "--workers", "0"]
        command += ["--expert", str(self.expert)] if self.expert is not None else []
        with contextlib.ExitStack() as files:
            answer = files.enter_context((examination.folder / ANSWER).open("wb"))
            news = files.enter_context((examination.folder / NEWS).open("wb"))
            self.process = process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=answer, stderr=news)
            files.callback(self.end)
            while process.poll() is None:
                if examination.seconds > self.longest:
                    raise InputError(
                        f"the doctor was not done after {self.longest:.0f} s; give shorter clips, or run "
                        "python -m preprocess.doctor on your own machine"
                    )
                yield examination
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(EVERY)
        shutil.rmtree(examination.folder / "clips")
        _remove_but(examination.report, (DATASET, REPORT))
        yield self._judged(examination, process.returncode)

    def _judged(self, examination: Examination, code: int) -> Examination:
        if code == BAD_INPUT:
            raise InputError(examination.news().removeprefix("error: "))
        if code not in (FIT, NOT_YET):
            raise RuntimeError(f"the doctor ended with {code}: {examination.news()}")
        lines = (examination.folder / ANSWER).read_text(encoding="utf-8").splitlines()
        examination.fit = code == FIT
        examination.faults = [line.removeprefix(VERDICT) for line in lines if line.startswith(VERDICT)]
        return examination


def _remove_but(folder: Path, kept: Sequence[str]) -> None:
    """Remove the pictures and sounds that were cut; what is kept tells of them."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in kept:
            path.unlink()
