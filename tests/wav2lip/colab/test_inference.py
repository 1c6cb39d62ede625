"""Steps of the inference notebook."""

import os

from wav2lip.colab.inference import InferenceNotebook, find_newest_generator, format_flags
from wav2lip.colab.workspace import Workspace
from wav2lip.infer import build_parser


def test_empty_audio_field_selects_and_names_the_newest_upload(tmp_path, monkeypatch):
    texts: list[str] = []
    monkeypatch.setattr("wav2lip.colab.display.show_text", texts.append)
    monkeypatch.setattr("wav2lip.colab.display.show_audio", lambda _file: None)
    (tmp_path / "audio").mkdir()
    for name, mtime in (("a.wav", 30), ("b.wav", 40), ("c.wav", 20)):
        (tmp_path / "audio" / name).write_bytes(b"x")
        os.utime(tmp_path / "audio" / name, (mtime, mtime))
    assert InferenceNotebook(Workspace(tmp_path, tmp_path)).select_audio("") == tmp_path / "audio" / "b.wav"
    assert len(texts) == 1 and str(tmp_path / "audio" / "b.wav") in texts[0]


def test_format_flags_gives_flags_that_infer_parses():
    flags = format_flags(25, "all", "box", "off", "haar", "--start 5")
    args = build_parser().parse_args(["--checkpoint_path", "c", "--face", "f", "--audio", "a", *flags])
    assert list(args.pads) == [0, 25, 0, 0]
    assert format_flags(None, "all", "box", "off", "haar", "")[:2] == ["--pads", "auto"]
    assert (args.faces, args.blend, args.silence, args.detector, args.start) == ("all", "box", "off", "haar", 5.0)


def test_find_newest_generator_searches_all_projects(tmp_path):
    assert find_newest_generator(tmp_path) is None
    for age, name in enumerate(("new/gan/best.pth", "old/generator/best.pth", "old/expert/best.pth")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 1000 - age))
    assert find_newest_generator(tmp_path) == tmp_path / "new/gan/best.pth"
