"""The manifest forgets nothing that was said, whatever killed the run."""

import pytest

from preprocess.manifest import REJECTED, Manifest, Record, digest
from wav2lip.errors import InputError


def record(key, fingerprint="one", **more):
    return Record("faces", key, fingerprint, **more)


def test_what_was_added_is_found_by_a_later_run_while_the_fingerprint_is_the_same(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(record("a@0", figures={"tracks": 2, "name": "ü"}))
        manifest.add(record("b@0", fate=REJECTED, cause="no face", reason="shows none"))
    with Manifest(tmp_path) as manifest:
        assert manifest.find("faces", "a@0", "one") == record("a@0", figures={"tracks": 2, "name": "ü"})
        assert manifest.find("faces", "b@0", "one").cause == "no face"
        assert manifest.find("faces", "a@0", "another") is None
        assert manifest.find("shots", "a@0", "one") is None


def test_the_latest_record_counts(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(record("a@0", "one"))
        manifest.add(record("a@0", "two"))
    with Manifest(tmp_path) as manifest:
        assert manifest.find("faces", "a@0", "one") is None
        assert manifest.find("faces", "a@0", "two") is not None


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_is_dropped_and_written_again(tmp_path, cut):
    with Manifest(tmp_path) as manifest:
        manifest.add(record("a@0"))
        manifest.add(record("b@0"))
    file = tmp_path / ".stages/faces.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with Manifest(tmp_path) as manifest:
        assert set(manifest.records("faces")) == {"a@0"}
        manifest.add(record("b@0"))
    assert file.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(record("a@0"))
    file = tmp_path / ".stages/faces.jsonl"
    file.write_bytes(b"{}\n" + file.read_bytes())
    with Manifest(tmp_path) as manifest, pytest.raises(InputError, match=r"faces.jsonl: line 1 is damaged"):
        manifest.records("faces")


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    with Manifest(tmp_path), pytest.raises(InputError, match="another run is writing there"), Manifest(tmp_path):
        pass
    with Manifest(tmp_path):
        pass


def test_a_digest_tells_apart_what_differs():
    values = [("a", 1), ("a", 2), ("b", 1), ("a", "1"), ("a", None), ({"a": 1},), ({"a": 2},)]
    assert len({digest(*value) for value in values}) == len(values)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
