"""Append-only records of every stage: one JSON line per input, so that a killed run loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from wav2lip.errors import InputError
from wav2lip.files import lock

STATE_FOLDER = ".stages"  # under the data root; clip ids never begin with a dot
OK, REJECTED, FAILED = "ok", "rejected", "failed"


@dataclass(frozen=True)
class Record:
    """Result of one stage for one input: a video, a chunk of one, or a clip."""

    stage: str
    key: str  # name of the input
    fingerprint: str  # hash of the input and the settings; the record is void when it changes
    status: str = OK  # OK; REJECTED: the input is at fault; FAILED: a fault of the program, retried by the next run
    cause: str = ""  # short reason, the same for every input with this fault, to count by
    reason: str = ""  # full sentence with the figures of this input
    data: dict[str, Any] = field(default_factory=dict)  # JSON values
    usage: dict[str, Any] = field(default_factory=dict, compare=False)  # see `Usage`; empty: not measured
    cached: bool = field(default=False, compare=False)  # taken from an earlier run; never in a file


def hash_values(*values: object) -> str:
    """Return twelve hex digits of a hash over values of JSON types."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def parse_record(line: bytes, path: Path, number: int) -> Record:
    """Parse line `number` of a file STAGE.jsonl. Raises: InputError if it is corrupt."""
    try:
        return Record(path.stem, **json.loads(line))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: line {number} is corrupt; delete the line to redo its input") from error


def read_records(path: Path) -> dict[str, Record]:
    """Return the latest record of each input in a file STAGE.jsonl, by key; without the file there is none.

    Raises: InputError if a line is corrupt; an incomplete last line of a killed run is skipped.
    """
    records: dict[str, Record] = {}
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    record = parse_record(line, path, number)
                    records[record.key] = record
    return records


class Manifest:
    """FOLDER/STAGE.jsonl of each stage, locked by one run at a time. Use as a context manager."""

    def __init__(self, root: Path, folder: Path | None = None):
        """root: folder that the run writes. folder: for the records; None: ROOT/.stages."""
        self.root = root
        self.folder = root / STATE_FOLDER if folder is None else folder
        self._files: dict[str, BinaryIO] = {}
        self._latest: dict[str, dict[str, Record]] = {}  # keys: stage, then name of the input

    def __enter__(self) -> Manifest:
        self.folder.mkdir(parents=True, exist_ok=True)
        message = f"{self.root}: another run is writing there; wait for it or choose another out="
        with ExitStack() as stack:
            stack.enter_context(lock(self.folder / "lock", message))
            self._stack = stack.pop_all()
        return self

    def find(self, stage: str, key: str, fingerprint: str) -> Record | None:
        """Return the record of an input if its fingerprint is up to date."""
        record = self.records(stage).get(key)
        return record if record is not None and record.fingerprint == fingerprint else None

    def records(self, stage: str) -> dict[str, Record]:
        """Return the latest record of each input, by key.

        Raises: InputError if a line is corrupt; an incomplete last line of a killed run is dropped.
        """
        if stage not in self._latest:
            self._latest[stage] = self._read(stage)
        return self._latest[stage]

    def _read(self, stage: str) -> dict[str, Record]:
        path = self.folder / f"{stage}.jsonl"
        file = self._files[stage] = path.open("a+b")
        file.seek(0)
        complete = sum(len(line) for line in file if line.endswith(b"\n"))  # bytes
        if file.seek(0, os.SEEK_END) > complete:
            file.truncate(complete)
        return read_records(path)

    def add(self, record: Record, flush: bool = True) -> None:
        """Append a record. flush: to the disk at once; not needed where the record can be copied again."""
        records = self.records(record.stage)
        line = asdict(record)
        del line["stage"], line["cached"]
        file = self._files[record.stage]
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        if flush:
            file.flush()
            os.fsync(file.fileno())
        records[record.key] = record

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._stack.close()
