"""Test protocols of the paper, with their published lists.

LRS2, LRS3 and LRW: two ids per line, without ".mp4": the clip of the audio, then the clip of the face. ReSyncED: two
file names per line in the opposite order, the face first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wav2lip.dataset.filelist import COLUMN_SEPARATOR, Line, clean_name, read_lines
from wav2lip.errors import InputError
from wav2lip.faces.boxes import Pads
from wav2lip.faces.framing import PUBLIC_FRAMING

LRS, RESYNCED = "lrs", "resynced"
TTS, DUBBED = "resynced_tts", "resynced_dubbed"  # synthetic speech; every video with its own audio, without a list
PROTOCOLS = {"lrs2": LRS, "lrs3": LRS, "lrw": LRS, "resynced": RESYNCED, TTS: RESYNCED, DUBBED: RESYNCED}
LINE_FORMATS = {
    LRS: "<clip id of the audio> <clip id of the face>",
    RESYNCED: "<file name of the face> <file name of the audio>",
}
PADS = {LRS: Pads(), RESYNCED: PUBLIC_FRAMING.pads}  # pads of upstream's scripts


@dataclass(frozen=True)
class Pair:
    """One line of a list, with files that exist."""

    line: int  # from 0; upstream's scripts name their results by it
    face: Path
    audio: Path
    prepared: Path | None = None  # input of the generator, if not the face's file itself


def read_list(path: Path, data_root: Path, protocol: str, limit: int | None = None) -> list[Pair]:
    """Read and check the first `limit` lines of a list.

    Raises: InputError with file and line of the first invalid one.
    """
    return [_parse_line(line, data_root, PROTOCOLS[protocol]) for line in read_lines(path)[:limit]]


def _parse_line(line: Line, data_root: Path, kind: str) -> Pair:
    fields = [clean_name(field) for field in COLUMN_SEPARATOR.sub(" ", line.text).split()]
    if len(fields) != 2:
        raise InputError(f"{line}: has {len(fields)} words: must be {LINE_FORMATS[kind]}")
    for name in fields:
        _check_name(name, line, kind)
    if kind == LRS:
        audio, face = (f"{name.removesuffix('.mp4')}.mp4" for name in fields)
    else:
        face, audio = fields
    for name in (face, audio):
        if not (data_root / name).is_file():
            raise InputError(f"{line}: no such file {data_root / name}; check --data_root")
    return Pair(line.number - 1, data_root / face, data_root / audio)


def _check_name(name: str, line: Line, kind: str) -> None:
    path = PurePosixPath(name)
    if ".." in path.parts:
        raise InputError(f"{line}: {name} must lie below the data root")
    if kind == RESYNCED and not path.suffix:
        raise InputError(f"{line}: {name} has no suffix; ReSyncED's lists name files, or choose --protocol lrs2")
