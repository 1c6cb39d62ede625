"""Engines of a batch: fingerprints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wav2lip.batch.engines import LipSyncFactory
from wav2lip.batch.jobs import Job


@pytest.mark.parametrize("weights", ["s3fd_weights", "landmark_weights"])
def test_fingerprint_depends_on_content_of_weights_and_not_on_their_path(tmp_path, weights):
    job = Job("a", Path("face.mp4"), Path("audio.wav"), Path("a.mp4"), face_digest="f", audio_digest="g")
    factory = LipSyncFactory("c.pth", "cpu", "auto", None, "digest")
    paths = [tmp_path / name for name in ("first", "copy", "other")]
    for path, content in zip(paths, (b"1", b"1", b"2"), strict=True):
        path.write_bytes(content)
    first, copy, other = (replace(factory, **{weights: str(path)}).fingerprint(job) for path in paths)
    assert first == copy
    assert len({factory.fingerprint(job), first, other}) == 3
