"""API keys: python -m wav2lip.serve.auth.api_keys add NAME --file FILE prints a new key once.

The file has one line per client with its name and the SHA-256 of its key. Keys are 256 random bits, so a fast hash is
safe.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wav2lip.cli import run
from wav2lip.errors import InputError

PREFIX = "w2l_"  # so that secret scanners and people recognize a leaked key
KEY_BYTES = 32
LOCK_TIMEOUT_S = 10.0
NAME_PATTERN = re.compile(r"[\w.@-]{1,100}")
HASH_PATTERN = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key as stored in the file."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


class KeyFile:
    """Client names and key hashes, reloaded when the file changes so that a removed key is revoked at once.

    While the file is invalid, for instance half written by an editor, the previous keys stay valid; once it is deleted,
    none is.
    """

    def __init__(self, path: Path):
        """Load the file. Raises: InputError if it cannot be read or has an invalid line."""
        self._path = path
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None  # modification time in ns and size of the loaded file
        self._hashes: dict[str, str] = {}
        self._logged_error = ""
        self._reload_if_changed()

    def hashes(self) -> dict[str, str]:
        """Return the key hash of each client by name."""
        with self._lock:
            try:
                self._reload_if_changed()
                message = ""
            except InputError as error:
                if not self._path.exists():
                    self._hashes, self._version = {}, None
                message = str(error)
            if message and message != self._logged_error:  # once per state of the file, not per request
                log.error("%s; %d previous keys stay valid until then", message, len(self._hashes))
            self._logged_error = message
            return self._hashes

    def _reload_if_changed(self) -> None:
        try:
            stat = self._path.stat()
        except OSError as error:
            raise InputError(f"--keys={self._path}: cannot be read ({error.strerror}); check the path") from error
        version = (stat.st_mtime_ns, stat.st_size)
        if self._version != version:
            self._hashes = read_key_file(self._path)
            self._version = version

    def find_client(self, key: str) -> str | None:
        """Return the name of a key's client, None for an unknown key, in constant time."""
        key_hash, match = hash_key(key), None
        for name, client_hash in self.hashes().items():
            if hmac.compare_digest(key_hash, client_hash):
                match = name
        return match


def read_key_file(path: Path) -> dict[str, str]:
    """Read names and hashes. Raises: InputError with the number of the first invalid line."""
    hashes: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--keys={path}: cannot be read ({error}); create it with python -m wav2lip.serve.auth.api_keys"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split()
        if (
            len(columns) != 2
            or not NAME_PATTERN.fullmatch(columns[0])
            or not HASH_PATTERN.fullmatch(columns[1])
            or columns[0] in hashes
        ):
            raise InputError(
                f"--keys={path}: line {number} must be a unique NAME and a SHA-256; remove the line and add a new key"
            )
        hashes[columns[0]] = columns[1]
    return hashes


def write_key_file(path: Path, hashes: dict[str, str]) -> None:
    """Write atomically, readable by the owner only. Raises: InputError if the file cannot be written."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{name} {client_hash}\n" for name, client_hash in hashes.items())
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"--file={path}: cannot be written ({error.strerror}); give another path") from error


def build_parser() -> argparse.ArgumentParser:
    """Build the command line with the commands add, remove and list."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.serve.auth.api_keys", description="Manage the API keys of the server's clients."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in {
        "add": "create a key and print it once",
        "remove": "revoke a key",
        "list": "print client names",
    }.items():
        subparser = commands.add_parser(command, help=text, description=text)
        if command != "list":
            subparser.add_argument("name", metavar="NAME", help="client name: letters, digits and . _ @ -")
        subparser.add_argument("--file", type=Path, required=True, metavar="FILE", help="the server's --keys file")
    return parser


def manage_keys(argv: list[str] | None = None) -> None:
    """Parse the command line and add, remove or list keys. Raises: InputError."""
    args = build_parser().parse_args(argv)
    if args.command != "add" and not args.file.is_file():
        raise InputError(f"--file={args.file}: does not exist; check the path")
    if args.command == "list":
        sys.stdout.writelines(f"{name}\n" for name in read_key_file(args.file))
        return
    with _lock(args.file):
        _change_keys(args)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock a key file: of two commands at once, each would write it without the change of the other."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_TIMEOUT_S).acquire()
    except Timeout as error:
        raise InputError(f"--file={path}: is being changed by another command; try again") from error
    except OSError as error:
        raise InputError(f"--file={path}: cannot be written ({error.strerror}); give another path") from error
    with lock:
        yield


def _change_keys(args: argparse.Namespace) -> None:
    hashes = read_key_file(args.file) if args.file.is_file() else {}
    if args.command == "add":
        if not NAME_PATTERN.fullmatch(args.name) or args.name in hashes:
            raise InputError(
                f"NAME={args.name}: must be unused and consist of letters, digits and . _ @ -; give another name"
            )
        key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
        write_key_file(args.file, hashes | {args.name: hash_key(key)})
        sys.stdout.write(f"{key}\n")
    else:
        if args.name not in hashes:
            raise InputError(f"NAME={args.name}: has no key in {args.file}; list shows all names")
        write_key_file(args.file, {name: client_hash for name, client_hash in hashes.items() if name != args.name})


def main() -> None:
    """Run the entry point."""
    run(lambda: manage_keys())


if __name__ == "__main__":
    main()
