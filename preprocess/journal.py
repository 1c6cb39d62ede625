"""What earlier runs finished: a line for each input, only ever added to, so that a killed run loses nothing."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from preprocess.fates import Outcome
from preprocess.ingest import Source
from preprocess.settings import Settings
from wav2lip.errors import InputError

JOURNAL = "journal.jsonl"

log = logging.getLogger(__name__)


class Journal:
    """ROOT/journal.jsonl, held by one run at a time. Use as a context manager."""

    def __init__(self, root: Path, settings: Settings):
        self.path = root / JOURNAL
        self.settings = settings
        self._latest: dict[str, dict[str, Any]] = {}  # by clip

    def __enter__(self) -> Journal:
        self._file = self.path.open("a+b")
        self._lock()
        self._drop_torn_line()
        self._file.seek(0)
        for number, line in enumerate(self._file, start=1):
            try:
                entry = json.loads(line)
                self._latest[entry["clip"]] = entry
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path}: line {number} is damaged; delete the line, its video is then done again"
                ) from error
        return self

    def _lock(self) -> None:
        """Keep a second run out; the system lets go of the file when this process ends, however it ends."""
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path.parent}: another run is writing there; wait for it or choose another out="
            ) from error
        except OSError as error:
            log.warning("%s: has no file locks (%s); see that no second run writes there", self.path.parent, error)

    def _drop_torn_line(self) -> None:
        """Cut off what a killed run had begun to write."""
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if line.endswith(b"\n"):
                whole += len(line)
        if self._file.tell() > whole:
            self._file.truncate(whole)

    def find(self, source: Source) -> Outcome | None:
        """What became of a source, if it was done as it is now and with the same settings."""
        entry = self._latest.get(source.clip)
        if entry is None:
            return None
        as_before = (entry["source"], entry["fingerprint"], entry["settings"])
        if as_before != (source.name, source.fingerprint, self.settings.fingerprint):
            return None
        return Outcome.from_json(entry)

    def clips(self) -> set[str]:
        """The clips of all earlier runs."""
        return {clip for clip, entry in self._latest.items() if entry["fate"] == "ok"}

    def add(self, source: Source, outcome: Outcome) -> None:
        """Remember an outcome for good."""
        entry = {**asdict(outcome), "fingerprint": source.fingerprint, "settings": self.settings.fingerprint}
        self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
