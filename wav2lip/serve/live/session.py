"""Live session of one WebSocket: audio and control messages in, frames out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from anyio import CapacityLimiter, Lock, create_task_group, fail_after, sleep
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync
from starlette.websockets import WebSocket

from wav2lip.errors import InputError
from wav2lip.live import LiveFrame, LiveLipSync
from wav2lip.serve.live.formats import FrameFormat
from wav2lip.serve.live.messages import (
    INTERNAL_ERROR,
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
    SayIn,
    SessionError,
    decode_audio,
    parse_control,
    receive,
)
from wav2lip.serve.live.speech_synthesis import SpeechSynthesizer
from wav2lip.serve.settings import Settings

MESSAGES_PER_SECOND, MESSAGE_BURST = 200, 500  # pieces of 10 ms are 100 per second
SEND_TIMEOUT_S = 10.0  # for a message to a client that does not read
ROOM_INTERVAL_S = 0.1  # until a sentence is pushed again while too much audio is queued


class SessionLimit:
    """Number of open sessions, of all clients and of each; used from the event loop only."""

    def __init__(self, settings: Settings):
        self._total, self._per_client = settings.live_sessions, settings.live_sessions_per_client
        self._open: Counter[str] = Counter()

    @contextmanager
    def session(self, client: str) -> Iterator[None]:
        """Count a session inside the block. Raises: SessionError if there are too many."""
        if self._open[client] >= self._per_client:
            raise SessionError(
                TRY_AGAIN_LATER, f"you have {self._per_client} open live sessions, the limit of a client; close one"
            )
        if self._open.total() >= self._total:
            raise SessionError(TRY_AGAIN_LATER, f"all {self._total} live sessions are in use; try again later")
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


class LiveSession:
    """Connect a WebSocket to a live stream."""

    def __init__(
        self, websocket: WebSocket, live: LiveLipSync, frame_format: FrameFormat, sample_rate: int,
        threads: CapacityLimiter, voice: SpeechSynthesizer | None = None,
    ):  # fmt: skip
        """sample_rate: of the client's audio, in Hz. threads: of all sessions, one of each, which wait for frames.
        voice: reads text aloud; None: text is refused.
        """
        self._websocket, self._live, self._format = websocket, live, frame_format
        self._sample_rate, self._threads, self._voice = sample_rate, threads, voice
        self._begin, self._num_messages = time.monotonic(), 0
        self._speech_turn, self._num_texts, self._ends_after_texts = Lock(), 0, False
        self._num_interruptions = 0

    async def run(self) -> int:
        """Run until the end of the stream; return the number of frames.

        Raises: WebSocketDisconnect; SessionError for an invalid message, a flood, a client that does not read or a
        failed encoder; what stopped the stream.
        """
        count = 0
        try:
            async with create_task_group() as group:
                group.start_soon(self._receive_messages, group)
                count = await self._send_frames()
                group.cancel_scope.cancel()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return count

    async def _send_frames(self) -> int:
        count = 0
        while (data := await run_sync(self._next_message, limiter=self._threads, abandon_on_cancel=True)) is not None:
            await self._send(data)
            count += 1
        await self._send(await run_sync(self._encode, self._format.finish))
        return count

    async def _send(self, data: bytes) -> None:
        if not data:
            return
        try:
            with fail_after(SEND_TIMEOUT_S):
                await self._websocket.send_bytes(data)
        except TimeoutError as error:
            raise SessionError(
                POLICY_VIOLATION, f"the client read nothing for {SEND_TIMEOUT_S:g} s; read the frames as they come"
            ) from error

    def _next_message(self) -> bytes | None:
        frame = next(self._live, None)
        return None if frame is None else self._encode(self._format.write, frame)

    def _encode(self, function: Callable[..., bytes], *arguments: LiveFrame) -> bytes:
        try:
            return function(*arguments)
        except InputError as error:
            raise SessionError(INTERNAL_ERROR, str(error)) from error

    async def _receive_messages(self, group: TaskGroup) -> None:
        while True:
            message = await receive(self._websocket)
            self._count_message()
            if isinstance(message, bytes):
                self._push(decode_audio(message), self._sample_rate)
                continue
            control = parse_control(message)
            if isinstance(control, SayIn):
                self._num_texts += 1
                group.start_soon(self._say, control.text, self._num_interruptions)
            elif control.type == "end" and self._num_texts:
                self._ends_after_texts = True
            else:
                self._num_interruptions += control.type == "interrupt"
                getattr(self._live, control.type)()

    async def _say(self, text: str, num_interruptions: int) -> None:
        """Read a text aloud, after the texts before it, unless the session is interrupted."""
        if self._voice is None:
            raise SessionError(
                POLICY_VIOLATION, "say: this server has no voice; send audio, or start it with --tts_voice"
            )
        sentences = self._voice.synthesize(text)
        async with self._speech_turn:
            while self._num_interruptions == num_interruptions:
                sentence = await run_sync(next, sentences, None, abandon_on_cancel=True)
                if sentence is None:
                    break
                await self._push_sentence(*sentence, num_interruptions)
            if self._num_interruptions == num_interruptions:
                self._live.flush()
        self._num_texts -= 1
        if self._ends_after_texts and not self._num_texts:
            self._live.end()

    async def _push_sentence(self, samples: np.ndarray, rate: int, num_interruptions: int) -> None:
        """Append audio as soon as there is room, unless the session is interrupted."""
        while self._num_interruptions == num_interruptions:
            try:
                return self._live.push(samples, rate, timeout=0)
            except TimeoutError:
                await sleep(ROOM_INTERVAL_S)

    def _push(self, samples: np.ndarray, rate: int) -> None:
        try:
            self._live.push(samples, rate, timeout=0)
        except TimeoutError as error:
            raise SessionError(
                POLICY_VIOLATION,
                f"flood: {error}; send audio as fast as it is spoken, and read the frames as they come",
            ) from error

    def _count_message(self) -> None:
        self._num_messages += 1
        if self._num_messages > MESSAGE_BURST + MESSAGES_PER_SECOND * (time.monotonic() - self._begin):
            raise SessionError(
                POLICY_VIOLATION,
                f"flood: more than {MESSAGES_PER_SECOND} messages per second; send longer pieces of audio",
            )
