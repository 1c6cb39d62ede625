"""Checksums of files."""

import hashlib
import os

from wav2lip.hashing import hash_checkpoint, hash_file, hash_file_cached


def test_hash_is_the_sha256_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    assert hash_file(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()


def test_cached_hash_changes_with_the_file(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    first = hash_file_cached(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"two")
    os.utime(tmp_path / "a", (1, 1))
    assert first == hashlib.sha256(b"one").hexdigest()
    assert hash_file_cached(tmp_path / "a") == hashlib.sha256(b"two").hexdigest()


def test_checkpoint_hash_of_openvino_is_that_of_its_weights(tmp_path):
    (tmp_path / "g.xml").write_bytes(b"layers")
    (tmp_path / "g.bin").write_bytes(b"weights")
    assert hash_checkpoint(tmp_path / "g.xml") == hash_file(tmp_path / "g.bin")
