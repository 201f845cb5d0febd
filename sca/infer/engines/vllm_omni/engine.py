"""The engine: takes turns here, sends each to the server, and says what comes back at the pace of the grid.

Turns are taken as the parrot takes them (the VAD's, or those of `live.turn_model`): the server hears a turn when it is over, and an
answer that is spoken over is cut off here at once, then there. A step never waits for the network, unless `vllm.lockstep` says so.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sca.audio.vad import SileroVad
from sca.config import LiveConfig, Settings, VllmConfig
from sca.infer.engine import EngineInfo, EngineSession, SessionConfig, StepGuard
from sca.infer.engines.turn_taking import TurnEar, gate_of
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.connection import Broken, Heard, Lost, RealtimeConnection, Restored
from sca.infer.frames import AudioInput, AudioOutput, ErrorFrame, Frame, Interrupt, TurnEnd
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["VllmOmniEngine", "load"]

log = logging.getLogger(__name__)


def load(settings: Settings) -> "VllmOmniEngine":
    """The engine for the server of `settings.vllm`. Raises `ConfigError` when that names none; the server is not asked yet."""
    return VllmOmniEngine(settings.vllm, settings.live, gate_of(settings))


class VllmOmniEngine:
    """See the module."""

    def __init__(
        self,
        vllm: VllmConfig,
        live: LiveConfig | None = None,
        gate: "Callable[[], ModelTurnDetector] | None" = None,
    ) -> None:
        self.vllm = vllm
        self.url = protocol.address(vllm)
        where = self.url.partition("?")[0]
        self.info = EngineInfo(
            "vllm-omni", f"answers of the server at {where}", uses_features=False, device=f"network {where}"
        )
        self._live = LiveConfig() if live is None else live
        self._gate = gate
        self._vad = SileroVad()

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Connect and begin a conversation. Raises what `RealtimeConnection` raises."""
        gate = None if self._gate is None else self._gate()
        return _VllmSession(self, session_config, TurnEar(self._vad, session_config, self._live, gate))


class _Answer:
    """An answer on its way. turn: what it answers.   heard_s: when something last came of it."""

    def __init__(self, turn: np.ndarray) -> None:
        self.turn = turn
        self.sent = False
        self.response_id: str | None = None
        self.item_id: str | None = None
        self.sound = bytearray()
        self.text = ""
        self.said = 0  # samples
        self.done = False
        self.heard_s = time.monotonic()


class _VllmSession:
    """starved: steps in which an answer had begun and its next piece was not there."""

    def __init__(self, engine: VllmOmniEngine, config: SessionConfig, ear: TurnEar) -> None:
        self._vllm, self._config = engine.vllm, config
        self._url = engine.url
        self._guard = StepGuard(config.grid.heard_samples)
        self._chunk_bytes = 2 * config.grid.spoken_samples
        self._ear = ear
        self._begin()

    def _begin(self) -> None:
        self._turn_id = self.starved = 0
        self._answer: _Answer | None = None
        # One entry for each response.create that the server has not answered with response.created: its id, and who wants it.
        self._created: deque[tuple[str, _Answer]] = deque()
        self._stops: deque[str] = deque(maxlen=64)  # ids of what was sent to stop answers
        self._link = RealtimeConnection(self._url, protocol.hello(self._config.prompt, self._vllm), self._vllm)

    def step(self, heard: AudioInput) -> Sequence[Frame]:
        self._guard.check(heard)
        now = heard.timestamp + len(heard.samples)
        frames: list[Frame] = []
        hearing = self._ear.hear(heard.samples)
        if self._answer is not None and hearing.speech:
            if self._answer.said:
                frames.append(Interrupt(self._turn_id, now))
            self._cut()
            self._turn_id += 1
        if hearing.turn is not None:
            self._answer = _Answer(hearing.turn)
            self._send_turn(self._answer)
        frames += [ErrorFrame(self._turn_id, now, line, fatal=False) for line in self._listen()]
        if self._answer is not None:
            frames += self._say(self._answer, heard.chunk_index, now)
        return frames

    def _send_turn(self, answer: _Answer) -> None:
        if self._link.ready:
            events = protocol.ask(answer.turn)
            self._created.append((events[-1]["event_id"], answer))
            self._link.send(events)
            answer.sent = True
        answer.heard_s = time.monotonic()

    def _listen(self) -> list[str]:
        """Take what came, until the next piece of the answer is there; what went wrong."""
        problems: list[str] = []
        while not self._supplied():
            event = self._link.take()
            if event is None:
                wait_s = self._patience_s()
                if wait_s <= 0 and self._answer is not None:
                    problems.append(self._give_up(self._answer))
                elif self._vllm.lockstep and self._answer is not None:
                    event = self._link.take(wait_s)
                    if event is None:
                        continue
                if event is None:
                    break
            problem = self._heard(event)
            if problem is not None:
                problems.append(problem)
        return problems

    def _supplied(self) -> bool:
        """Whether this step has all that it needs of the answer: what comes later is taken later."""
        answer = self._answer
        return answer is not None and (answer.done or len(answer.sound) > self._chunk_bytes)

    def _patience_s(self) -> float:
        if self._answer is None or self._answer.done:
            return float("inf")
        return self._answer.heard_s + self._vllm.answer_timeout_s - time.monotonic()

    def _give_up(self, answer: _Answer) -> str:
        answer.done = True
        if answer.response_id is not None:
            self._stop(protocol.cancel(answer.response_id))
        return (
            f"nothing of the answer came from {self._link.where} for {self._vllm.answer_timeout_s:g} s: it is given up"
        )

    def _heard(self, event: Heard) -> str | None:
        """Take one event; what is wrong, if something is."""
        answer = self._answer
        match event:
            case Lost(error=error):
                raise error
            case Broken(why=why):
                self._created.clear()
                if answer is not None and answer.said:
                    answer.done = True  # what is there of it is said
                return f"the connection to {self._link.where} broke ({why}); connecting again, its memory is lost"
            case Restored():
                if answer is not None and not answer.done:
                    self._answer = _Answer(answer.turn)  # nothing of it was said: asked again
                    self._send_turn(self._answer)
                return None
        kind = event["type"]
        if kind == "error":
            return self._refused(event)
        if kind == "response.created":
            self._response_began(str((event.get("response") or {}).get("id")))
            return None
        if answer is None or answer.response_id is None or answer.response_id != _response_id(event):
            return None  # of an answer that was cut off, or not about answers
        answer.heard_s = time.monotonic()
        try:
            return self._of_answer(answer, kind, event)
        except protocol.ProtocolError as error:
            return f"{self._link.where} sent {error}"

    def _of_answer(self, answer: _Answer, kind: str, event: protocol.Event) -> str | None:
        match kind:
            case "response.output_item.added":
                item = event.get("item") or {}
                answer.item_id = answer.item_id or item.get("id")
            case "response.output_audio.delta":
                answer.sound += protocol.sound_of(event)
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                answer.text += str(event.get("delta", ""))
            case "response.done":
                answer.done = True
                response = event.get("response") or {}
                if response.get("status") in ("failed", "incomplete"):
                    why = protocol.error_line(response.get("status_details") or {})
                    return f"{self._link.where} did not finish the answer: {why}"
        return None

    def _response_began(self, response_id: str) -> None:
        wanted = self._created.popleft()[1] if self._created else None
        if wanted is not None and wanted is self._answer and not wanted.done:
            wanted.response_id = response_id
            wanted.heard_s = time.monotonic()
        else:
            self._stop(protocol.cancel(response_id))

    def _refused(self, event: protocol.Event) -> str | None:
        """An error event. Of a create it ends that answer; of what we sent to stop one it does not matter."""
        about = (event.get("error") or {}).get("event_id") if isinstance(event.get("error"), dict) else None
        about = about or event.get("event_id")
        for entry in self._created:
            if entry[0] == about:
                self._created.remove(entry)
                if entry[1] is not self._answer:
                    return None
                entry[1].done = True
                break
        if about in self._stops:
            return None  # it was over already
        return f"{self._link.where} says: {protocol.error_line(event)}"

    def _say(self, answer: _Answer, chunk_index: int, now: int) -> list[Frame]:
        """The next chunk of the answer, if it is there."""
        frames: list[Frame] = []
        size = self._chunk_bytes
        if len(answer.sound) >= size or (answer.done and answer.sound):
            piece = bytes(answer.sound[:size]).ljust(size, b"\0")
            del answer.sound[:size]
            text, answer.text = answer.text, ""
            frames.append(AudioOutput(piece, SPOKEN_HZ, text, chunk_index, self._turn_id))
            answer.said += size // 2
        elif answer.said and not answer.done:
            if self.starved == 0:
                log.warning("%s makes sound slower than it is said: answers have gaps", self._link.where)
            self.starved += 1
        if answer.done and not answer.sound:
            if answer.said:
                frames.append(TurnEnd(self._turn_id, now))
            self._turn_id += 1
            self._answer = None
        return frames

    def _cut(self) -> None:
        """Stop the answer, here and there."""
        answer, self._answer = self._answer, None
        if answer is None or answer.response_id is None:
            return  # if it is still to begin, it is stopped then
        if not answer.done:
            self._stop(protocol.cancel(answer.response_id))
        if answer.item_id is not None:
            self._stop(protocol.truncate(answer.item_id, answer.said))

    def _stop(self, event: protocol.Event) -> None:
        self._stops.append(event["event_id"])
        self._link.send([event])

    def interrupt(self, turn_id: int) -> None:
        self._cut()
        self._turn_id = max(self._turn_id, turn_id)

    def reset(self) -> None:
        self._guard.reset()
        self._link.close()
        self._ear.reset()
        self._begin()

    def close(self) -> None:
        self._guard.close()
        self._link.close()
        self._answer = None


def _response_id(event: protocol.Event) -> str | None:
    """Which response an event is about."""
    found = event.get("response_id") or (event.get("response") or {}).get("id")
    return None if found is None else str(found)
