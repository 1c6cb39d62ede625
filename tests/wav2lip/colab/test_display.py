"""Videos displayed in a notebook."""

import numpy as np
import pytest

from tests.helpers.media import tone, write_video, write_wav
from wav2lip.colab import display
from wav2lip.media import probe


def test_large_video_is_shown_as_excerpt_of_30_s_with_audio(tmp_path, monkeypatch):
    audio = write_wav(tmp_path / "tone.wav", tone(33))
    frames = [np.zeros((720, 64, 3), np.uint8)] * (33 * 5)
    video = write_video(tmp_path / "long.mp4", frames, fps=5, audio=audio)
    outputs, excerpts = [], []
    write_excerpt = display._write_excerpt

    def probe_excerpt(*args):
        excerpts.append(probe(write_excerpt(*args)))
        return excerpts[-1].path

    monkeypatch.setattr(display, "display", lambda content, **_: outputs.append(content))
    monkeypatch.setattr(display, "MAX_EMBEDDED_BYTES", 0)
    monkeypatch.setattr(display, "_write_excerpt", probe_excerpt)
    display.show_video(video)
    (excerpt,) = excerpts
    assert excerpt.seconds == pytest.approx(30, abs=0.2)
    assert excerpt.require_audio().rate == 16_000
    assert excerpt.require_video().height == 360
    assert "<video controls" in outputs[0]["text/html"]
    assert "first 30 s" in outputs[1].data
