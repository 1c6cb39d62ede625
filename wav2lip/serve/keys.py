"""Who may use the server: python -m wav2lip.serve.keys add NAME --file FILE prints a key, once.

The file has a line for each client, its name and the SHA-256 of its key. Keys are 256 random bits, which nobody
guesses, so that no slow hash is needed.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import logging
import os
import re
import secrets
import sys
import threading
from pathlib import Path

from wav2lip.errors import InputError, run

PREFIX = "w2l_"  # says whose key it is to whoever finds one
RANDOM = 32  # bytes
NAME = re.compile(r"[\w.@-]{1,100}")
HASH = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


def hash_of(key: str) -> str:
    """What the file keeps of a key."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


class KeyFile:
    """The names and hashes of a file, read anew when it changes: a key that is removed there ends at once.

    While it cannot be used, as when an editor has written half of a line, the keys of before are good; when it is
    gone, none is.
    """

    def __init__(self, path: Path):
        """Raises: InputError if it cannot be read, or has a line that is none."""
        self._path = path
        self._reading = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}
        self._fault = ""  # what was logged of the file as it is
        self._refresh()

    def hashes(self) -> dict[str, str]:
        """Hash of the key of each client, by its name."""
        with self._reading:
            try:
                self._refresh()
                fault = ""
            except InputError as error:
                if not self._path.exists():
                    self._hashes, self._seen = {}, None
                fault = str(error)
            if fault and fault != self._fault:
                log.error("%s; until then %d keys of before are good", fault, len(self._hashes))
            self._fault = fault
            return self._hashes

    def _refresh(self) -> None:
        """Raises: InputError."""
        try:
            told = self._path.stat()
        except OSError as error:
            raise InputError(f"--keys {self._path}: cannot be read ({error.strerror}); check the path") from error
        if self._seen != (told.st_mtime_ns, told.st_size):
            self._hashes = read(self._path)
            self._seen = (told.st_mtime_ns, told.st_size)

    def name_of(self, key: str) -> str | None:
        """Whose key it is; None if nobody's. Takes as long for a wrong key as for a right one."""
        given, found = hash_of(key), None
        for name, known in self.hashes().items():
            if hmac.compare_digest(given, known):
                found = name
        return found


def read(path: Path) -> dict[str, str]:
    """Names and hashes. Raises: InputError naming the line that is none."""
    hashes: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--keys {path}: cannot be read ({error}); make it with wav2lip.serve.keys") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2 or not NAME.fullmatch(words[0]) or not HASH.fullmatch(words[1]) or words[0] in hashes:
            raise InputError(f"--keys {path}: line {number} is not a new NAME and a SHA-256; remove it, add a key anew")
        hashes[words[0]] = words[1]
    return hashes


def write(path: Path, hashes: dict[str, str]) -> None:
    """Whole or not at all, readable by its owner alone."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{name} {known}\n" for name, known in hashes.items())
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"--file {path}: cannot be written ({error.strerror}); give another place") from error


def build_parser() -> argparse.ArgumentParser:
    """What can be done with a file of keys."""
    parser = argparse.ArgumentParser(prog="python -m wav2lip.serve.keys", description="Keys of the server's clients.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in {"add": "make a key and print it, once", "remove": "end a key", "list": "print names"}.items():
        one = commands.add_parser(command, help=text, description=text)
        if command != "list":
            one.add_argument("name", metavar="NAME", help="of the client: letters, digits and . _ @ -")
        one.add_argument("--file", type=Path, required=True, metavar="FILE", help="the file that --keys names")
    return parser


def change(argv: list[str] | None = None) -> None:
    """Parse, do it."""
    args = build_parser().parse_args(argv)
    if args.command != "add" and not args.file.is_file():
        raise InputError(f"--file {args.file}: no such file; check the path")
    hashes = read(args.file) if args.file.is_file() else {}
    if args.command == "list":
        sys.stdout.writelines(f"{name}\n" for name in hashes)
    elif args.command == "add":
        if not NAME.fullmatch(args.name) or args.name in hashes:
            raise InputError(
                f"{args.name}: is taken, or has other signs than letters, digits and . _ @ -; give another"
            )
        key = PREFIX + secrets.token_urlsafe(RANDOM)
        write(args.file, hashes | {args.name: hash_of(key)})
        sys.stdout.write(f"{key}\n")
    else:
        if args.name not in hashes:
            raise InputError(f"{args.name}: has no key in {args.file}; see list")
        write(args.file, {name: known for name, known in hashes.items() if name != args.name})


def main() -> None:
    """Entry point."""
    run(lambda: change())


if __name__ == "__main__":
    main()
