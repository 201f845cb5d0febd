"""A call: a Realtime session whose audio is in WebRTC tracks, and whose events are in a data channel.

The audio is played by the server, in real time. How much of a response was played is therefore known, and an interrupted
response is shortened without a request of the client.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import anyio
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.audio_io.output import LoudspeakerSink
from sca.infer.clock import TICK_HZ, Clock, LoopClock
from sca.infer.frames import AudioOutput, ControlFrame, Interrupt
from sca.infer.interfaces import AudioSink
from sca.infer.notifier import Notifier
from sca.infer.server.protocols.realtime.events import Event, RealtimeError, warning_event
from sca.infer.server.protocols.realtime.session import RealtimeConnection
from sca.infer.server.protocols.webrtc.audio import FRAME_MS, TRACK_HZ, ReceivedAudio
from sca.infer.server.protocols.webrtc.call_socket import CallSocket
from sca.infer.server.protocols.webrtc.output_buffer import OutputAudioBuffer
from sca.infer.server.protocols.webrtc.peer import Peer
from sca.infer.server.ws.connection import logger
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from sca.config import LiveConfig
    from sca.infer.server.core.sessions import SessionSlot
    from sca.infer.server.core.state import ServerContext

__all__ = ["CallConnection"]

_CONNECT_S = 20.0


class CallConnection(RealtimeConnection):
    """One call.

    Args:
        context: The state of the server.
        socket: The socket of the events.
        slot: The slot of the session.
        peer: The WebRTC connection.
        settings: The `session` of the request, as in `session.update`.

    Raises:
        RealtimeError: The settings are not valid.
    """

    def __init__(
        self,
        context: "ServerContext",
        socket: CallSocket,
        slot: "SessionSlot",
        peer: Peer,
        settings: Mapping[str, object] | None,
    ) -> None:
        super().__init__(context, socket, slot, settings)
        self._call_socket, self._peer = socket, peer
        self._clock: Clock = LoopClock()
        self._sink: _TrackSink | None = None
        self._playing, self._playing_changed = OutputAudioBuffer(), Notifier()

    def hang_up(self) -> None:
        """End the call."""
        self._end("end", "hung up")

    def fill(self, samples: int) -> NDArray[np.float32]:
        """Return the next samples to send, float32 `(samples,)` at 48 kHz: speech, or silence."""
        return np.zeros(samples, np.float32) if self._sink is None else self._sink.fill(samples)

    @override
    def _client_tasks(self) -> Sequence[Callable[[], Coroutine[object, None, None]]]:
        return *super()._client_tasks(), self._read_audio, self._watch_peer, self._report_playing

    # The connection

    async def _watch_peer(self) -> None:
        with anyio.move_on_after(_CONNECT_S):
            while not (self._peer.is_connected or self._peer.is_closed):
                await self._peer.wait_for_change()
        if not (self._peer.is_connected or self._peer.is_closed):
            logger.info("session %s has no connection after %g s", self._slot.id, _CONNECT_S)
        while self._peer.is_connected:
            await self._peer.wait_for_change()
        self._end("disconnected")

    async def _read_audio(self) -> None:
        received, is_full = ReceivedAudio(), False
        while (frame := await self._peer.receive()) is not None:
            self._slot.touch()
            pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
            samples = received.push(pcm, frame.sample_rate, frame.pts)
            try:
                self._buffer.append_samples(samples)
            except RealtimeError as error:
                if not is_full:
                    self._send(warning_event("input_audio_dropped", error.message))
                is_full = True
            else:
                is_full = False
            self._input.notify()

    # Events

    @override
    def _messages(self, event: Event) -> tuple[str, ...]:
        return () if event["type"] == "response.output_audio.delta" else super()._messages(event)

    @override
    def _handle(self, kind: str, event: Event) -> None:
        if kind != "output_audio_buffer.clear":
            super()._handle(kind, event)
        elif self._playing:
            self._interrupt("client_cancelled")

    # Playing

    @override
    def _new_sink(self, clock: Clock) -> AudioSink:
        self._clock, self._sink = clock, _TrackSink(clock, self._live, self._add_audio)
        return self._sink

    @property
    def _current_id(self) -> str | None:
        current = self._responses.current
        return None if current is None else current.id

    def _add_audio(self, frame: AudioOutput, start: int) -> None:
        self._responses.add_audio(frame)  # all events but that of the audio are sent
        response = self._responses.current
        assert response is not None
        assert response.item_id is not None
        self._playing.add(response.id, response.item_id, start, frame.num_samples)
        self._playing_changed.notify_all()

    async def _report_playing(self) -> None:
        while True:
            self._advance()
            tick = self._playing.next_tick(self._current_id)
            left_s = None if tick is None else max(0, tick - self._clock.now()) / TICK_HZ
            with anyio.move_on_after(left_s):
                await self._playing_changed.wait()

    def _advance(self) -> None:
        for event in self._playing.advance(self._clock.now(), self._current_id):
            self._send({"type": f"output_audio_buffer.{event.kind}", "response_id": event.response_id})
        self._slot.speaking = self.is_responding or bool(self._playing)

    @override
    def _on_response_change(self, change: Literal["started", "continued", "ended"]) -> None:
        super()._on_response_change(change)
        self._slot.speaking = self.is_responding or bool(self._playing)
        self._playing_changed.notify_all()

    @override
    def on_speech_started(self, start_ms: int) -> None:
        super().on_speech_started(start_ms)
        detection = self._config.turn_detection
        # A response that is complete may still be playing.
        if detection is not None and detection.interrupt_response and self._playing and not self.is_responding:
            self._interrupt("turn_detected")

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if self._sink is not None:
            self._sink.on_control(frame)
        super().on_control(frame)
        if isinstance(frame, Interrupt):
            self._clear_playing()

    def _clear_playing(self) -> None:
        """Report what was played of the responses whose audio the sink has discarded."""
        self._advance()
        unplayed = 0 if self._sink is None else self._sink.discarded_samples
        for cut in self._playing.clear(self._clock.now(), unplayed):
            if cut.has_started:
                self._send({"type": "output_audio_buffer.cleared", "response_id": cut.response_id})
            try:
                self._truncate(cut.item_id, 0, cut.played_ms)
            except RealtimeError:  # the item was deleted, or is outside the conversation
                continue
        self._playing_changed.notify_all()


class _TrackSink(LoudspeakerSink):
    """A loudspeaker whose driver is the track of a call.

    Args:
        clock: The clock of the session.
        live: Delays and buffer sizes.
        on_accepted: Called with a frame and the tick at which it is played.

    Attributes:
        discarded_samples: How many samples at 24 kHz the latest flush has discarded.
    """

    def __init__(self, clock: Clock, live: "LiveConfig", on_accepted: Callable[[AudioOutput, int], object]) -> None:
        super().__init__(clock, live, buffer_ms=FRAME_MS)
        self._on_accepted = on_accepted
        self.on_open(TRACK_HZ)

    @override
    def flush(self) -> None:
        self.discarded_samples = self._queued_samples * SPOKEN_HZ // self.rate_hz
        super().flush()

    @override
    async def play(self, frame: AudioOutput) -> int:
        start = await super().play(frame)
        self._on_accepted(frame, start)
        return start
