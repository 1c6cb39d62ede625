"""Records survive a kill of the run."""

import pytest

from wav2lip.errors import InputError
from wav2lip.execution.manifest import REJECTED, Manifest, Record, hash_values


def make_record(key, fingerprint="one", **fields):
    return Record("faces", key, fingerprint, **fields)


def test_record_is_found_by_later_run_with_same_fingerprint(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(make_record("a@0", data={"tracks": 2, "name": "ü"}))
        manifest.add(make_record("b@0", status=REJECTED, cause="no face", reason="no face found"))
    with Manifest(tmp_path) as manifest:
        assert manifest.find("faces", "a@0", "one") == make_record("a@0", data={"tracks": 2, "name": "ü"})
        assert manifest.find("faces", "b@0", "one").cause == "no face"
        assert manifest.find("faces", "a@0", "another") is None
        assert manifest.find("shots", "a@0", "one") is None


def test_latest_record_wins(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(make_record("a@0", "one"))
        manifest.add(make_record("a@0", "two"))
    with Manifest(tmp_path) as manifest:
        assert manifest.find("faces", "a@0", "one") is None
        assert manifest.find("faces", "a@0", "two") is not None


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_incomplete_last_line_is_dropped(tmp_path, cut):
    with Manifest(tmp_path) as manifest:
        manifest.add(make_record("a@0"))
        manifest.add(make_record("b@0"))
    file = tmp_path / ".stages/faces.jsonl"
    complete = file.read_bytes()
    file.write_bytes(complete[:-cut])
    with Manifest(tmp_path) as manifest:
        assert set(manifest.records("faces")) == {"a@0"}
        manifest.add(make_record("b@0"))
    assert file.read_bytes() == complete


def test_corrupt_line_is_error(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(make_record("a@0"))
    file = tmp_path / ".stages/faces.jsonl"
    file.write_bytes(b"{}\n" + file.read_bytes())
    with Manifest(tmp_path) as manifest, pytest.raises(InputError, match=r"faces.jsonl: line 1 is corrupt"):
        manifest.records("faces")


def test_second_run_is_locked_out(tmp_path):
    with Manifest(tmp_path), pytest.raises(InputError, match="another run is writing there"), Manifest(tmp_path):
        pass
    with Manifest(tmp_path):
        pass


def test_hash_values_differ():
    values = [("a", 1), ("a", 2), ("b", 1), ("a", "1"), ("a", None), ({"a": 1},), ({"a": 2},)]
    assert len({hash_values(*value) for value in values}) == len(values)
    assert hash_values({"a": 1, "b": 2}) == hash_values({"b": 2, "a": 1})
