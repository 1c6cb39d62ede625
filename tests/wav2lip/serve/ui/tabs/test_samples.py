"""Sample files."""

from __future__ import annotations

import os
import time

from wav2lip.media import probe
from wav2lip.serve.ui.tabs.samples import PHOTO, SPEECH, VIDEO, Samples


def test_samples_are_generated_once_in_their_formats(tmp_path):
    samples = Samples(tmp_path)
    assert probe(samples.get(VIDEO)).require_video().width == 256
    assert probe(samples.get(SPEECH)).audio.rate == 16_000
    with open(samples.get(PHOTO), "rb") as photo:
        assert photo.read(4) == b"\x89PNG"
    inode = (tmp_path / VIDEO).stat().st_ino
    os.utime(tmp_path / VIDEO, (0, 0))
    samples.get(VIDEO)
    assert (tmp_path / VIDEO).stat().st_ino == inode
    assert time.time() - (tmp_path / VIDEO).stat().st_mtime < 60  # retention counts from the last use
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([VIDEO, PHOTO, SPEECH])
