"""A session of the engine `vllm-omni`: detects turns, sends them while the user speaks, plays the answers on the grid.

A step never waits for the network, unless the session runs in lockstep (`SessionConfig.pace`, or `vllm.lockstep`). It
then waits for its piece of the answer; if the model decides when it speaks, a step takes as long as its chunk, because
such a model lives in real time.
"""

import logging
import time
from collections.abc import Sequence

from typing_extensions import override

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import StreamResampler
from sca.config import LiveConfig, VllmConfig
from sca.errors import UpstreamError
from sca.infer.engine import EngineSession, HearsPlayback, SessionConfig, StepGuard
from sca.infer.engines.turn_taking import TurnSegmenter, TurnUpdate
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.answer import Answer
from sca.infer.engines.vllm_omni.connection import (
    ConnectionBroken,
    ConnectionEvent,
    ConnectionLost,
    ConnectionRestored,
    RealtimeConnection,
)
from sca.infer.engines.vllm_omni.dialect import Ended
from sca.infer.engines.vllm_omni.dialogue import Dialogue
from sca.infer.engines.vllm_omni.protocol import Event
from sca.infer.engines.vllm_omni.upload import TurnUpload
from sca.infer.frames import AudioInput, AudioOutput, ErrorFrame, Frame, Interrupt, TurnEnd
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["VllmSession"]

log = logging.getLogger(__name__)

_NO_CONNECTION = -1


class VllmSession(EngineSession, HearsPlayback):
    """One conversation with the server.

    Args:
        url: The WebSocket URL of the server.
        vllm: The settings of the server.
        live: The settings of the turns.
        config: The session.
        segmenter: Detects the turns.

    Attributes:
        starved: Steps in which the next piece of an answer that had started was not available.

    Raises:
        ScaError: See `RealtimeConnection`.
    """

    def __init__(
        self, url: str, vllm: VllmConfig, live: LiveConfig, config: SessionConfig, segmenter: TurnSegmenter
    ) -> None:
        self._url, self._vllm, self._config = url, vllm, config
        self._lockstep = vllm.lockstep or config.pace == "lockstep"
        self._guard = StepGuard(config.grid.heard_samples)
        self._chunk_bytes = 2 * config.grid.spoken_samples
        self._chunk_s = config.grid.heard_samples / HEARD_HZ
        self._most_pieces = max(1, round(live.max_turn_s / self._chunk_s))
        self._segmenter = segmenter
        self._start()

    def _start(self) -> None:
        self.starved = 0
        self._may_resume = self._has_left = False
        self._due_s: float | None = None
        self._connection = RealtimeConnection(self._url, self._config.prompt, self._vllm)
        self._dialect = self._connection.dialect
        self._dialogue = Dialogue(self._dialect)
        self._number = 0  # of the connection on which this session sends: that of `_dialect`
        follows = self._config.turns == "given"
        self._upload = TurnUpload(self._dialect.input_hz, self._most_pieces, follows=follows)
        self._resampler = StreamResampler(HEARD_HZ, self._dialect.input_hz)

    @override
    def step(self, audio: AudioInput) -> Sequence[Frame]:
        self._guard.check(audio)
        now = audio.timestamp + len(audio.samples)
        self._keep_pace()
        self._send(self._dialogue.report_played())
        update = self._segmenter.push(audio)
        frames: list[Frame] = []
        if update.barge_in and self._dialogue.can_be_interrupted:
            frames += self._cut(now)
        frames += self._listen(audio, update, now)
        frames += self._receive(now)
        if self._dialogue.answer is not None:
            frames += self._speak(self._dialogue.answer, audio.chunk_index, now)
        return frames

    def _keep_pace(self) -> None:
        """Wait until the chunk is due, if a model that lives in real time would otherwise be stepped faster."""
        if not self._lockstep or not self._dialect.model_takes_turns:
            return
        now_s = time.monotonic()
        due_s = now_s if self._due_s is None else max(self._due_s, now_s)
        time.sleep(due_s - now_s)
        self._due_s = due_s + self._chunk_s

    # Input

    def _send(self, events: Sequence[Event]) -> bool:
        """Send events on the connection that this session knows; return whether there is such a connection."""
        return self._connection.send(events, self._number) is not None

    def _listen(self, audio: AudioInput, update: TurnUpdate, now: int) -> list[Frame]:
        """Send what belongs to the turn, and request its answer at its end; return the frames that this causes."""
        if self._dialect.model_takes_turns:
            self._stream(audio, update)
            return []
        upload = self._upload
        request = upload.push(audio, update)
        if upload.must_discard:
            self._discard_input()
            upload.send_again()
        if request is not None:
            frames = self._cut(now)  # there is none, unless the client requests answers at any time
            answer = Answer(request.pieces)
            self._dialogue.expect(answer)
            self._request(answer, request.unsent)
            return frames
        ready = () if self._dialogue.answer is not None else upload.ready()
        if ready and self._send([self._dialect.append(piece) for piece in ready]):
            upload.sent()
        return []

    def _stream(self, audio: AudioInput, update: TurnUpdate) -> None:
        """Send a chunk to a model that takes turns; only a client that decides about the turns ends one."""
        events = [self._dialect.append(pcm16_bytes(self._resampler.push(audio.samples), INT16_MAX))]
        if self._config.turns == "given" and update.turn is not None:
            events += self._dialogue.quiet(self._dialect.request())
        self._send(events)

    def _discard_input(self) -> None:
        if self._dialect.one_answer_per_connection:
            self._renew()
        else:
            self._send(self._dialogue.quiet(self._dialect.discard()))

    def _request(self, answer: Answer, pieces: Sequence[bytes]) -> None:
        """Send the rest of a turn and request its answer. Without a connection, this is done when there is one."""
        request = self._dialect.request()
        if self._send([*map(self._dialect.append, pieces), *request]):
            self._dialogue.requested(answer, protocol.event_id_of(request[-1]))
        answer.touch()

    # Output

    def _receive(self, now: int) -> list[Frame]:
        """Process received events until this step has its piece of the answer."""
        frames: list[Frame] = []
        while not self._dialogue.has_piece(self._chunk_bytes):
            event = self._connection.take()
            answer = self._dialogue.answer
            if event is None and answer is not None:
                left_s = answer.updated_s + self._vllm.answer_timeout_s - time.monotonic()
                if left_s <= 0:
                    frames.append(self._problem(self._give_up(answer), now))
                    break
                if self._lockstep and not self._dialect.model_takes_turns:
                    event = self._connection.take(left_s)
                    if event is None:
                        continue
            if event is None:
                break
            frames += self._process(event, now)
        return frames

    def _problem(self, line: str, now: int) -> ErrorFrame:
        return ErrorFrame(self._dialogue.turn_id, now, line, fatal=False)

    def _give_up(self, answer: Answer) -> str:
        if self._dialect.one_answer_per_connection:
            self._renew()
        else:
            self._send(self._dialogue.cancel(answer))
        answer.done = True
        return f"{self._connection.where} sent nothing of the answer for {self._vllm.answer_timeout_s:g} s; it is cancelled"

    def _process(self, event: ConnectionEvent, now: int) -> list[Frame]:
        """Process one event; return the frames that it causes."""
        match event:
            case ConnectionLost(error=error):
                raise error
            case ConnectionBroken():
                return [self._problem(self._connection_broke(event), now)]
            case ConnectionRestored():
                return [self._problem(line, now) for line in self._connection_restored(event)]
        try:
            signal = self._dialect.read(event)
        except protocol.ProtocolError as error:
            return [self._problem(f"{self._connection.where} sent {error}", now)]
        if signal is None or self._has_left:
            return []
        outcome = self._dialogue.process(signal)
        self._send(outcome.replies)
        if isinstance(signal, Ended) and self._dialect.one_answer_per_connection:
            self._renew()
        frames: list[Frame] = []
        if outcome.problem is not None:
            frames.append(self._problem(f"{self._connection.where} {outcome.problem}", now))
        if outcome.is_cut:
            frames += self._cut(now)
        return frames

    def _connection_broke(self, event: ConnectionBroken) -> str:
        self._number = _NO_CONNECTION
        where = f"the connection to {self._connection.where} broke ({event.reason})"
        self._may_resume = event.can_resume
        if self._may_resume:
            return f"{where}; resuming"
        self._dialogue.lose_connection()
        return f"{where}; reconnecting" + ("" if self._dialect.one_answer_per_connection else ", its memory is lost")

    def _connection_restored(self, event: ConnectionRestored) -> list[str]:
        """Continue on the new connection; return the problems."""
        problems = []
        self._number, self._has_left = event.number, False
        if event.dialect is self._dialect:
            if self._upload.is_sent:
                self._discard_input()
        else:
            if self._may_resume:
                problems.append(f"{self._connection.where} did not resume the session; its memory is lost")
                self._dialogue.lose_connection()
            if event.dialect.input_hz != self._dialect.input_hz:
                raise UpstreamError(f"{self._connection.where} has changed its protocol to {event.dialect.name}")
            self._dialect = self._dialogue.dialect = event.dialect
        self._upload.send_again()
        answer = self._dialogue.unanswered()
        if answer is not None:
            self._request(answer, answer.pieces)
        return problems

    def _speak(self, answer: Answer, chunk_index: int, now: int) -> list[Frame]:
        """Return the next chunk of the answer, if it is available."""
        frames: list[Frame] = []
        turn_id = self._dialogue.turn_id
        if len(answer.audio) >= self._chunk_bytes or (answer.done and answer.audio):
            frames.append(AudioOutput(*self._spoken(answer), chunk_index, turn_id))
        elif answer.played_samples and not answer.done:
            if self.starved == 0:
                log.warning("%s generates audio slower than real time: answers have gaps", self._connection.where)
            self.starved += 1
        if answer.done and not answer.audio:
            if answer.played_samples:
                frames.append(TurnEnd(turn_id, now))
            self._dialogue.finish()
        return frames

    def _spoken(self, answer: Answer) -> tuple[bytes, int, str]:
        piece, text = answer.take(self._chunk_bytes)
        return piece, SPOKEN_HZ, text

    # Interruptions

    def _cut(self, now: int) -> list[Frame]:
        """Stop the answer, here and on the server."""
        answer, turn_id = self._dialogue.answer, self._dialogue.turn_id
        if answer is None:
            return []
        self._stop()
        return [Interrupt(turn_id, now)] if answer.played_samples else []

    def _stop(self) -> None:
        events, is_generating = self._dialogue.cut()
        if is_generating and self._dialect.one_answer_per_connection:
            self._renew()
        else:
            self._send(events)

    def _renew(self) -> None:
        """Continue on a new connection. What is still received on this one means nothing."""
        self._number, self._has_left = _NO_CONNECTION, True
        self._connection.renew()

    @override
    def set_played(self, turn_id: int, samples: int) -> None:
        self._send(self._dialogue.set_played(turn_id, samples))

    @override
    def interrupt(self, turn_id: int) -> None:
        self._stop()
        self._dialogue.turn_id = max(self._dialogue.turn_id, turn_id)

    @override
    def reset(self) -> None:
        self._guard.reset()
        self._connection.close()
        self._segmenter.reset()
        self._start()

    @override
    def close(self) -> None:
        self._guard.close()
        self._connection.close()
        self._dialogue.answer = None
