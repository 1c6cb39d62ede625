"""Clips that share audio."""

from dataclasses import replace

from preprocess.curation.clip_origin import ClipOrigin, link_recordings


def test_clips_of_same_seconds_share_audio():
    face = ClipOrigin("a/0", "a.mp4", 0, 100)
    assert face.shares_audio_with(ClipOrigin("a/1", "a.mp4", 99, 50))
    assert not face.shares_audio_with(ClipOrigin("a/2", "a.mp4", 100, 50))
    assert not face.shares_audio_with(ClipOrigin("b/0", "b.mp4", 0, 100))


def test_duplicates_share_audio():
    original, copy, other = link_recordings([ClipOrigin(f"{s}/0", s, 0, 100) for s in "abc"], [["a/0", "b/0"]])
    assert original.shares_audio_with(copy)
    assert not original.shares_audio_with(other) and not other.shares_audio_with(replace(other, clip="d/0", source="d"))
