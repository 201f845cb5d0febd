"""The engine's side of a Realtime session: its input, the turns of the user, and when it is asked to answer.

There is one turn-taker: this one, with the settings of the client. It finds speech in the audio of the client and tells
an engine that follows turns (`EngineInfo.follows_turns`) about them, at their places in the audio. An engine that finds
turns by itself gets the audio only; the events of the client are then a report.

Time is that of the sound: nothing is heard while no audio comes, and the events are the same however the audio is cut and
whenever it arrives. An engine advances only with its input, so while an answer is due and no audio comes, it is stepped
with silence in real time; that silence is no sound of the user (`AudioInput.added_silence`).
"""

from collections import deque
from typing import Protocol

import anyio
import numpy as np
from numpy.typing import NDArray

from sca.infer.engine import EngineInfo
from sca.infer.frames import Signal, TurnSignal
from sca.infer.notifier import Notifier
from sca.infer.server.protocols.realtime.events import TurnDetection
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer, InputRequest
from sca.infer.server.protocols.realtime.speech_detector import SpeechDetector, SpeechEvent
from sca.infer.server.ws.stream_io import NetworkSource
from sca.units import HEARD_HZ, Grid

__all__ = ["EngineInput", "EngineInputListener"]

_PAD_SAMPLES = HEARD_HZ * 96 // 1000  # after the speech that the VAD detects, because word ends fade
_GRACE_S = 0.1  # that the audio of a client may be late before the engine is stepped without it
_FAST_INTERVAL_S = 0.02  # between two chunks of silence for an engine that has to find the end of a kept turn
_TURN_END_S = 2.0  # of silence, after which an engine has found the end of a turn
_POLL_S = 0.01
_NOTICE_PATIENCE_S = 5.0  # after the engine reported a problem


class EngineInputListener(Protocol):
    """The session that the input belongs to."""

    @property
    def is_responding(self) -> bool:
        """Whether a response is in progress."""
        ...

    @property
    def is_speaking(self) -> bool:
        """Whether the engine speaks or writes it already."""
        ...

    @property
    def awaits_text(self) -> bool:
        """Whether the engine owes a text besides the response, so that it must be stepped."""
        ...

    def automatic_answer(self) -> Signal:
        """Return the request for an answer to a turn that the server has detected."""
        ...

    def start_source(self) -> NetworkSource:
        """Start the session of the engine and return its source."""
        ...

    async def wait_until_played(self) -> None:
        """Wait until the audio of all steps so far was sent."""
        ...

    def on_speech_started(self, start_ms: int) -> None:
        """Handle that the user began to speak."""
        ...

    def on_speech_stopped(self, end_ms: int) -> None:
        """Handle that a turn of the user is over."""
        ...

    def on_barge_in(self) -> None:
        """End the response, because the user speaks."""
        ...

    def on_no_answer(self, message: str) -> None:
        """End the response, because the engine does not answer.

        Args:
            message: Why.
        """
        ...


class EngineInput:
    """The input of the engine of one session.

    Args:
        buffer: The audio and the requests of the client.
        listener: The session.
        engine: The properties of the engine.
        grid: The grid of the session.
        stall_s: How long the audio may stop while the user speaks; then the turn is over.
        patience_s: How long the engine may take to answer.
    """

    def __init__(
        self,
        buffer: InputBuffer,
        listener: EngineInputListener,
        engine: EngineInfo,
        grid: Grid,
        *,
        stall_s: float,
        patience_s: float,
    ) -> None:
        self._buffer, self._listener, self._engine = buffer, listener, engine
        self._chunk, self._chunk_s = grid.heard_samples, float(grid.chunk_s)
        self._stall_s, self._patience_s = stall_s, patience_s
        self._detection: TurnDetection | None = None
        self._detector: SpeechDetector | None = None
        self._source: NetworkSource | None = None
        self._changed = Notifier()
        self._put_samples = 0  # of sound, into the source
        self._turn_start: int | None = None
        self._last_turn_end = 0
        self._held: deque[NDArray[np.float32]] = deque()  # for an engine that would answer at once
        self._held_uncommitted = 0
        self._is_due = self._is_queued = False  # whether an answer is due, or after the response in progress
        self._now_s = anyio.current_time
        self._due_s = self._sound_s = self._since_s = 0.0
        self._silent_samples = 0  # put since the last sign of an answer
        self._notice: str | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether audio or requests of the client have not reached the engine."""
        return not self._buffer.is_empty or (self._source is not None and self._source.has_signals)

    # Settings and signs

    def set_detection(self, detection: TurnDetection | None, detector: SpeechDetector | None) -> None:
        """Use other settings from the next sample on.

        Args:
            detection: The settings; None if the client commits its turns.
            detector: Detects speech by these settings.
        """
        self._detection, self._detector = detection, detector
        if detector is not None:
            detector.restart(self._buffer.taken)
        self._changed.notify_all()

    def notify(self) -> None:
        """Note that the buffer or the response has changed."""
        self._changed.notify_all()

    def note_answer(self) -> None:
        """Note that a response was created, or that the engine speaks."""
        self._silent_samples, self._since_s, self._notice = 0, self._now_s(), None
        self._changed.notify_all()

    def note_problem(self, message: str) -> None:
        """Note a problem of the engine: an answer that does not come soon after it is given up with this message."""
        if (self._is_due or self._listener.is_responding) and not self._listener.is_speaking:
            self._notice = message
            self._since_s = self._now_s()

    def restart(self) -> None:
        """Note that the session of the engine was dropped. The next one hears the rest of the audio."""
        self._source, self._put_samples = None, 0
        if self._turn_start is not None:
            self._signal(TurnSignal("speech"))
        self._changed.notify_all()

    def end_response(self) -> None:
        """Note that the response has ended. The answer to a turn that ended meanwhile is now due."""
        self._is_due = False
        if self._is_queued:
            self._is_queued = False
            self._request_answer(None, explicit=True)
        self._changed.notify_all()

    def cancel(self) -> None:
        """Note that the response, or the answer that was due, is cancelled."""
        self._is_due = self._is_queued = False
        if self._source is not None:
            self._source.withdraw("answer")
        self._changed.notify_all()

    # The loop

    async def run(self) -> None:
        """Feed the engine, until cancelled."""
        while True:
            if self._buffer.is_empty:
                self._check_patience()
                await self._wait()
            elif not await self._waited_for_engine():
                await self._advance()

    async def _advance(self) -> None:
        """Process the next piece of audio, which never spans two chunks, or the next request."""
        room = self._chunk if self._source is None else self._source.missing_samples
        start = self._buffer.taken
        item = self._buffer.take(room)
        if isinstance(item, InputRequest):
            await self._process(item)
            return
        self._sound_s = self._now_s()
        if self._engine.follows_turns and self._detector is None and self._turn_start is None:
            self._turn_start = start
            self._signal(TurnSignal("speech", self._in_source(start, start)))
        if self._detector is not None:
            for event in self._detector.push(item):
                self._on_event(event, start)
            if self._detector.speaking:
                self._silent_samples, self._since_s = 0, self._now_s()
        if self._is_streaming:
            await self._put(item)
        else:
            self._held.append(item)
            self._held_uncommitted += len(item)
            await anyio.lowlevel.checkpoint()

    @property
    def _is_streaming(self) -> bool:
        """Whether the engine gets audio at once."""
        return self._engine.follows_turns or (self._detection is not None and self._detection.create_response)

    async def _process(self, request: InputRequest) -> None:
        here = self._buffer.taken
        match request.kind:
            case "commit":
                self._end_turn(self._last_turn_end if self._turn_start is None else self._turn_start, here, here)
                if self._detector is not None:
                    self._detector.restart(here)
            case "clear":
                self._turn_start, self._last_turn_end = None, here
                if self._detector is not None:
                    self._detector.restart(here)
                if self._engine.follows_turns and self._source is not None:
                    self._source.signal(TurnSignal("discard"))
                while self._held_uncommitted > 0:
                    self._held_uncommitted -= len(self._held.pop())
            case "answer":
                while self._held:
                    await self._put(self._held.popleft())
                self._held_uncommitted = 0
                self._request_answer(request.signal or TurnSignal("answer"), explicit=True)
            case "tell":
                assert request.signal is not None
                self._started_source().signal(request.signal)

    async def _put(self, samples: NDArray[np.float32]) -> None:
        source = self._started_source()
        for at in range(0, len(samples), self._chunk):
            piece = samples[at : at + self._chunk]
            self._put_samples += len(piece)
            chunks = source.chunks
            await source.put(piece)
            if source.chunks > chunks:
                self._due_s = max(self._due_s + self._chunk_s, self._now_s())

    async def _put_silence(self) -> None:
        source = self._started_source()
        await source.put_silence()
        self._silent_samples += self._chunk
        self._due_s = self._now_s() if self._is_fast else max(self._due_s + self._chunk_s, self._now_s())

    def _started_source(self) -> NetworkSource:
        if self._source is None:
            self._source = self._listener.start_source()
        return self._source

    # Turns

    def _on_event(self, event: SpeechEvent, taken: int) -> None:
        """Process an event in the audio that begins at `taken` and has not been put yet."""
        detection = self._detection
        assert detection is not None
        ms = event.sample * 1000 // HEARD_HZ
        if event.kind == "started":
            padding = detection.prefix_padding_ms
            self._listener.on_speech_started(max(0, ms - padding))
            self._turn_start = max(self._last_turn_end, event.sample - padding * HEARD_HZ // 1000)
            if detection.interrupt_response and (
                self._listener.is_responding or (self._is_due and self._engine.follows_turns)
            ):
                self._listener.on_barge_in()
            self._signal(TurnSignal("speech", self._in_source(self._turn_start, taken)))
            return
        self._listener.on_speech_stopped(ms)
        self._buffer.end_turn()
        start = self._last_turn_end if self._turn_start is None else self._turn_start
        self._end_turn(start, event.sample + _PAD_SAMPLES, taken)
        if detection.create_response:
            self._request_answer(None, explicit=False)

    def _end_turn(self, start: int, end: int, taken: int) -> None:
        self._signal(TurnSignal("turn", self._in_source(start, taken), self._in_source(end, taken)))
        self._turn_start, self._last_turn_end = None, end
        self._held_uncommitted = 0

    def _in_source(self, sample: int, taken: int) -> int:
        """Return the place in the source of a sample of the client, if that of `taken` is put next."""
        return max(0, sample - taken + self._put_samples)

    def _signal(self, signal: Signal) -> None:
        if self._engine.follows_turns:
            self._started_source().signal(signal)

    def _request_answer(self, request: Signal | None, *, explicit: bool) -> None:
        """Request an answer to the turns so far, unless another response is in progress.

        Args:
            request: How it is answered; None as the settings of the session have it.
            explicit: Whether it is due at once, because it does not follow audio that is coming.
        """
        if self._listener.is_responding and not explicit:
            self._is_queued = self._engine.follows_turns
            return
        self._signal(self._listener.automatic_answer() if request is None else request)
        self._is_due, self._silent_samples, self._since_s, self._notice = True, 0, self._now_s(), None
        begun = 0 if self._source is None else self._chunk - self._source.missing_samples
        self._due_s = self._now_s() - (self._chunk_s if explicit else begun / HEARD_HZ)

    # Waiting

    async def _waited_for_engine(self) -> bool:
        """Wait for the engine if the next audio is ahead of real time, and return whether it did.

        Otherwise speech would interrupt an answer that the engine has not come to.
        """
        source = self._source
        is_asking = self._detector is not None and self._detector.is_asking
        if source is None or (source.all_stepped and not is_asking):
            return False
        end = min(self._chunk, self._chunk - source.missing_samples + self._buffer.next_samples)
        ahead_s = self._due_s + end / HEARD_HZ - self._now_s()
        if ahead_s <= 0:
            return False
        with anyio.move_on_after(ahead_s):
            while not source.all_stepped:
                await source.wait_for_step()
            while self._detector is not None and self._detector.is_asking:
                await anyio.sleep(_POLL_S)
        await self._listener.wait_until_played()
        return True

    async def _wait(self) -> None:
        """Wait for audio, for a request, or until the engine is stepped without audio."""
        wake_s, act = self._next_timeout()
        if act is None:
            await self._changed.wait()
            return
        left_s = wake_s - self._now_s()
        if left_s > 0:
            with anyio.move_on_after(left_s):
                await self._changed.wait()
            return  # whatever has changed, it is looked at again: a wake-up is no silence
        if act == "stall":
            self._end_stalled_speech()
        else:
            await self._put_silence()

    def _next_timeout(self) -> tuple[float, str | None]:
        """Return when and how the engine is continued without audio; None if it is not."""
        in_speech = self._detector is not None and self._detector.in_speech
        if in_speech:
            return self._sound_s + self._stall_s, "stall"
        if not (self._is_due or self._listener.is_responding or self._listener.awaits_text):
            return 0.0, None
        if self._is_fast:
            return self._due_s + _FAST_INTERVAL_S, "silence"
        grace_s = 0.0 if self._detector is None else _GRACE_S
        return self._due_s + self._chunk_s + grace_s, "silence"

    @property
    def _is_fast(self) -> bool:
        """Whether an engine that finds turns by itself has to find the end of a kept turn."""
        if self._engine.follows_turns or self._is_streaming or self._listener.is_speaking:
            return False
        return not self._engine.answers_in_background or self._silent_samples < _TURN_END_S * HEARD_HZ

    def _end_stalled_speech(self) -> None:
        assert self._detector is not None
        event = self._detector.end()
        if event is not None:
            self._on_event(event, self._buffer.taken)

    def _check_patience(self) -> None:
        if not (self._is_due or self._listener.is_responding):
            return
        patience_s = self._patience_s if self._notice is None else _NOTICE_PATIENCE_S
        waited_s = max(self._now_s() - self._since_s, self._silent_samples / HEARD_HZ)
        if waited_s <= patience_s:
            return
        message = self._notice or f"the engine did not respond within {self._patience_s:g} s"
        self._is_due = False
        self._since_s = self._now_s()
        self._listener.on_no_answer(message)
