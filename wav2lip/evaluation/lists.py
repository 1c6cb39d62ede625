"""The test lists that were published with the paper, line by line.

LRS2, LRS3 and LRW: two ids a line, of the clip whose sound is heard and of the clip whose face is seen, without
".mp4". ReSyncED: two file names a line, the other way round, face before sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wav2lip.crops import Pads
from wav2lip.errors import InputError

LRS, RESYNCED = "lrs", "resynced"
TTS, DUBBED = "resynced_tts", "resynced_dubbed"  # synthetic speech; every video with its own sound, without a list
PROTOCOLS = {"lrs2": LRS, "lrs3": LRS, "lrw": LRS, "resynced": RESYNCED, TTS: RESYNCED, DUBBED: RESYNCED}
OF_LRS, OF_RESYNCED = "<sound's clip id> <face's clip id>", "<face's file name> <sound's file name>"
PADS = {LRS: Pads(0, 0, 0, 0), RESYNCED: Pads(0, 10, 0, 0)}  # of the public generators


@dataclass(frozen=True)
class Pair:
    """One line of a list, with files that are there."""

    line: int  # from 0, as the public generators name their results
    face: Path
    audio: Path
    shown: Path | None = None  # what the generator is given, if that is not the face's file itself


def read_list(path: Path, data_root: Path, protocol: str, limit: int | None = None) -> list[Pair]:
    """The lines of a list, each checked; limit: the first so many.

    Raises: InputError naming file and line of the first that cannot be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not in UTF-8; take the list as it was published") from error
    pairs = [_pair(number, line, path, data_root, PROTOCOLS[protocol]) for number, line in enumerate(lines[:limit])]
    if not pairs:
        raise InputError(f"{path}: has no line; take the list as it was published")
    return pairs


def _pair(number: int, line: str, path: Path, data_root: Path, kind: str) -> Pair:
    fields = line.split()
    where = f"{path}:{number + 1}"
    if len(fields) != 2:
        wanted = OF_LRS if kind == LRS else OF_RESYNCED
        raise InputError(f"{where}: has {len(fields)} words; it has to be {wanted}")
    for name in fields:
        _check_name(name, where, kind)
    if kind == LRS:
        sound, face = (f"{name}.mp4" for name in fields)
    else:
        face, sound = fields
    for name in (face, sound):
        if not (data_root / name).is_file():
            raise InputError(f"{where}: there is no {data_root / name}; check --data_root")
    return Pair(number, data_root / face, data_root / sound)


def _check_name(name: str, where: str, kind: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"{where}: {name} leads out of the data root; give names below it")
    if kind == LRS and parts.suffix in (".mp4", ".wav"):
        raise InputError(f"{where}: {name} has an ending; clip ids have none, or choose --protocol resynced")
    if kind == RESYNCED and not parts.suffix:
        raise InputError(f"{where}: {name} has no ending; ReSyncED's lists name files, or choose --protocol lrs2")
