"""API keys: the file, its reload, and the command."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.serve import UNLIMITED, bearer
from wav2lip.errors import InputError
from wav2lip.serve.auth import api_keys
from wav2lip.serve.auth.api_keys import KeyFile, manage_keys


def test_add_prints_key_and_stores_only_its_hash(key_file):
    path, keys = key_file
    assert keys["ann"] != keys["bob"] and len(keys["ann"]) > 40
    assert not any(key in path.read_text() for key in keys.values())
    assert path.stat().st_mode & 0o077 == 0
    file = KeyFile(path)
    candidates = (keys["ann"], keys["bob"], "", "w2l_guess", path.read_text().split()[1])
    assert [file.find_client(key) for key in candidates] == ["ann", "bob", None, None, None]


def test_removed_key_is_revoked_at_once(key_file):
    path, keys = key_file
    file = KeyFile(path)
    manage_keys(["remove", "ann", "--file", str(path)])
    assert file.find_client(keys["ann"]) is None and file.find_client(keys["bob"]) == "bob"


def test_invalid_file_keeps_keys_and_missing_file_revokes(key_file, start_server, caplog):
    path, keys = key_file
    client = start_server(keys=path, requests_per_minute=UNLIMITED)
    content = path.read_text()

    def statuses() -> list[int]:
        return [client.get("/v1/models", headers=bearer(key)).status_code for key in (keys["ann"], keys["bob"], "x")]

    path.write_text(content + "eve 0123")
    assert [statuses(), statuses()] == [[200, 200, 401]] * 2
    assert sum("line 3" in line for line in caplog.messages) == 1  # logged once, not per request
    path.write_text(content.splitlines()[1] + "\n")
    assert statuses() == [401, 200, 401]
    path.unlink()
    assert statuses() == [401, 401, 401]
    path.write_text(content)
    assert statuses() == [200, 200, 401]


@pytest.mark.parametrize(
    "arguments", [["add", "ann"], ["add", "a b"], ["add", "<b>"], ["remove", "eve"], ["add", "x" * 101]], ids=str
)
def test_invalid_name_leaves_file_unchanged(key_file, arguments):
    path, _ = key_file
    before = path.read_text()
    with pytest.raises(InputError):
        manage_keys([*arguments, "--file", str(path)])
    assert path.read_text() == before


@pytest.mark.parametrize(
    "line", ["ann", "ann abc", "ann " + "0" * 64 + " more", "ann " + "0" * 64 + "\nann " + "1" * 64]
)
def test_invalid_line_is_named(tmp_path, line):
    (tmp_path / "keys").write_text(line + "\n")
    with pytest.raises(InputError, match="line [12]"):
        KeyFile(tmp_path / "keys")


def test_command_prints_key_and_rejects_duplicate(tmp_path):
    command = [sys.executable, "-m", api_keys.__name__, "add", "ann", "--file", tmp_path / "k"]
    first, second = (subprocess.run(command, capture_output=True, text=True) for _ in range(2))
    assert first.returncode == 0 and KeyFile(tmp_path / "k").find_client(first.stdout.strip()) == "ann"
    assert second.returncode == 2 and second.stderr.count("\n") == 1


def test_keys_that_are_added_at_once_are_all_stored(tmp_path, monkeypatch):
    read = api_keys.read_key_file

    def read_slowly(path):  # type: ignore[no-untyped-def]
        hashes = read(path)
        time.sleep(0.02)
        return hashes

    monkeypatch.setattr(api_keys, "read_key_file", read_slowly)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda name: manage_keys(["add", name, "--file", str(tmp_path / "keys")]), "abcde"))
    assert sorted(read(tmp_path / "keys")) == list("abcde")
