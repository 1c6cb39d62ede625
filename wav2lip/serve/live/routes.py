"""Routes of live speech: the faces, and the WebSocket of a session."""

from __future__ import annotations

import contextlib
import logging

from anyio import CancelScope, CapacityLimiter, fail_after, move_on_after
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Security, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field

from wav2lip.errors import USER_ERRORS
from wav2lip.live import LiveLipSync
from wav2lip.serve.jobs.model_pool import ModelPool
from wav2lip.serve.live.faces import FaceFolder
from wav2lip.serve.live.formats import FrameFormat, build_format
from wav2lip.serve.live.messages import (
    INTERNAL_ERROR,
    NORMAL,
    POLICY_VIOLATION,
    SessionError,
    StartIn,
    close_reason,
    parse_start,
    receive,
)
from wav2lip.serve.live.session import LiveSession, SessionLimit
from wav2lip.serve.live.speech_synthesis import SpeechSynthesizer
from wav2lip.serve.middleware.auth import LIVE_PATH
from wav2lip.serve.routes import API_KEY, ERROR_RESPONSES
from wav2lip.serve.settings import Settings

FPS = 25.0
START_TIMEOUT_S = 10.0  # until the first message
CLOSE_TIMEOUT_S = 2.0  # of a client that does not read

log = logging.getLogger(__name__)
router = APIRouter()


class LiveService:
    """What the live sessions of a server share."""

    def __init__(self, settings: Settings, models: ModelPool):
        """Raises: InputError if `settings.live_faces` is not a folder, or `settings.tts_voice` is not a voice."""
        assert settings.live_faces is not None
        self.faces, self.models = FaceFolder(settings.live_faces), models
        self.voice = None if settings.tts_voice is None else SpeechSynthesizer(settings.tts_voice)
        self.sessions = SessionLimit(settings)
        self.seconds = settings.live_seconds
        self.threads = CapacityLimiter(settings.live_sessions)

    def open(self, start: StartIn) -> tuple[LiveLipSync, FrameFormat]:
        """Start a live stream. Raises: InputError if the face, the model or the format cannot be used."""
        engine = self.models.get(self.models.resolve_name(start.model)).lipsync
        face = self.faces.get(start.face)
        frame_format = build_format(start.format, start.sample_rate, face)
        live = LiveLipSync(face, engine, FPS, audio_rate=frame_format.audio_rate, max_delay_s=start.max_delay)
        return live, frame_format


class FacesOut(BaseModel):
    """What a live session can use."""

    faces: list[str] = Field(description="Names of the prepared faces.", examples=[["anna"]])
    has_voice: bool = Field(description="True if the message `say` of a session is available.")


@router.get(
    f"{LIVE_PATH}/faces", tags=["live"], summary="List prepared faces", responses=ERROR_RESPONSES,
    dependencies=[Security(API_KEY)],
)  # fmt: skip
def list_faces(request: Request) -> FacesOut:
    """List the faces that can speak over the WebSocket /v1/live; files may be added while the server runs."""
    service: LiveService = request.app.state.live
    return FacesOut(faces=service.faces.names, has_voice=service.voice is not None)


@router.websocket(LIVE_PATH)
async def live(websocket: WebSocket) -> None:
    """Run a live session and close the socket; errors become one sentence and a close code."""
    service: LiveService = websocket.app.state.live
    await websocket.accept()
    try:
        with service.sessions.session(websocket.state.client):
            frames = await _run(websocket, service)
    except WebSocketDisconnect:
        return
    except SessionError as error:
        await _close(websocket, error.code, {"type": "error", "error": str(error)})
    except USER_ERRORS as error:
        await _close(websocket, POLICY_VIOLATION, {"type": "error", "error": service.faces.redact(str(error))})
    except Exception:
        log.exception("a live session failed with an internal error")
        message: dict[str, object] = {"type": "error", "error": "internal server error; see the server's log"}
        await _close(websocket, INTERNAL_ERROR, message)
    else:
        await _close(websocket, NORMAL, {"type": "end", "frames": frames})


async def _run(websocket: WebSocket, service: LiveService) -> int:
    """Run a session from its first message on, within the limit of its length; return the number of frames."""
    try:
        with fail_after(START_TIMEOUT_S):
            start = parse_start(await receive(websocket))
    except TimeoutError as error:
        raise SessionError(POLICY_VIOLATION, f"no start message within {START_TIMEOUT_S:g} s; send it first") from error
    stream, frame_format = await run_sync(service.open, start)
    ready = {"type": "ready", "fps": FPS, "sample_rate": start.sample_rate}
    if frame_format.mime_type:
        ready["mime_type"] = frame_format.mime_type
    session = LiveSession(websocket, stream, frame_format, start.sample_rate, service.threads, service.voice)
    try:
        with fail_after(service.seconds):
            await websocket.send_json(ready)
            return await session.run()
    except TimeoutError as error:
        raise SessionError(
            POLICY_VIOLATION, f"the session exceeded the limit of {service.seconds:g} s; start another one"
        ) from error
    finally:
        with CancelScope(shield=True):
            await run_sync(stream.close)


async def _close(websocket: WebSocket, code: int, message: dict[str, object]) -> None:
    """Send the last message and close the socket, unless the client is gone or does not read."""
    with contextlib.suppress(WebSocketDisconnect), move_on_after(CLOSE_TIMEOUT_S):
        await websocket.send_json(message)
        await websocket.close(code, close_reason(str(message.get("error", ""))))
