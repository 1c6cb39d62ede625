"""The WebSocket /v1/live: frames and audio, refusals, limits, authentication, and the end of a session."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
import wave
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import anyio
import av
import numpy as np
import pytest
from anyio import CapacityLimiter, sleep_forever
from fastapi.testclient import TestClient
from PIL import Image
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from tests.helpers.live import (
    BURST_S,
    MOUTH,
    RATE,
    bursts,
    flash_engine,
    live_engine,
    prepare_gray,
    prepare_noise,
    voice,
)
from tests.helpers.serve import BASE_URL, UNLIMITED, bearer, server_process
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSyncOptions
from wav2lip.live import LiveLipSync
from wav2lip.live.prepare import prepare_face
from wav2lip.serve.app import create_app
from wav2lip.serve.live import routes, session
from wav2lip.serve.live.faces import FaceFolder
from wav2lip.serve.live.formats import JpegFormat
from wav2lip.serve.live.messages import SessionError
from wav2lip.serve.settings import Settings

URL = "ws://127.0.0.1/v1/live"
START = {"type": "start", "face": "anna", "sample_rate": RATE, "format": "jpeg"}
SILENCE = bytes(1 << 18)  # the longest message: 16.4 s at 8 kHz
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Folder with two faces of 64 x 64, one of 40000 x 16, and a damaged file."""
    folder = tmp_path_factory.mktemp("faces")
    data = bytearray(prepare_noise(folder / "anna.w2l", live_engine()).read_bytes())
    data[-1] ^= 1
    (folder / "damaged.w2l").write_bytes(data)
    prepare_gray(folder / "gray.w2l", flash_engine())
    wide = np.zeros((1, 16, 40_000, 3), np.uint8)
    prepare_face(live_engine(), wide, folder / "wide.w2l", LipSyncOptions(box=(0, 16, 0, 16)))
    return folder


@pytest.fixture(scope="module")
def server(faces, make_settings, tmp_path_factory):
    """Server of two sessions, both of which one client may open."""
    settings = make_settings(
        tmp_path_factory.mktemp("data"), live_faces=faces, live_sessions_per_client=2, requests_per_minute=UNLIMITED
    )
    with TestClient(create_app(settings), BASE_URL, client=("127.0.0.1", 50000)) as client:
        yield client


@contextmanager
def opened(server, **start):
    """Open a session and wait until it is ready."""
    with server.websocket_connect(URL) as socket:
        socket.send_json(START | start)
        assert socket.receive_json() == {"type": "ready", "fps": 25.0, "sample_rate": START["sample_rate"]}
        yield socket


def receive_frame(socket):
    """Return time, image and audio of the next frame by the layout that docs/live.md states."""
    data = socket.receive_bytes()
    seconds, size, samples = struct.unpack("<dII", data[:16])
    assert len(data) == 16 + size + 2 * samples
    return seconds, np.array(Image.open(io.BytesIO(data[16 : 16 + size]))), np.frombuffer(data[16 + size :], "<i2")


def receive_end(socket):
    """Return the remaining frames, the last message and the close code with its reason."""
    frames = []
    while True:
        message = socket.receive()
        if text := message.get("text"):
            with pytest.raises(WebSocketDisconnect) as close:
                socket.receive_text()
            return frames, json.loads(text), (close.value.code, close.value.reason)
        data = message["bytes"]
        seconds, size = struct.unpack("<dI", data[:12])
        frames.append((seconds, np.frombuffer(data[16 + size :], "<i2")))


def test_frames_carry_the_audio_that_was_sent(server):
    speech = (voice(0.4) * 32767).astype("<i2")
    with opened(server) as socket:
        first = receive_frame(socket)
        socket.send_bytes(speech.tobytes())
        socket.send_json({"type": "flush"})
        socket.send_json({"type": "end"})
        frames, last, close = receive_end(socket)
    assert (first[0], first[1].shape, len(first[2])) == (0.0, (64, 64, 3), 640)
    rows = [np.roll(np.linspace(0, 200, 64), shift) for shift in range(12)]  # of the prepared face
    assert min(np.abs(first[1][:6, :, 1] - row).mean() for row in rows) < 8
    assert [seconds for seconds, _ in frames] == pytest.approx([n / 25 for n in range(1, len(frames) + 1)])
    assert (last, close) == ({"type": "end", "frames": len(frames) + 1}, (1000, ""))
    audio = np.concatenate([samples for _, samples in frames])
    assert len(audio) == 640 * len(frames) and len(frames) >= 10
    begin, end = np.flatnonzero(speech)[[0, -1]]
    heard = np.flatnonzero(audio)
    assert np.array_equal(audio[heard[0] : heard[-1] + 1], speech[begin : end + 1])


def test_interrupt_drops_audio_that_is_not_heard_yet(server):
    with opened(server) as socket:
        for _ in range(3):
            socket.send_bytes(np.full(RATE, 1000, "<i2").tobytes())
        while not receive_frame(socket)[2].any():
            pass
        socket.send_json({"type": "interrupt"})
        socket.send_json({"type": "end"})
        frames, last, _ = receive_end(socket)
    assert last["type"] == "end"
    assert sum(samples.any() for _, samples in frames) < 25  # of 75


def test_mp4_has_the_flash_of_the_lips_at_its_noise(server, monkeypatch):
    monkeypatch.setattr(server.app.state.live.models, "get", lambda _: SimpleNamespace(lipsync=flash_engine()))
    with server.websocket_connect(URL) as socket:
        socket.send_json(START | {"face": "gray", "format": "mp4"})
        ready = socket.receive_json()
        assert ready["type"] == "ready" and ready["mime_type"].startswith('video/mp4; codecs="avc1.')
        socket.send_bytes((bursts(1.6, [0.8]) * 32767).astype("<i2").tobytes())
        socket.send_json({"type": "end"})
        data, end = receive_file(socket)
    times, levels, audio = decode_mp4(data)
    assert end == {"type": "end", "frames": len(times)}
    assert times.tolist() == pytest.approx([n / 25 for n in range(len(times))], abs=1e-4)
    flash = times[levels > 200]
    loud = np.flatnonzero(np.abs(audio) > 0.4) / 48_000
    assert np.ptp(loud) == pytest.approx(BURST_S, abs=0.01)
    assert (flash[0] + flash[-1] + 1 / 25) / 2 == pytest.approx((loud[0] + loud[-1]) / 2, abs=0.04)


def receive_file(socket) -> tuple[bytes, dict]:
    """Return the joined binary messages and the last text message."""
    data = bytearray()
    while (text := (message := socket.receive()).get("text")) is None:
        data += message["bytes"]
    return bytes(data), json.loads(text)


def decode_mp4(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the times of the frames, the gray level of the mouth in them, and the audio."""
    times, levels, audio = [], [], []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                times.append(frame.time)
                levels.append(frame.to_ndarray(format="gray")[MOUTH])
            else:
                audio.append(frame.to_ndarray()[0])
    return np.array(times), np.array(levels), np.concatenate(audio)


def test_failure_of_an_encoder_is_its_sentence(server, monkeypatch):
    def fail(*_):
        raise InputError("MP4 of 64x64 pixels: cannot be encoded")

    monkeypatch.setattr("wav2lip.live.fragments.FragmentWriter.write", fail)
    with server.websocket_connect(URL) as socket:
        socket.send_json(START | {"format": "mp4"})
        socket.receive_json()
        assert receive_end(socket)[1:] == (
            {"type": "error", "error": "MP4 of 64x64 pixels: cannot be encoded"},
            (1011, "MP4 of 64x64 pixels: cannot be encoded"),
        )


def test_faces_are_listed(server, faces):
    prepare_noise(faces / "zoe.w2l", live_engine())  # while the server runs
    assert server.get("/v1/live/faces").json() == {
        "faces": ["anna", "damaged", "gray", "wide", "zoe"],
        "has_voice": False,
    }
    (faces / "zoe.w2l").unlink()


REFUSALS = [
    ([b"\0\0"], 1003, "start"),
    (["hello"], 1003, "PCM16"),
    ([{"type": "flush"}], 1008, "type"),
    ([START | {"face": "../anna"}], 1008, "anna"),
    ([START | {"face": "damaged"}], 1008, "damaged"),
    ([START | {"model": "none"}], 1008, "model='none'"),
    ([START | {"sample_rate": 4_000}], 1008, "sample_rate"),
    ([START | {"sample_rate": 96_000}], 1008, "sample_rate"),
    ([START | {"sample_rate": "16000"}], 1008, "sample_rate"),
    ([START | {"format": "webm"}], 1008, "format"),
    ([START | {"format": "mp4", "face": "wide"}], 1008, "MP4 of 40000x16 pixels"),
    ([START | {"fps": 25}], 1008, "fps"),
    ([START | {"max_delay": 0.1}], 1008, "max_delay"),
    ([START | {"max_delay": 61}], 1008, "max_delay"),
    ([START, b"\0\0\0"], 1007, "3 bytes"),
    ([START, "sound"], 1003, "PCM16"),
    ([START, START], 1008, "type"),
    ([START, {"type": "say", "text": "Hello."}], 1008, "--tts_voice"),
    ([START, {"type": "say", "text": "x" * 501}], 1008, "500 characters"),
    ([START, SILENCE + b"\0\0"], 1009, "262144 bytes"),
    ([START, {"type": "end"}, b"\0\0"], 1008, "ended"),
    ([START | {"sample_rate": 8_000}, *[SILENCE] * 6], 1008, "flood"),
]


def test_refusals_are_one_sentence_and_spare_another_session(server, faces):
    with opened(server) as other:
        for messages, code, word in REFUSALS:
            with server.websocket_connect(URL) as socket:
                for message in messages:
                    if isinstance(message, bytes):
                        socket.send_bytes(message)
                    else:
                        socket.send_text(message if isinstance(message, str) else json.dumps(message))
                while (text := socket.receive().get("text")) is None or '"ready"' in text:
                    pass
                with pytest.raises(WebSocketDisconnect) as close:
                    socket.receive_text()
            error = json.loads(text)
            assert error["type"] == "error" and word in error["error"], (word, error)
            assert "\n" not in error["error"] and str(faces) not in error["error"], error
            assert close.value.code == code, (word, error)
            assert close.value.reason and error["error"].startswith(close.value.reason), error
        other.send_json({"type": "end"})
        frames, last, (code, _) = receive_end(other)
    assert (last["type"], code) == ("end", 1000)
    assert [seconds for seconds, _ in frames] == pytest.approx([n / 25 for n in range(len(frames))])


def test_disconnect_frees_the_place_of_a_session(server):
    with opened(server) as first, opened(server):
        assert refuse(server) == (1013, "you have 2 open live sessions, the limit of a client; close one")
        first.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                with opened(server) as third:
                    assert receive_frame(third)[0] == 0.0
                    break
            except AssertionError:
                assert time.monotonic() < deadline
    with opened(server), opened(server):
        pass


def test_cancelled_sessions_end_without_an_error(server):
    for _ in range(60):  # a race: one in thirty left a CancelledError behind when tasks were gathered
        with opened(server):
            pass


def refuse(server):
    with server.websocket_connect(URL) as socket:
        socket.receive_json()
        with pytest.raises(WebSocketDisconnect) as close:
            socket.receive_text()
    return close.value.code, close.value.reason


def test_limits_are_of_all_sessions_and_of_each_client():
    limit = session.SessionLimit(Settings(live_sessions=2, live_sessions_per_client=1))
    with limit.session("ann"):
        with pytest.raises(SessionError, match="1 open"), limit.session("ann"):
            pass
        with limit.session("bob"), pytest.raises(SessionError, match="all 2"), limit.session("eve"):
            pass
        with limit.session("bob"):
            pass


def test_sessions_end_after_their_time(server, monkeypatch):
    monkeypatch.setattr(server.app.state.live, "seconds", 0.2)
    with opened(server) as socket:
        _, error, (code, reason) = receive_end(socket)
    assert (code, reason) == (1008, error["error"]) and "limit of 0.2 s" in reason
    monkeypatch.setattr(routes, "START_TIMEOUT_S", 0.05)
    code, reason = refuse(server)
    assert code == 1008 and "no start message" in reason
    monkeypatch.setattr(session, "MESSAGE_BURST", 3)
    monkeypatch.setattr(session, "MESSAGES_PER_SECOND", 1)
    monkeypatch.setattr(server.app.state.live, "seconds", 5)
    with opened(server) as socket:
        for _ in range(9):
            socket.send_bytes(b"")
        assert "flood" in receive_end(socket)[1]["error"]


class DeafSocket:
    """WebSocket of a client that reads a few messages, then none."""

    def __init__(self, reads: int):
        self.reads, self.sent = reads, 0

    async def receive(self):
        await sleep_forever()

    async def send_bytes(self, data):
        if self.sent == self.reads:
            await sleep_forever()
        self.sent += 1


def test_session_of_a_client_that_does_not_read_ends(faces, monkeypatch):
    monkeypatch.setattr(session, "SEND_TIMEOUT_S", 0.3)
    socket = DeafSocket(reads=3)
    with LiveLipSync(faces / "anna.w2l", live_engine(), realtime=False) as live:
        live.push(voice(4.0), RATE)
        one = session.LiveSession(socket, live, JpegFormat(RATE), RATE, CapacityLimiter(1))
        with pytest.raises(SessionError, match="read nothing for 0.3 s; read the frames as they come") as error:
            anyio.run(one.run)
        assert error.value.code == 1008 and socket.sent == 3
        remaining = next(live)  # the one after the frame that was not read: none is taken while that waits
    assert remaining.time == Fraction(4, 25)


def test_flood_names_both_remedies(server):
    with opened(server) as socket:
        for _ in range(9):
            socket.send_bytes(SILENCE)
        error = receive_end(socket)[1]["error"]
    assert error.startswith("flood: 60 s of audio are queued; send audio as fast as it is spoken, and read the frames")


def test_failure_of_the_generator_is_an_internal_error(server, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("wav2lip.live.stream.LipStream.frames", fail)
    with opened(server) as socket:
        _, error, (code, _) = receive_end(socket)
    assert (code, error["error"]) == (1011, "internal server error; see the server's log")
    assert "out of memory" in caplog.text


def test_keys_origins_and_rates_hold_for_the_socket(start_server, key_file, faces):
    path, keys = key_file
    client = start_server(keys=path, live_faces=faces, requests_per_minute=6, origins=("https://app.example",))

    def status(**headers: str) -> int:
        try:
            with client.websocket_connect(URL, headers=headers):
                return 101
        except WebSocketDenialResponse as error:
            return error.status_code if list(error.json()) == ["error"] else 0

    ann = bearer(keys["ann"])
    assert status() == 401
    assert status(**bearer("w2l_wrong")) == 401
    assert status(**ann, Origin="https://evil.example") == 403
    assert status(**ann, Host="evil.example") == 403
    for headers in ({}, {"Origin": "http://127.0.0.1"}, {"Origin": "https://app.example"}):
        assert status(**ann, **headers) == 101, headers
    assert [status(**ann) for _ in range(4)] == [101, 101, 101, 429]
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://127.0.0.1/gradio_api/x", headers=ann):
        pass
    assert "/v1/live" in client.get("/openapi.json", headers=bearer(keys["bob"])).json()["info"]["description"]


def test_without_faces_there_is_no_socket(start_server):
    with pytest.raises(WebSocketDisconnect), start_server().websocket_connect(URL):
        pass


def test_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="--live_faces="):
        FaceFolder(tmp_path / "missing")


def test_changed_face_is_read_again(faces, tmp_path):
    (tmp_path / "anna.w2l").write_bytes((faces / "anna.w2l").read_bytes())
    folder = FaceFolder(tmp_path)
    assert len(folder.get("anna").images) == 12 and folder.get("anna") is folder.get("anna")
    prepare_noise(tmp_path / "anna.w2l", live_engine(), frames=3)
    assert len(folder.get("anna").images) == 3


@pytest.mark.slow
def test_example_client_saves_the_frames_and_audio_of_a_server(media, faces, tmp_path):
    speech = (voice(1.0) * 32767).astype("<i2")
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(speech.tobytes())
    with server_process(
        media, tmp_path / "data", "--live_faces", str(faces), "--connections_per_address", "2"
    ) as server:
        server.client.close()
        url = f"ws://127.0.0.1:{server.port}/v1/live"
        command = [sys.executable, str(ROOT / "examples" / "live_client.py"), str(tmp_path / "speech.wav"), "--face"]
        for number in range(3):  # more than the connections of an address: each is released
            process = subprocess.run([*command, "anna", "--url", url, "--out", str(tmp_path / "out")],
                                     capture_output=True, text=True, timeout=60)  # fmt: skip
            assert process.returncode == 0 and '"end"' in process.stdout, (number, process.stderr)
        failed = subprocess.run([*command, "bob", "--url", url], capture_output=True, text=True, cwd=tmp_path)
        assert failed.returncode and "choose one of: anna" in failed.stdout and "1008" in failed.stderr
    images = sorted((tmp_path / "out").glob("*.jpg"))
    assert len(images) >= 25 and Image.open(images[0]).size == (64, 64)
    with wave.open(str(tmp_path / "out" / "audio.wav")) as file:
        audio = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    heard = np.flatnonzero(audio)
    begin, end = np.flatnonzero(speech)[[0, -1]]
    assert np.array_equal(audio[heard[0] : heard[-1] + 1], speech[begin : end + 1])
