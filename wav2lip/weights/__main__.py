"""Files with weights: python -m wav2lip.weights list | verify DIR | fetch DIR."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from wav2lip.cli import EXIT_BAD_INPUT, run
from wav2lip.errors import InputError
from wav2lip.weights.catalog import BY_NAME, CATALOG, ENGINES, WeightsFile, key_shapes
from wav2lip.weights.download import download
from wav2lip.weights.verification import verify_file

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m wav2lip.weights", description="List, check and download weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", description="Print what is known of each file.")
    listing.add_argument("--keys", metavar="NAME", help="print the tensors of one file instead")
    checking = commands.add_parser("verify", description="Check the known files in a folder; nothing is executed.")
    checking.add_argument("folder", type=Path, metavar="DIR", help="folder with files")
    fetching = commands.add_parser(
        "fetch", description="Download files from their origins; an interrupted download is continued."
    )
    fetching.add_argument("folder", type=Path, metavar="DIR", help="folder for the files")
    names_help = "files; by default those that the engine's default options need"
    fetching.add_argument("names", nargs="*", metavar="NAME", default=[], help=names_help)
    fetching.add_argument("--mirror", metavar="URL", help="web folder with all files, instead of the origins")
    for command in (listing, checking, fetching):
        command.add_argument("--engine", choices=ENGINES, help="only files of one engine")
    return parser


def describe_files(engine: str | None) -> Iterator[str]:
    """Yield the lines of the catalog."""
    for file in CATALOG:
        if engine in (None, file.engine):
            yield file.name
            yield f"  {file.engine}: {file.purpose}{' (default)' if file.is_default else ''}"
            yield from (f"  {each.network}: {len(key_shapes(each.network))} tensors" for each in file.contents)
            if file.weight_bytes:
                yield f"  weights: {file.weight_bytes / 1e6:.1f} MB in float32"
            yield f"  terms: {file.terms}"
            yield f"  from: {file.url or f'{file.page} (by hand)'}"


def describe_keys(name: str) -> Iterator[str]:
    """Yield the tensors of a file."""
    for content in _find(name).contents:
        for key, shape in key_shapes(content.network).items():
            yield f"{content.key + ': ' if content.key else ''}{content.prefix}{key} {list(shape)}"


def verify(folder: Path, engine: str | None) -> Iterator[str]:
    """Yield "ok: NAME" or "bad: REASON" for each known file of a folder.

    Raises: InputError if there is no known file.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder with the weights")
    present = [file for file in CATALOG if (folder / file.name).exists() and engine in (None, file.engine)]
    if not present:
        raise InputError(f"{folder}: has no known file; the command list shows their names")
    for file in present:
        try:
            verify_file(folder / file.name, file)
            yield f"ok: {file.name}"
        except InputError as error:
            yield f"bad: {error}"


def fetch(folder: Path, names: list[str], engine: str | None, mirror: str | None) -> None:
    """Download files that are not in a folder, after printing their terms.

    names: empty for the files that the default options of the engine need.
    Raises: InputError if a file cannot be downloaded.
    """
    files = [_find(name) for name in names] or [
        file for file in CATALOG if file.is_default and engine in (None, file.engine)
    ]
    for file in files:
        path = folder / file.name
        if path.exists():
            verify_file(path, file)
            log.info("%s: complete", path)
            continue
        url = f"{mirror.rstrip('/')}/{file.name}" if mirror else file.url
        if url is None:
            message = (
                f"{file.name}: cannot be downloaded without its page; get it from {file.page} and copy it to {folder}"
            )
            if names:
                raise InputError(message)
            log.warning(message)
            continue
        log.info("%s from %s\n  terms: %s (%s)", file.name, url, file.terms, file.page)
        download(url, path, lambda partial, file=file: verify_file(partial, file))  # type: ignore[misc]


def _find(name: str) -> WeightsFile:
    if name not in BY_NAME:
        raise InputError(f"{name}: no known file; the command list shows their names")
    return BY_NAME[name]


def main() -> int:
    """Run the command line; returns 2 if a file is bad."""
    args = build_parser().parse_args()
    lines: Iterable[str] = ()
    if args.command == "fetch":
        fetch(args.folder, args.names, args.engine, args.mirror)
    elif args.command == "verify":
        lines = verify(args.folder, args.engine)
    else:
        lines = describe_keys(args.keys) if args.keys else describe_files(args.engine)
    code = 0
    for line in lines:
        sys.stdout.write(f"{line}\n")
        code = EXIT_BAD_INPUT if line.startswith("bad: ") else code
    return code


if __name__ == "__main__":
    run(main)
