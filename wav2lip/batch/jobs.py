"""Jobs of a batch, from a table or from two folders; a row that cannot be done keeps its reason."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from wav2lip.dataset.filelist import guess_encoding
from wav2lip.dataset.input_folder import is_ignored
from wav2lip.engine.option_parsing import (
    OptionSpec,
    add_arguments,
    file_options,
    format_flags,
    option_specs,
    parse_options,
)
from wav2lip.engines import ENGINES, SADTALKER, WAV2LIP, EngineOptions
from wav2lip.errors import InputError, file_error
from wav2lip.hashing import hash_file
from wav2lip.lipsync.audio_input import check_num_voices
from wav2lip.lipsync.options import DEFAULTS, LipSyncOptions
from wav2lip.media.suffixes import AUDIO_SUFFIXES, IMAGE_SUFFIXES, SILENT_VIDEO_SUFFIXES, VIDEO_SUFFIXES
from wav2lip.restoration.files import FILES as RESTORERS
from wav2lip.restoration.files import find_restorer
from wav2lip.sadtalker.options import SadTalkerOptions, check_driving_audio

FILE_COLUMNS = ("face", "audio", "outfile")
COLUMNS = (*FILE_COLUMNS, "user", "engine")  # columns that are no options of an engine
SEPARATORS = ",;\t"  # of cells
SOUND_COLUMNS = {"audio", "idle", "ref_video"}  # one of them is in every table; the others are options of SadTalker


@dataclass(frozen=True)
class Job:
    """One result to render."""

    key: str  # the result's name in the records: relative to the output folder where it lies in it
    face: Path
    audio: Path | tuple[Path, ...]  # several: of each selected face; none: of a video without speech
    outfile: Path
    options: EngineOptions = DEFAULTS
    engine: str = WAV2LIP
    user: str = ""
    face_digest: str = ""  # SHA-256 of the content; "": not computed yet
    audio_digest: str = ""  # several: separated by spaces
    fault: str = ""  # reason for which it cannot be done

    @property
    def audios(self) -> tuple[Path, ...]:
        """Audio of each voice."""
        return self.audio if isinstance(self.audio, tuple) else (self.audio,)

    def describe(self) -> dict[str, Any]:
        """Return the data that its records show."""
        parameters, names = " ".join(format_flags(self.options)), ", ".join(path.name for path in self.audios)
        return {
            "face": self.face.name, "audio": names, "parameters": parameters, "user": self.user, "engine": self.engine,
        }  # fmt: skip


class _OptionParser(argparse.ArgumentParser):
    """Parser of the columns with options; raises InputError."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


@dataclass(frozen=True)
class JobDefaults:
    """What a table leaves out."""

    out: Path  # folder for results without an outfile
    engine: str = WAV2LIP  # of jobs without one
    checkpoint_dir: str = "checkpoints"  # place of restoration networks that are given by name


def read_jobs(table: Path, defaults: JobDefaults) -> list[Job]:
    """Read jobs from a CSV file with a header, or from JSON Lines; paths are relative to the folder of the file.

    Cells may be separated by semicolons or tabs and the text be UTF-16, as spreadsheets write them.
    Raises: InputError naming the line at which the file is no such table.
    """
    try:
        content = table.read_bytes()
        text = content.decode(guess_encoding(content))
    except OSError as error:
        raise file_error(error, table) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{table}: is not UTF-8; save it in that encoding") from error
    rows = list(
        _read_json_lines(table, text) if table.suffix.lower() in (".jsonl", ".json") else _read_csv(table, text)
    )
    if not rows:
        raise InputError(f"{table}: has no jobs; add a line with face and audio for each")
    return _reject_repeated([_parse_row(row, number, table.parent, defaults) for number, row in rows])


def parse_flags(words: Sequence[str], engine: str = WAV2LIP) -> EngineOptions:
    """Parse options as on the command line of an engine. Raises: InputError for an unknown option or a bad value."""
    parser = _OptionParser(add_help=False, allow_abbrev=False)
    add_arguments(parser, ENGINES[engine])
    return parse_options(ENGINES[engine], parser.parse_args(words))


def _read_csv(table: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row with its line number."""
    lines = text.splitlines()
    separator = max(SEPARATORS, key=lines[0].count) if lines else SEPARATORS[0]
    reader = csv.DictReader(lines, strict=True, delimiter=separator)
    try:
        header = reader.fieldnames or []
        if "face" not in header or not SOUND_COLUMNS & set(header):
            raise InputError(f"{table}: line 1 must name the columns, among them face and audio; it has {header}")
        for row in reader:
            if None in row:
                raise InputError(f"{table}: line {reader.line_num} has more cells than line 1; quote cells with commas")
            yield reader.line_num, {name: value for name, value in row.items() if value not in ("", None)}
    except csv.Error as error:
        raise InputError(f"{table}: line {reader.line_num + 1} is not CSV ({error}); correct it") from error


def _read_json_lines(table: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{table}: line {number} is not JSON ({error}); write one object per line") from error
        if not isinstance(row, dict):
            raise InputError(f"{table}: line {number} is not a JSON object; write one object per line")
        yield number, {name: value for name, value in row.items() if value is not None}


def _parse_row(row: Mapping[str, Any], number: int, folder: Path, defaults: JobDefaults) -> Job:
    paths = {name: folder / str(row[name]) for name in ("face", "outfile") if name in row}
    audios = [folder / str(name) for name in _as_list(row["audio"])] if "audio" in row else []
    face, audio = paths.get("face", Path()), audios[0] if len(audios) == 1 else tuple(audios)
    outfile = paths.get("outfile", defaults.out / f"{'_'.join(path.stem for path in (face, *audios))}.mp4")
    key = _key(outfile, defaults.out) if paths else f"line {number}"
    job = Job(key, face, audio, outfile, user=str(row.get("user", "")))
    engine = str(row.get("engine", defaults.engine))
    if engine not in ENGINES:
        return replace(job, fault=f"line {number}: engine={engine}: must be one of {', '.join(ENGINES)}")
    for name in ("face",) if engine == SADTALKER else ("face", "audio"):
        if name not in row:
            return replace(job, key=f"line {number}", fault=f"line {number}: has no {name}")
    try:
        words = _flags({name: row[name] for name in row.keys() - set(COLUMNS)}, engine, folder, defaults)
        options = parse_flags(words, engine)
        if isinstance(options, LipSyncOptions):
            check_num_voices(len(audios), options)
        elif len(audios) > 1:
            raise InputError(f"audio: {len(audios)} files: must be one with engine={engine}")
        else:
            assert isinstance(options, SadTalkerOptions)
            check_driving_audio(bool(audios), options, "audio")
        return replace(job, engine=engine, options=options)
    except InputError as error:
        return replace(job, fault=f"line {number}: {error}")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _flags(cells: Mapping[str, Any], engine: str, folder: Path, defaults: JobDefaults) -> list[str]:
    """Return the words of a command line that set the options of a row. folder: for relative paths."""
    options = ENGINES[engine]
    specs = {option.flag or name: option for name, option in option_specs(options).items()}
    words = []
    for name, value in cells.items():
        if name in file_options(options):
            value = [_find_file(str(file), folder, defaults.checkpoint_dir) for file in _as_list(value)]
        words += _flag(name, value, specs.get(name))
    return words


def _find_file(name: str, folder: Path, checkpoint_dir: str) -> str | None:
    """Return the path of a file in a row; restoration networks may be given by their names."""
    is_known = name.lower() in RESTORERS and not (folder / name).exists()
    return find_restorer(name, checkpoint_dir) if is_known else str(folder / name)


def _flag(name: str, value: Any, option: OptionSpec | None) -> list[str]:
    """Return the words of a command line that set an option. option: None if it is unknown."""
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false")):
        is_true = str(value).lower() == "true"
        return [f"--{name}"] if is_true else []
    has_several = option is not None and (option.is_list or isinstance(option.metavar, tuple))
    if isinstance(value, list):
        words = list(map(str, value)) if has_several else [",".join(map(str, value))]
    else:
        words = str(value).split() if has_several else [str(value)]
    return [f"--{name}={words[0]}"] if len(words) == 1 else [f"--{name}", *words]


def _key(outfile: Path, out: Path) -> str:
    resolved = outfile.resolve()
    return resolved.relative_to(out.resolve()).as_posix() if resolved.is_relative_to(out.resolve()) else str(outfile)


def pair_folders(faces: Path, audio: Path, defaults: JobDefaults, cross: bool) -> list[Job]:
    """Return the jobs of a folder of faces and one of audio: pairs of the same name, or each face with each audio.

    Raises: InputError if a folder has no such file, or there is no pair.
    """
    face_files = _list_files(faces, VIDEO_SUFFIXES | SILENT_VIDEO_SUFFIXES | {*IMAGE_SUFFIXES})
    audio_files = _list_files(audio, VIDEO_SUFFIXES | {*AUDIO_SUFFIXES})
    if cross:
        pairs = [(face, voice) for face in face_files for voice in audio_files]
    else:
        by_name = {voice.stem: voice for voice in audio_files}
        pairs = [(face, by_name[face.stem]) for face in face_files if face.stem in by_name]
        if not pairs:
            raise InputError(f"{faces}, {audio}: no two files share a name; rename them, or add --cross")
    names = [f"{face.stem}_{voice.stem}.mp4" if cross else f"{face.stem}.mp4" for face, voice in pairs]
    jobs = [
        Job(name, face, voice, defaults.out / name, ENGINES[defaults.engine](), defaults.engine)
        for name, (face, voice) in zip(names, pairs, strict=True)
    ]
    return _reject_repeated(jobs)


def _list_files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Return the files of a folder with these suffixes, without hidden ones and those of the system."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a table of jobs, or two folders")
    files = sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in suffixes and path.is_file() and not is_ignored(path.name)
    )  # fmt: skip
    if not files:
        raise InputError(f"{folder}: has no media file; check the folder")
    return files


def _reject_repeated(jobs: Sequence[Job]) -> list[Job]:
    """Mark each job whose result another one before it writes; each gets a key of its own."""
    seen: set[Path] = set()
    keys = {job.key for job in jobs if not job.fault}
    checked = []
    for number, job in enumerate(jobs, start=1):
        outfile = job.outfile.resolve()
        if outfile in seen and not job.fault:
            job = replace(job, fault="outfile: is that of an earlier job too; choose another")
        if job.fault and job.key in keys:
            job = replace(job, key=f"{job.key} (job {number})")
        keys.add(job.key)
        if not job.fault:
            seen.add(outfile)
        checked.append(job)
    return checked


def add_digests(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs with the digests of their inputs, each file read once; a missing file is a fault."""
    files = list(dict.fromkeys(path for job in jobs if not job.fault for path in (job.face, *job.audios)))

    def digest(path: Path) -> str:
        try:
            return hash_file(path)
        except OSError:
            return ""

    with ThreadPoolExecutor() as pool:
        digests = dict(zip(files, pool.map(digest, files), strict=True))

    def add(job: Job) -> Job:
        missing = next((path for path in (job.face, *job.audios) if not digests.get(path)), None)
        if job.fault or missing is not None:
            return replace(job, fault=job.fault or f"{missing}: no such file, or it cannot be read")
        return replace(job, face_digest=digests[job.face], audio_digest=" ".join(digests[path] for path in job.audios))

    return [add(job) for job in jobs]
