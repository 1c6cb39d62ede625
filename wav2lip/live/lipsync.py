"""Lip-sync of a prepared face in real time, for one speaker and one viewer."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import NamedTuple

import numpy as np

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.engine.prepared import PreparedFace
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSync
from wav2lip.lipsync.options import DEFAULTS, LipSyncOptions
from wav2lip.live.audio import to_mono
from wav2lip.live.clock import MAX_LATE_S, Clock, RateControl
from wav2lip.live.stream import LipStream, LiveFrame
from wav2lip.types import PathType

logger = logging.getLogger(__name__)

MAX_AUDIO_S = 60.0  # audio that waits for its frames; `push` blocks beyond it
QUEUED_FRAMES = 4  # frames that wait for the consumer; generation pauses beyond it
BATCH_SIZE = 4  # frames generated together after a delay
PAIR = 2  # frames generated together in real time: on a CPU two take the time of one
MAX_TAKEN_S = 0.5  # audio given to the stream ahead of its frames, which an interruption cannot drop one by one


class QueuedAudio(NamedTuple):
    """Audio that waits for its frames."""

    samples: np.ndarray
    rate: int  # Hz
    time: float  # of `push`, on the clock of time.monotonic


class LiveLipSync:
    """Push audio, iterate over frames; every method is thread-safe.

    In real time the clock starts at once: until audio arrives, and while it is late, the face idles with its mouth
    closed. A consumer that is slow delays the stream, with max_delay_s up to a limit. Frames are never skipped, and
    each carries its audio, so that lips and audio stay together.
    """

    def __init__(
        self, face: PathType | PreparedFace, checkpoint: PathType | LipSync, fps: float = 25.0, *,
        device: str = "auto", audio_rate: int = SAMPLE_RATE, options: LipSyncOptions = DEFAULTS,
        realtime: bool = True, adapt_fps: bool = True, max_delay_s: float | None = None,
    ):  # fmt: skip
        """face: file of `wav2lip.prepare`. checkpoint: file of the generator, or a loaded engine, which is shared.
        fps: of the stream; with adapt_fps lower where the machine is too slow (`wav2lip.live.clock.FRAME_RATES`).
        audio_rate: of the frames' audio, in Hz. options: blend, align, silence and precision are used.
        realtime: False generates frames as fast as audio arrives, without silence in between.
        max_delay_s: in real time, seconds by which a slow consumer or machine may delay the stream; beyond them the
            oldest audio that waits for its frames is dropped, as much as they are delayed. None drops nothing.
        Raises: InputError if the face or the checkpoint cannot be used, or max_delay_s is below MAX_LATE_S.
        """
        if max_delay_s is not None and not max_delay_s >= MAX_LATE_S:
            raise InputError(f"max_delay_s={max_delay_s}: must be at least {MAX_LATE_S} s, or None for no limit")
        engine = checkpoint if isinstance(checkpoint, LipSync) else LipSync.from_checkpoint(checkpoint, device=device)
        prepared = face if isinstance(face, PreparedFace) else PreparedFace(face)
        self._stream = LipStream(prepared, engine.generator, fps, audio_rate, options, BATCH_SIZE)
        self._clock = Clock() if realtime else None
        self._max_delay_s = max_delay_s
        self._rate = RateControl(fps) if realtime and adapt_fps else None
        self._changed = threading.Condition()
        self._audio: deque[QueuedAudio | None] = deque()  # None: end of an utterance
        self._frames: deque[LiveFrame] = deque()
        self._is_interrupted, self._is_ended, self._is_closed, self._has_stopped = False, False, False, False
        self._error: BaseException | None = None
        self._worker = threading.Thread(target=self._work, name="live-lipsync", daemon=True)
        self._worker.start()

    @property
    def fps(self) -> float:
        """Frames per second at present."""
        return self._stream.fps

    @property
    def late_share(self) -> float:
        """Share of the frames so far that were generated after the end of their time."""
        return self._clock.num_late / max(1, self._clock.num_frames) if self._clock else 0.0

    def push(self, samples: np.ndarray, rate: int, timeout: float | None = None) -> None:
        """Append audio.

        samples: (n,) or (n, channels) of int16, int32 or float in [-1, 1]. rate: Hz.
        timeout: seconds to wait while MAX_AUDIO_S of audio is queued; None waits forever.
        Raises: TimeoutError; InputError after `end` or `close`, and for any other audio or rate.
        """
        mono = to_mono(np.asarray(samples), rate)  # a copy
        with self._changed:
            self._check_open()
            if not self._changed.wait_for(lambda: self._is_closed or self._queued_s() < MAX_AUDIO_S, timeout):
                raise TimeoutError(f"{MAX_AUDIO_S:g} s of audio are queued")
            self._check_open()
            self._audio.append(QueuedAudio(mono, rate, time.monotonic()))
            self._changed.notify_all()

    def flush(self) -> None:
        """End an utterance: its last frames do not wait for more audio."""
        with self._changed:
            self._check_open()
            self._audio.append(None)
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Drop the audio that is not yet heard, and close the mouth within three frames."""
        with self._changed:
            self._audio.clear()
            self._is_interrupted = True
            self._changed.notify_all()

    def end(self) -> None:
        """End the stream after the audio pushed so far: the iterators stop after its last frame."""
        with self._changed:
            self._audio.append(None)
            self._is_ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop at once."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._worker.join()

    def __enter__(self) -> LiveLipSync:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[LiveFrame]:
        return self

    def __next__(self) -> LiveFrame:
        """Return the next frame; wait for it. Raises: what stopped the stream."""
        frame = self._take_frame()
        if frame is None:
            raise StopIteration
        return frame

    def __aiter__(self) -> AsyncIterator[LiveFrame]:
        return self

    async def __anext__(self) -> LiveFrame:
        """Return the next frame; wait for it in a thread."""
        frame = await asyncio.to_thread(self._take_frame)
        if frame is None:
            raise StopAsyncIteration
        return frame

    def _take_frame(self) -> LiveFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._is_closed or self._has_stopped)
            if self._error is not None:
                raise self._error
            if not self._frames or self._is_closed:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def _check_open(self) -> None:
        if self._is_ended or self._is_closed:
            raise InputError("the live stream has ended; start another one")
        if self._error is not None:
            raise self._error

    def _queued_s(self) -> float:
        return sum(len(item.samples) / item.rate for item in self._audio if item is not None)

    def _work(self) -> None:
        try:
            self._stream.warm_up()
            while not self._is_closed and self._step():
                pass
        except Exception as error:  # noqa: BLE001 - raised again in the threads of the user
            self._error = error
        with self._changed:
            self._has_stopped = True
            self._changed.notify_all()

    def _step(self) -> bool:
        """Take audio and generate frames, or wait; return False at the end of the stream."""
        with self._changed:
            if self._is_interrupted:
                self._stream.interrupt()
                self._is_interrupted = False
            self._limit_delay()
            has_audio = bool(self._audio) and self._stream.waiting_s < MAX_TAKEN_S
            item = self._audio.popleft() if has_audio else None
            is_last = self._is_ended and not self._audio and not has_audio
            self._changed.notify_all()
        if item is not None:
            self._stream.push(item.samples, item.rate)
        if has_audio and item is None:
            frames = self._stream.finish()
        else:
            is_ready = self._clock is None or self._stream.has_frames(PAIR)
            frames = self._stream.frames(self._batch_size() if is_ready else 0)
        if not self._release(frames) and not has_audio:
            if is_last:
                return False
            self._wait_for_audio()
        return True

    def _limit_delay(self) -> None:
        """Drop the oldest audio by as much as the stream was held since it was pushed, if beyond `max_delay_s`."""
        if self._clock is None or self._max_delay_s is None or self._clock.held_s <= self._max_delay_s:
            return
        oldest = next((item.time for item in self._audio if item is not None), math.inf)
        delay = min(self._clock.held_s, time.monotonic() - oldest)
        self._clock.held_s = 0.0
        if delay <= self._max_delay_s:
            return  # the stream was held while there was no audio
        before, surplus = self._queued_s(), delay
        kept: deque[QueuedAudio | None] = deque()
        for item in self._audio:
            if item is not None and surplus > 0:
                count = min(len(item.samples), math.ceil(surplus * item.rate))
                surplus -= count / item.rate
                item = item._replace(samples=item.samples[count:])
            if item is None or len(item.samples):
                kept.append(item)
        self._audio = kept
        logger.warning("dropped %.1f s of audio, as the stream was delayed by more than max_delay_s=%g",
                       before - self._queued_s(), self._max_delay_s)  # fmt: skip

    def _batch_size(self) -> int:
        """Return few frames, which an interruption can follow soon; more if the stream is late."""
        if self._clock is None:
            return BATCH_SIZE
        late = -self._clock.until_due(self._stream.time) * self._stream.fps
        return max(PAIR, min(BATCH_SIZE, 1 + int(late)))

    def _release(self, frames: Iterator[LiveFrame]) -> int:
        """Generate frames and give each to the consumer when it is due; return their number."""
        count, begin = 0, time.monotonic()
        for count, frame in enumerate(frames, 1):  # noqa: B007 - the count is returned
            busy = time.monotonic() - begin
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or len(self._frames) < QUEUED_FRAMES)
                if self._clock is not None:
                    due = self._clock.until_due(frame.time)
                    self._changed.wait_for(lambda: self._is_closed, max(0.0, due))
                if self._is_closed:
                    break
                self._frames.append(frame)
                self._changed.notify_all()
                if self._is_interrupted:
                    break
            self._adapt(frame, busy)
            begin = time.monotonic()
        return count

    def _adapt(self, frame: LiveFrame, busy: float) -> None:
        if self._clock is None:
            return
        is_late = self._clock.record(frame.time, 1 / self._stream.fps)
        if self._rate is None:
            return
        self._rate.record(is_late, busy)
        if self._rate.fps != self._stream.fps:
            logger.warning("%.3g frames per second, as this machine %s", self._rate.fps,
                           "is too slow" if self._rate.fps < self._stream.fps else "has time again")  # fmt: skip
            self._stream.change_fps(self._rate.fps)

    def _wait_for_audio(self) -> None:
        """Wait for audio; in real time until it is late, which is filled with silence."""
        with self._changed:
            timeout = None if self._clock is None else max(0.0, self._clock.until_padded(self._stream.time))
            has_news = self._changed.wait_for(
                lambda: self._audio or self._is_closed or self._is_interrupted or self._is_ended, timeout
            )  # fmt: skip
        if not has_news:
            self._stream.push_silence(PAIR)
            if self._clock is not None:
                self._clock.held_s = 0.0  # no audio waits, so nothing is delayed any more
