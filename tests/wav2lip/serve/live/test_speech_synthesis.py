"""Text to speech in live sessions, with a made-up voice of piper-tts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect

pytest.importorskip("piper", reason="pip install 'wav2lip-toolkit[tts]'")
pytest.importorskip("onnx", reason="pip install 'wav2lip-toolkit[onnx]'")

from fastapi.testclient import TestClient

from tests.helpers.live import live_engine, prepare_noise
from tests.helpers.piper_voice import HERTZ, RATE, SAMPLES_PER_PHONEME, write_voice
from tests.helpers.serve import BASE_URL
from wav2lip.errors import InputError
from wav2lip.live import lipsync
from wav2lip.serve.app import create_app
from wav2lip.serve.live.speech_synthesis import SpeechSynthesizer
from wav2lip.serve.settings import Settings

URL = "ws://127.0.0.1/v1/live"
START = {"type": "start", "face": "anna", "sample_rate": RATE, "format": "jpeg"}


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    return write_voice(tmp_path_factory.mktemp("voice") / "hum.onnx")


@pytest.fixture(scope="module")
def server(voice, make_settings, tmp_path_factory):
    faces = tmp_path_factory.mktemp("faces")
    prepare_noise(faces / "anna.w2l", live_engine())
    settings = make_settings(tmp_path_factory.mktemp("data"), live_faces=faces, tts_voice=voice)
    with TestClient(create_app(settings), BASE_URL, client=("127.0.0.1", 50000)) as client:
        yield client


def dominant_hertz(samples: np.ndarray) -> float:
    return np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples)


def test_each_sentence_is_synthesized_alone(voice):
    sentences = list(SpeechSynthesizer(voice).synthesize("Hello there. This is a longer sentence."))
    assert len(sentences) == 2
    for samples, rate in sentences:
        assert (samples.dtype, rate, len(samples) % SAMPLES_PER_PHONEME) == (np.int16, RATE, 0)
        assert dominant_hertz(samples) == pytest.approx(HERTZ, abs=5)
    assert len(sentences[0][0]) < len(sentences[1][0])


def play(server, *messages: dict | None) -> tuple[np.ndarray, dict]:
    """Send messages, None: wait for audio; return the audio and the last message."""
    audio: list[np.ndarray] = []
    with server.websocket_connect(URL) as socket:
        socket.send_json(START)
        socket.receive_json()
        for message in messages:
            while message is None and not (audio and audio[-1].any()):
                audio.append(receive_audio(socket.receive_bytes()))
            if message is not None:
                socket.send_json(message)
        while (text := (received := socket.receive()).get("text")) is None:
            audio.append(receive_audio(received["bytes"]))
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()
    return np.concatenate(audio), json.loads(text)


def receive_audio(data: bytes) -> np.ndarray:
    return np.frombuffer(data[16 + int.from_bytes(data[8:12], "little") :], "<i2")


def test_face_says_text(server, voice):
    assert server.get("/v1/live/faces").json()["has_voice"]
    ((expected, _),) = SpeechSynthesizer(voice).synthesize("Hi.")
    audio, end = play(server, {"type": "say", "text": "Hi."}, {"type": "end"})  # ends after the text
    heard = np.flatnonzero(audio)
    assert end["type"] == "end"
    assert np.abs(audio[heard[0] - 1 :][: len(expected)] - expected).max() <= 1


def test_long_text_waits_until_there_is_room(server, voice, monkeypatch):
    monkeypatch.setattr(lipsync, "MAX_AUDIO_S", 0.05)
    text = "Hi. " * 3
    expected = sum(np.count_nonzero(samples) for samples, _ in SpeechSynthesizer(voice).synthesize(text))
    audio, end = play(server, {"type": "say", "text": text}, {"type": "end"})
    assert end["type"] == "end" and np.count_nonzero(audio) == pytest.approx(expected, rel=0.02)


def test_interruption_drops_texts(server):
    text = "This is quite a long sentence, which takes some time. " * 4
    say = {"type": "say", "text": text}
    audio, end = play(server, say, say, None, {"type": "interrupt"}, {"type": "end"})
    assert end["type"] == "end"
    assert np.count_nonzero(audio) < RATE  # of 8 sentences


def test_voice_that_cannot_be_used_is_one_sentence(voice, tmp_path):
    with pytest.raises(InputError, match=r"missing\.onnx does not exist; give"):
        SpeechSynthesizer(tmp_path / "missing.onnx")
    (tmp_path / "voice.onnx").write_bytes(b"text")
    with pytest.raises(InputError, match=r"voice\.onnx\.json does not exist"):
        SpeechSynthesizer(tmp_path / "voice.onnx")
    for config in ("{}", "[]", "{", voice.with_name("hum.onnx.json").read_text(encoding="utf-8")):
        (tmp_path / "voice.onnx.json").write_text(config, encoding="utf-8")
        with pytest.raises(InputError, match=r"is not a voice of piper-tts \([^\n]+\); download it again$"):
            SpeechSynthesizer(tmp_path / "voice.onnx")


def test_missing_package_is_one_sentence(voice, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "piper", None)
    with pytest.raises(InputError, match=r"pip install 'wav2lip-toolkit\[tts\]'"):
        SpeechSynthesizer(voice)


def test_voice_needs_faces(voice):
    with pytest.raises(InputError, match="--tts_voice=.*: needs --live_faces"):
        Settings(tts_voice=voice)
