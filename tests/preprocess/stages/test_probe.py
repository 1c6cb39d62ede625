"""The probe stage notes which of several audio tracks is used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from preprocess.ingest import find_videos
from preprocess.stages.probe import ProbeStage
from tests.helpers.media import GRAY, ffmpeg, tone, write_video, write_wav
from tests.helpers.preprocess import make_settings


@pytest.mark.parametrize(
    ("default", "selected", "expected"),
    [(0, None, "audio track 1 of 2 is used"), (1, None, "audio track 2 of 2 is used"),
     (0, 2, "audio track 2 of 2 is used"), (0, 3, "audio_track=3: must be from 1 to 2, its audio tracks")],
)  # fmt: skip
def test_choice_among_audio_tracks_is_noted(tmp_path, default, selected, expected):
    audio = [write_wav(tmp_path / f"{n}.wav", tone(0.4)) for n in range(2)]
    silent = write_video(tmp_path / "silent.mp4", [GRAY] * 10)
    flags = ["-disposition:a:0", "0", "-disposition:a:1", "0", f"-disposition:a:{default}", "default"]
    (tmp_path / "videos").mkdir()
    ffmpeg("-i", silent, "-i", audio[0], "-i", audio[1], "-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:v", "copy",
           "-c:a", "aac", *flags, tmp_path / "videos" / "a.mkv")  # fmt: skip
    (source,) = find_videos(tmp_path / "videos")
    stage = ProbeStage(replace(make_settings(), audio_track=selected))
    record = stage(source, None, lambda _: None)
    assert expected in (record.reason or record.data["problems"])
    # Records of earlier runs stay valid without the setting only.
    assert (stage.fingerprint(source) == ProbeStage(make_settings()).fingerprint(source)) == (selected is None)
