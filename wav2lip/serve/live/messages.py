"""Messages of a live session; docs/live.md has the table."""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from wav2lip.live.clock import MAX_LATE_S
from wav2lip.live.lipsync import MAX_AUDIO_S
from wav2lip.serve.error_handlers import describe_validation_error
from wav2lip.serve.errors import ApiError

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 48_000  # Hz
MAX_MESSAGE_BYTES = 1 << 18  # 2.7 s of audio at 48 kHz
MAX_TEXT_CHARACTERS = 500  # about 35 s of speech
MAX_REASON_BYTES = 123  # of a close frame, RFC 6455

# Close codes of RFC 6455 and its IANA registry.
NORMAL, UNSUPPORTED_DATA, INVALID_DATA, POLICY_VIOLATION = 1000, 1003, 1007, 1008
MESSAGE_TOO_BIG, INTERNAL_ERROR, TRY_AGAIN_LATER = 1009, 1011, 1013


class SessionError(ApiError):
    """Reason why the server ends a session."""

    def __init__(self, code: int, message: str):
        """code: of the close frame."""
        super().__init__(message)
        self.code = code


class StartIn(BaseModel):
    """First message of a session."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["start"]
    face: str
    sample_rate: int = Field(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)
    format: Literal["jpeg", "mp4"]
    model: str = ""
    max_delay: float | None = Field(default=None, ge=MAX_LATE_S, le=MAX_AUDIO_S)  # s


class ControlIn(BaseModel):
    """Change of the stream."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["flush", "interrupt", "end"]


class SayIn(BaseModel):
    """Text that the server's voice reads aloud."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["say"]
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)


CONTROL: TypeAdapter[ControlIn | SayIn] = TypeAdapter(Annotated[ControlIn | SayIn, Field(discriminator="type")])


async def receive(websocket: WebSocket) -> str | bytes:
    """Return the next message. Raises: WebSocketDisconnect; SessionError for a message above the size limit."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", NORMAL), message.get("reason"))
    text = message.get("text")
    content: str | bytes = message["bytes"] if text is None else text
    if len(content) > MAX_MESSAGE_BYTES:
        raise SessionError(MESSAGE_TOO_BIG, f"a message exceeds {MAX_MESSAGE_BYTES} bytes; send shorter pieces")
    return content


def parse_start(message: str | bytes) -> StartIn:
    """Return the first message. Raises: SessionError if it is another one."""
    if isinstance(message, bytes):
        raise SessionError(UNSUPPORTED_DATA, "the first message must be JSON of type start; send it as text")
    try:
        return StartIn.model_validate_json(message)
    except ValidationError as error:
        _raise_invalid(error)


def parse_control(message: str) -> ControlIn | SayIn:
    """Return a text message after the first one. Raises: SessionError if it is no control message."""
    try:
        return CONTROL.validate_json(message)
    except ValidationError as error:
        _raise_invalid(error)


def _raise_invalid(error: ValidationError) -> NoReturn:
    if error.errors()[0]["type"] == "json_invalid":
        raise SessionError(
            UNSUPPORTED_DATA, "a text message must be JSON; send audio as binary messages of PCM16"
        ) from error
    raise SessionError(POLICY_VIOLATION, describe_validation_error(error)) from error


def decode_audio(message: bytes) -> np.ndarray:
    """Return the samples (n,) int16 of a binary message. Raises: SessionError for an odd number of bytes."""
    if len(message) % 2:
        raise SessionError(INVALID_DATA, f"audio of {len(message)} bytes: must be PCM16, two bytes per sample")
    return np.frombuffer(message, "<i2").astype(np.int16)


def close_reason(message: str) -> str:
    """Return the part of a sentence that fits into a close frame."""
    return message.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
