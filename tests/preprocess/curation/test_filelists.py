"""File lists on disk."""

from preprocess.curation.filelists import trim_filelists, write_filelists
from wav2lip.dataset.filelist import read_filelist
from wav2lip.execution.manifest import REJECTED, Record


def test_unchanged_filelists_are_not_touched(tmp_path):
    splits = {"train": ["a/0", "a/1"], "val": ["b/0"], "test": []}
    write_filelists(tmp_path / "lists", splits)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "lists").iterdir()}
    write_filelists(tmp_path / "lists", splits)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "lists").iterdir()} == before
    assert len(before) == 3
    assert read_filelist(tmp_path / "lists" / "val.txt", tmp_path) == splits["val"]


def test_trim_filelists_removes_rejected_clips(tmp_path):
    lists = tmp_path / "filelists"
    lists.mkdir()
    (lists / "train.txt").write_text("a/0\na/1 NF\n")
    trim_filelists(lists, {"a/0": Record("sync", "a/0", "", REJECTED), "a/1": Record("sync", "a/1", "")})
    assert (lists / "train.txt").read_text() == "a/1 NF\n"  # the columns of another tool stay
