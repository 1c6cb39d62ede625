"""What every stage has found out: a line for each unit, only ever added to, so that a killed run loses nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from wav2lip.errors import InputError

STATE = ".stages"  # folder under ROOT; no clip is called so, since their names begin with no dot
OK, REJECTED, FAILED = "ok", "rejected", "failed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What a stage found out about a unit: a video, a part of one, or a clip."""

    stage: str
    key: str  # of the unit
    fingerprint: str  # of what the unit was then and of the settings; another one makes the record void
    fate: str = OK  # OK; REJECTED: the input's fault; FAILED: ours or the machine's, tried again by the next run
    cause: str = ""  # why not OK, in the same few words for every such unit, to count by
    reason: str = ""  # why not OK, with this unit's figures
    figures: dict[str, Any] = field(default_factory=dict)  # JSON values


def digest(*values: object) -> str:
    """Twelve letters that differ where one of the values, made of JSON types, does."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Manifest:
    """ROOT/.stages/STAGE.jsonl for each stage, held by one run at a time. Use as a context manager."""

    def __init__(self, root: Path):
        self.root = root
        self.folder = root / STATE
        self._files: dict[str, BinaryIO] = {}
        self._latest: dict[str, dict[str, Record]] = {}  # by stage and key

    def __enter__(self) -> Manifest:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("ab")
        self._keep_others_out()
        return self

    def _keep_others_out(self) -> None:
        """The system lets go of the file when this process ends, however it ends."""
        taken = f"{self.root}: another run is writing there; wait for it or choose another out="
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(self._lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self._lock.close()
            raise InputError(taken) from error
        except OSError as error:
            log.warning("%s: has no file locks (%s); see that no second run writes there", self.root, error)

    def find(self, stage: str, key: str, fingerprint: str) -> Record | None:
        """What a stage found out about a unit as it is now, if it did."""
        record = self.records(stage).get(key)
        return record if record is not None and record.fingerprint == fingerprint else None

    def records(self, stage: str) -> dict[str, Record]:
        """The latest record of each unit, by key.

        Raises: InputError if a line is damaged; one that a killed run had only begun is dropped.
        """
        if stage not in self._latest:
            self._latest[stage] = self._read(stage)
        return self._latest[stage]

    def _read(self, stage: str) -> dict[str, Record]:
        path = self.folder / f"{stage}.jsonl"
        file = self._files[stage] = path.open("a+b")
        file.seek(0)
        records: dict[str, Record] = {}
        whole = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                record = Record(stage, **json.loads(line))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{path}: line {number} is damaged; delete the line, its unit is then done again"
                ) from error
            records[record.key] = record
        if file.seek(0, os.SEEK_END) > whole:
            file.truncate(whole)
        return records

    def add(self, record: Record) -> None:
        """Remember a record for good."""
        records = self.records(record.stage)
        line = asdict(record)
        del line["stage"]
        file = self._files[record.stage]
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        records[record.key] = record

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._lock.close()
