"""The tab Live in Chromium: a microphone that plays a file, and a face whose mouth flashes with loud audio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("gradio", reason="pip install 'wav2lip-toolkit[web]'")


from tests.helpers.browser import open_tab
from tests.helpers.live import BURST_S, MOUTH, bursts, flash_engine, prepare_gray
from tests.helpers.media import write_wav
from tests.helpers.piper_voice import write_voice
from tests.helpers.serve import server_thread
from wav2lip.serve.app import create_app

pytestmark = pytest.mark.slow
MICROPHONE_RATE, MICROPHONE_S = 48_000, 10
FACE_SIZE = 256
MAX_OFFSET_S = 0.08
LONG_S = int(os.environ.get("WAV2LIP_LIVE_TEST_SECONDS", "30"))  # 300 was run by hand; see docs/live.md
# Records when the mouth is white and when the audio is loud, in seconds of the performance clock, and media times.
RECORD = """async ([seconds, row, column]) => {
  const video = document.querySelector("#live video");
  const frames = [], sounds = [];
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const onFrame = (now, { expectedDisplayTime, mediaTime }) => {
    pixel.drawImage(video, column, row, 1, 1, 0, 0, 1, 1);
    frames.push([expectedDisplayTime / 1000, mediaTime, pixel.getImageData(0, 0, 1, 1).data[0]]);
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
  const script = `registerProcessor("level", class extends AudioWorkletProcessor {
    process([[samples]]) {
      this.port.postMessage([currentTime, samples ? Math.max(...samples.map(Math.abs)) : 0]);
      return true;
    }
  })`;
  const audio = new AudioContext();
  await audio.audioWorklet.addModule(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const level = new AudioWorkletNode(audio, "level");
  audio.createMediaElementSource(video).connect(level).connect(audio.destination);
  level.port.onmessage = ({ data: [contextTime, peak] }) => {
    const now = audio.getOutputTimestamp();
    sounds.push([now.performanceTime / 1000 + contextTime - now.contextTime, peak]);
  };
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  const lag = video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : null;
  const status = document.querySelector("#live [data-role=status]").textContent;
  return { frames, sounds, lag, status, height: video.videoHeight };
}"""


@pytest.fixture(scope="module")
def url(tmp_path_factory, make_settings) -> Iterator[str]:
    """URL of a server in a thread of this process, whose model is `flash_engine`."""
    faces = tmp_path_factory.mktemp("faces")
    prepare_gray(faces / "gray.w2l", flash_engine(), FACE_SIZE)
    (faces / "text.w2l").write_bytes(b"text")
    voice = write_voice(faces / "hum.onnx") if find_spec("piper") else None
    settings = make_settings(tmp_path_factory.mktemp("data"), live_faces=faces, tts_voice=voice)
    app = create_app(settings)
    app.state.live.models.get = lambda _: SimpleNamespace(lipsync=flash_engine())
    with server_thread(app, ws="websockets-sansio") as url:
        yield url


@pytest.fixture(scope="module")
def browser_flags(tmp_path_factory) -> list[str]:
    """Flags for a microphone that plays a noise per second."""
    begins = [second + 0.5 for second in range(MICROPHONE_S)]
    wav = bursts(MICROPHONE_S, begins, MICROPHONE_RATE).astype(float)
    file = write_wav(tmp_path_factory.mktemp("microphone") / "bursts.wav", wav, MICROPHONE_RATE)
    return [f"--use-file-for-fake-audio-capture={file}"]


@pytest.fixture
def live_page(page):
    """The page with its tab Live."""
    open_tab(page, "Live")
    page.wait_for_selector("#live option", state="attached")
    return page


def centers(times: np.ndarray, is_on: np.ndarray, gap_s: float) -> np.ndarray:
    """Return the centers of the runs of `is_on`, interrupted by less than `gap_s`, without those at the ends."""
    on = times[is_on]
    runs = np.split(on, np.flatnonzero(np.diff(on) > gap_s) + 1)
    return np.array([(run[0] + run[-1]) / 2 for run in runs[1:-1] if np.ptp(run) > BURST_S / 2])


def offsets(recording: dict) -> np.ndarray:
    """Return how much later than each noise its flash was shown, in seconds."""
    frames, sounds = np.array(recording["frames"]), np.array(recording["sounds"])
    flashes = centers(frames[:, 0], frames[:, 2] > 180, 0.3) + 0.02  # a frame lasts 40 ms
    noises = centers(sounds[:, 0], sounds[:, 1] > 0.3, 0.3)
    nearest = np.abs(flashes[None] - noises[:, None]).argmin(axis=1)
    return flashes[nearest] - noises


def record(page, seconds: float) -> dict:
    page.wait_for_function("document.querySelector('#live video').currentTime > 1")
    row, column = (FACE_SIZE * side // 64 for side in MOUTH)
    page.set_default_timeout(1000 * (seconds + 60))
    return page.evaluate(RECORD, [seconds, row, column])


@pytest.mark.parametrize("seconds", [12, LONG_S], ids=["short", "long"])
def test_lips_and_audio_of_the_microphone_stay_together(live_page, seconds):
    live_page.uncheck("#live [data-role=echo]")
    live_page.click("#live [data-action=start]")
    recording = record(live_page, seconds)
    assert recording["status"] == "Speak."
    live_page.click("#live [data-action=stop]")
    assert "Stopped" in live_page.inner_text("#live [data-role=status]")
    assert recording["height"] == FACE_SIZE
    late = offsets(recording)
    third = len(late) // 3
    drift = np.median(late[-third:]) - np.median(late[:third])
    low, middle, high = (1000 * np.percentile(late, share) for share in (5, 50, 95))
    print(f"{len(late)} noises: lips {middle:+.0f} ms (median), 90 % within {low:+.0f} to {high:+.0f} ms; "
          f"drift {1000 * drift:+.1f} ms; {recording['lag']:.2f} s buffered")  # fmt: skip
    assert len(late) > 0.6 * seconds
    assert abs(np.median(late)) < MAX_OFFSET_S
    assert abs(drift) < MAX_OFFSET_S / 2
    assert recording["lag"] < 2


@pytest.mark.skipif(find_spec("piper") is None, reason="pip install 'wav2lip-toolkit[tts]'")
def test_text_is_spoken_without_a_microphone(live_page):
    live_page.uncheck("#live [data-role=microphone]")
    live_page.click("#live [data-action=start]")
    live_page.fill("#live [data-role=text] input", "This is a sentence of some length, and here is its end.")
    live_page.click("#live [data-role=text] button")
    assert max(peak for _, peak in record(live_page, 4)["sounds"]) > 0.5


def test_browser_without_the_codec_is_reported_and_stops_the_microphone(live_page):
    live_page.evaluate("""() => {
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (options) => (window.microphone = await open(options));
      MediaSource.isTypeSupported = () => false;
    }""")
    live_page.click("#live [data-action=start]")
    live_page.wait_for_selector("#live [role=alert]")
    assert "This browser does not play" in live_page.inner_text("#live [role=alert]")
    assert live_page.evaluate("microphone.getTracks().every((track) => track.readyState === 'ended')")


@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
def test_refusal_is_shown_and_another_session_starts(live_page):
    live_page.select_option("#live [data-role=face]", "text")
    live_page.click("#live [data-action=start]")
    live_page.wait_for_selector("#live [role=alert]")
    assert "text.w2l" in live_page.inner_text("#live [role=alert]")
    live_page.select_option("#live [data-role=face]", "gray")
    live_page.click("#live [data-action=start]")
    live_page.wait_for_function("document.querySelector('#live video').currentTime > 0.5")
    assert live_page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
