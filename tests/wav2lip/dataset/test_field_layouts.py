"""Clips and lists of other tools from the field, where the reference material is present."""

from pathlib import Path

import pytest

from wav2lip.dataset.clip import Clip
from wav2lip.dataset.filelist import read_filelist
from wav2lip.evaluation.protocols import read_list

LAYOUTS = Path(__file__).parents[4] / "shared" / "field" / "layouts"
pytestmark = pytest.mark.skipif(not LAYOUTS.is_dir(), reason="needs ../shared/field")


def test_every_list_names_its_clip(tmp_path):
    (tmp_path / "g" / "00001").mkdir(parents=True)
    lists = sorted(LAYOUTS.glob("lists/*/train.txt"))
    assert len(lists) >= 12
    for path in lists:
        assert read_filelist(path, tmp_path) == ["g/00001"], path


@pytest.mark.parametrize(("name", "pairs"), [("bom", 1), ("blank_last", 1), ("crlf", 2)])
def test_evaluation_lists_are_read(name, pairs):
    assert len(read_list(LAYOUTS / f"lists/evaluate/{name}.txt", LAYOUTS / "lists/evaluate_root", "lrs2")) == pairs


@pytest.mark.parametrize("layout", ["zero_padded", "foreign_mel", "piped"])
def test_clips_are_read_and_not_changed(layout):
    folder = LAYOUTS / layout / "g" / "00001"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    clip = Clip.open(folder)
    assert clip.frames.tolist() == list(range(len(clip.frames)))
    assert clip.read(7, 96).shape == (96, 96, 3)
    mel = clip.mel(write_cache=False)
    assert mel.shape[0] == 80
    assert mel.shape[1] == clip.mel_columns()
    assert abs(mel.shape[1] / 80 - len(clip.frames) / 25) < 2.1
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
