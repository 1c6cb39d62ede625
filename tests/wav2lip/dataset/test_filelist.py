"""File lists of this project, of LRS2 and of spreadsheets."""

import pytest

from wav2lip.dataset.filelist import read_entries, read_filelist, read_lines
from wav2lip.errors import InputError


@pytest.fixture
def root(tmp_path):
    for clip in ("g/00001", "my g/00001"):
        (tmp_path / clip).mkdir(parents=True)
    return tmp_path


def test_second_word_of_lrs2_lists_is_dropped(tmp_path):
    (tmp_path / "my videos" / "a").mkdir(parents=True)
    (tmp_path / "list.txt").write_text("6330311066473698535/00011 NF\nmy videos/a\n\n")
    assert read_filelist(tmp_path / "list.txt", tmp_path) == ["6330311066473698535/00011", "my videos/a"]


@pytest.mark.parametrize("line", [
    "g/00001", "g\\00001", "/g/00001", "./g/00001", "g/00001/", "g/00001.mp4", "g/00001,0,250", "g/00001\t3",
    "g/00001;x", "g/00001 NF", "  g/00001 ", '"g/00001"', '"g\\00001.MP4",0', "{root}/g/00001", "{root}/g/00001.mp4 MV",
    "7,g/00001", "g/00001|words said", "C:\\data\\g\\00001.mp4", "/home/ann/data/g/00001", "//server/data/g/00001",
    "\\\\server\\data\\g\\00001", "/home/ann/data/g/00001.mp4 NF",
    "g/00001 # loud", "\ufeffg/00001", "g/00001\x1a",
])  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_usual_spellings_name_the_clip(root, line, encoding):
    if encoding in ("utf-16-le", "utf-16-be") and not line.isascii():
        pytest.skip("only names in ASCII are recognized without a byte order mark")
    text = f"# a comment\r\n\r\n{line.format(root=root)}\r\n \r\n"
    (root / "list.txt").write_bytes(text.encode(encoding))
    assert read_filelist(root / "list.txt", root) == ["g/00001"]


@pytest.mark.parametrize("line", ["my g/00001 NF", "my g/00001.mp4", "my g\\00001,2", "my g/00001"])
def test_blanks_in_names_are_kept(root, line):
    (root / "list.txt").write_text(line)
    assert read_filelist(root / "list.txt", root) == ["my g/00001"]


def test_titles_of_columns_are_skipped(root):
    (root / "list.csv").write_text("path,frames\ng/00001,250\n")
    (entry,) = read_entries(root / "list.csv", root)
    assert (entry.clip, str(entry.line)) == ("g/00001", f"{root}/list.csv:2")


def test_missing_clip_keeps_its_line(root):
    (root / "list.txt").write_text("\ng/00001\n\nx/7.mp4,3\n")
    entries = read_entries(root / "list.txt", root)
    assert [(entry.clip, entry.line.number) for entry in entries] == [("g/00001", 2), ("x/7", 4)]


@pytest.mark.parametrize("line", ["g/9 as g/00001", "h/g/00001", "g/9,g/00001", "g/9 /a/g/00001"])
def test_missing_clip_does_not_become_another(root, line):
    (root / "list.txt").write_text(line)
    assert read_filelist(root / "list.txt", root) != ["g/00001"]


def test_folders_of_another_machine_are_logged_once(root, caplog):
    (root / "list.txt").write_text("// a comment\n//\n/a/g/00001\n/b/g/00001\ng/00001\n")
    assert read_filelist(root / "list.txt", root) == ["g/00001"] * 3
    assert [record.args[1:3] for record in caplog.records] == [(2, 3)]


def test_clip_outside_of_the_data_root_is_rejected(root):
    (root / "list.txt").write_text("g/00001\n../other/1\n")
    with pytest.raises(InputError, match=r"list\.txt:2: \.\./other/1 is outside of the data root"):
        read_filelist(root / "list.txt", root)


@pytest.mark.parametrize("content", [None, b"\n \n", b"\xef\xbb\xbf", b"\xe4\n"])
def test_missing_empty_or_unreadable_list_is_rejected(tmp_path, content):
    if content is not None:
        (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"train\.txt: (no such list|is empty|is not UTF-8)"):
        read_lines(tmp_path / "train.txt")
