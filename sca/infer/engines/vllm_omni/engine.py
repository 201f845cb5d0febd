"""The engine `vllm-omni`: detects turns, sends each to the server, and plays the answer on the grid.

Turns are detected as in the parrot (by silence, or by the model of `live.turn_model`). The server receives a turn when
it is over. An answer that the user interrupts is cut here immediately, then on the server. A step never waits for the
network, unless the session runs in lockstep (`SessionConfig.pace`, or `vllm.lockstep`).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import SileroVad
from sca.config import LiveConfig, Settings, VllmConfig
from sca.infer.engine import EngineInfo, EngineSession, SessionConfig, StepGuard
from sca.infer.engines.turn_taking import TurnSegmenter, turn_detector_factory
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.connection import (
    ConnectionBroken,
    ConnectionEvent,
    ConnectionLost,
    ConnectionRestored,
    RealtimeConnection,
)
from sca.infer.frames import AudioInput, AudioOutput, ErrorFrame, Frame, Interrupt, TurnEnd
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["VllmOmniEngine", "load"]

log = logging.getLogger(__name__)

_CANCELS_HELD = 64


def load(settings: Settings) -> "VllmOmniEngine":
    """Return the engine for the server of `settings.vllm`. It connects when a session is opened.

    Raises:
        ConfigError: `vllm.base_url` is missing or invalid.
    """
    return VllmOmniEngine(settings.vllm, settings.live, turn_detector_factory(settings))


class VllmOmniEngine:
    """An engine that uses a vLLM-Omni server.

    Args:
        vllm: The server.
        live: The thresholds of turn detection.
        make_detector: Makes the turn detector of a session; None uses silence.

    Raises:
        ConfigError: `vllm.base_url` is missing or invalid.
    """

    def __init__(
        self,
        vllm: VllmConfig,
        live: LiveConfig | None = None,
        make_detector: "Callable[[], ModelTurnDetector] | None" = None,
    ) -> None:
        self.vllm = vllm
        self.url = protocol.realtime_url(vllm)
        where = self.url.partition("?")[0]
        self.info = EngineInfo(
            "vllm-omni", f"answers of the server at {where}", uses_features=False, device=f"network {where}",
            answers_in_background=True, follows_turns=True,
        )  # fmt: skip
        self._live = LiveConfig() if live is None else live
        self._make_detector = make_detector
        self._vad = SileroVad()

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Connect and open a session.

        Raises:
            ScaError: See `RealtimeConnection`.
        """
        detector = None if self._make_detector is None else self._make_detector()
        return _VllmSession(self, session_config, TurnSegmenter(self._vad, session_config, self._live, detector))


class _Answer:
    """An answer that the server is generating.

    Attributes:
        turn: The audio of the turn that it answers.
        connection: The number of the connection on which it was requested; None if it was not.
        audio: Received audio that is not played yet.
        text: Received text of the audio that is not played yet.
        played_samples: Samples played so far.
        done: No more audio will be received.
        updated_s: When something of the answer was last received.
    """

    def __init__(self, turn: NDArray[np.float32]) -> None:
        self.turn = turn
        self.connection: int | None = None
        self.response_id: str | None = None
        self.item_id: str | None = None
        self.audio = bytearray()
        self.text = ""
        self.played_samples = 0
        self.done = False
        self.updated_s = time.monotonic()


class _VllmSession:
    """One conversation with the server.

    Attributes:
        starved: Steps in which the next piece of an answer that had started was not available.
    """

    def __init__(self, engine: VllmOmniEngine, config: SessionConfig, segmenter: TurnSegmenter) -> None:
        self._vllm, self._config = engine.vllm, config
        self._lockstep = engine.vllm.lockstep or config.pace == "lockstep"
        self._url = engine.url
        self._guard = StepGuard(config.grid.heard_samples)
        self._chunk_bytes = 2 * config.grid.spoken_samples
        self._segmenter = segmenter
        self._start()

    def _start(self) -> None:
        self._turn_id = self.starved = 0
        self._answer: _Answer | None = None
        # The unanswered `response.create` events: their ids, and the answers they are for.
        self._creating: deque[tuple[str, _Answer]] = deque()
        # The ids of events that were sent to stop answers.
        self._cancels: deque[str] = deque(maxlen=_CANCELS_HELD)
        first_event = protocol.session_update_event(self._config.prompt, self._vllm)
        self._connection = RealtimeConnection(self._url, first_event, self._vllm)

    def step(self, audio: AudioInput) -> Sequence[Frame]:
        self._guard.check(audio)
        now = audio.timestamp + len(audio.samples)
        frames: list[Frame] = []
        update = self._segmenter.push(audio)
        if self._answer is not None and update.barge_in:
            if self._answer.played_samples:
                frames.append(Interrupt(self._turn_id, now))
            self._cut_answer()
            self._turn_id += 1
        if update.turn is not None:
            self._answer = _Answer(update.turn)
            self._send_turn(self._answer)
        frames += [ErrorFrame(self._turn_id, now, line, fatal=False) for line in self._receive()]
        if self._answer is not None:
            frames += self._speak(self._answer, audio.chunk_index, now)
        return frames

    def _send_turn(self, answer: _Answer) -> None:
        if self._connection.ready:
            events = protocol.turn_events(answer.turn)
            answer.connection = self._connection.send(events)
            if answer.connection is not None:
                self._creating.append((protocol.event_id_of(events[-1]), answer))
        answer.updated_s = time.monotonic()

    def _receive(self) -> list[str]:
        """Process received events until this step has its piece of the answer; return the problems."""
        problems: list[str] = []
        while not self._has_piece():
            event = self._connection.take()
            if event is None:
                wait_s = self._time_left_s()
                if wait_s <= 0 and self._answer is not None:
                    problems.append(self._give_up(self._answer))
                elif self._lockstep and self._answer is not None:
                    event = self._connection.take(wait_s)
                    if event is None:
                        continue
                if event is None:
                    break
            problem = self._process(event)
            if problem is not None:
                problems.append(problem)
        return problems

    def _has_piece(self) -> bool:
        """Return whether this step can play its piece of the answer; later events are processed later."""
        answer = self._answer
        return answer is not None and (answer.done or len(answer.audio) > self._chunk_bytes)

    def _time_left_s(self) -> float:
        if self._answer is None or self._answer.done:
            return float("inf")
        return self._answer.updated_s + self._vllm.answer_timeout_s - time.monotonic()

    def _give_up(self, answer: _Answer) -> str:
        answer.done = True
        if answer.response_id is not None:
            self._send_cancel(protocol.cancel_event(answer.response_id))
        return f"{self._connection.where} sent nothing of the answer for {self._vllm.answer_timeout_s:g} s; it is cancelled"

    def _process(self, event: ConnectionEvent) -> str | None:
        """Process one event; return the problem, if there is one."""
        answer = self._answer
        match event:
            case ConnectionLost(error=error):
                raise error
            case ConnectionBroken(reason=reason, number=number):
                # The next connection may be in use already.
                self._creating = deque(entry for entry in self._creating if entry[1].connection != number)
                if answer is not None and answer.played_samples:
                    answer.done = True  # the received part is played to its end
                return f"the connection to {self._connection.where} broke ({reason}); reconnecting, its memory is lost"
            case ConnectionRestored(number=number):
                if answer is not None and not answer.done and answer.connection != number:
                    self._answer = _Answer(answer.turn)  # nothing of it was played, so it is requested again
                    self._send_turn(self._answer)
                return None
        kind = str(event["type"])
        if kind == "error":
            return self._process_error(event)
        if kind == "response.created":
            self._process_created(str(protocol.nested(event, "response").get("id")))
            return None
        if answer is None or answer.response_id is None or answer.response_id != _response_id(event):
            return None  # belongs to an interrupted answer, or to none
        answer.updated_s = time.monotonic()
        try:
            return self._process_answer(answer, kind, event)
        except protocol.ProtocolError as error:
            return f"{self._connection.where} sent {error}"

    def _process_answer(self, answer: _Answer, kind: str, event: protocol.Event) -> str | None:
        match kind:
            case "response.output_item.added":
                answer.item_id = answer.item_id or protocol.text_of(protocol.nested(event, "item"), "id")
            case "response.output_audio.delta":
                answer.audio += protocol.audio_of_delta(event)
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                answer.text += protocol.text_of(event, "delta") or ""
            case "response.done":
                answer.done = True
                response = protocol.nested(event, "response")
                if response.get("status") in ("failed", "incomplete"):
                    reason = protocol.error_line(protocol.nested(response, "status_details"))
                    return f"{self._connection.where} did not finish the answer: {reason}"
        return None

    def _process_created(self, response_id: str) -> None:
        requested = self._creating.popleft()[1] if self._creating else None
        if requested is not None and requested is self._answer and not requested.done:
            requested.response_id = response_id
            requested.updated_s = time.monotonic()
        else:
            self._send_cancel(protocol.cancel_event(response_id))

    def _process_error(self, event: protocol.Event) -> str | None:
        """Process an error event. An error of a create ends its answer; an error of a cancel is ignored."""
        event_id = protocol.text_of(protocol.nested(event, "error"), "event_id") or protocol.text_of(event, "event_id")
        for entry in self._creating:
            if entry[0] == event_id:
                self._creating.remove(entry)
                if entry[1] is not self._answer:
                    return None
                entry[1].done = True
                break
        if event_id in self._cancels:
            return None  # the answer was already complete
        return f"{self._connection.where} reports an error: {protocol.error_line(event)}"

    def _speak(self, answer: _Answer, chunk_index: int, now: int) -> list[Frame]:
        """Return the next chunk of the answer, if it is available."""
        frames: list[Frame] = []
        size = self._chunk_bytes
        if len(answer.audio) >= size or (answer.done and answer.audio):
            piece = bytes(answer.audio[:size]).ljust(size, b"\0")
            del answer.audio[:size]
            text, answer.text = answer.text, ""
            frames.append(AudioOutput(piece, SPOKEN_HZ, text, chunk_index, self._turn_id))
            answer.played_samples += size // 2
        elif answer.played_samples and not answer.done:
            if self.starved == 0:
                log.warning("%s generates audio slower than real time: answers have gaps", self._connection.where)
            self.starved += 1
        if answer.done and not answer.audio:
            if answer.played_samples:
                frames.append(TurnEnd(self._turn_id, now))
            self._turn_id += 1
            self._answer = None
        return frames

    def _cut_answer(self) -> None:
        """Stop the answer, here and on the server."""
        answer, self._answer = self._answer, None
        if answer is None or answer.response_id is None:
            return  # if the server has not started it yet, it is cancelled when it starts
        if not answer.done:
            self._send_cancel(protocol.cancel_event(answer.response_id))
        if answer.item_id is not None:
            self._send_cancel(protocol.truncate_event(answer.item_id, answer.played_samples))

    def _send_cancel(self, event: protocol.Event) -> None:
        self._cancels.append(protocol.event_id_of(event))
        self._connection.send([event])

    def interrupt(self, turn_id: int) -> None:
        self._cut_answer()
        self._turn_id = max(self._turn_id, turn_id)

    def reset(self) -> None:
        self._guard.reset()
        self._connection.close()
        self._segmenter.reset()
        self._start()

    def close(self) -> None:
        self._guard.close()
        self._connection.close()
        self._answer = None


def _response_id(event: protocol.Event) -> str | None:
    """Return the id of the response that an event belongs to."""
    return protocol.text_of(event, "response_id") or protocol.text_of(protocol.nested(event, "response"), "id")
