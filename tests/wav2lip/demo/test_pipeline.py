"""The whole demo with a few training steps: every stage runs, and the exit code reports that nothing was learned."""

import pytest

from wav2lip.demo.pipeline import DemoSize, run_demo
from wav2lip.media import probe, read_frames


@pytest.mark.slow
def test_untrained_demo_writes_every_file_and_returns_1(tmp_path, caplog):
    size = DemoSize(videos=4, video_seconds=3, expert_steps=4, generator_steps=4)
    out = tmp_path / "a demo's folder"
    assert run_demo(out, size=size) == 1
    assert "did not learn" in caplog.text
    files = {"index.html", "curves.png", "shift.png", "strip.png", "result.mp4", "untouched.mp4", "truth.mp4"}
    assert files <= {path.name for path in out.iterdir()}
    assert probe(out / "result.mp4").require_audio().rate > 0
    assert sum(1 for _ in read_frames(out / "result.mp4")) == 75  # 3 s at 25 fps
