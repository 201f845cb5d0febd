"""The answers of one conversation: which one is played, what the server sends of them, and what it must be told.

Synchronous and without a connection: signals in, events to send out.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.answer import Answer
from sca.infer.engines.vllm_omni.dialect import Committed, Dialect, Ended, Failed, Listened, Signal, Spoken, Started
from sca.infer.engines.vllm_omni.protocol import Event

__all__ = ["Dialogue", "Outcome"]

_QUIET_EVENTS_HELD = 64
_PAST_ANSWERS_HELD = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a signal causes.

    Attributes:
        problem: What to report, without the name of the server.
        replies: The events to send.
        is_cut: Whether the current answer must stop.
    """

    problem: str | None = None
    replies: Sequence[Event] = ()
    is_cut: bool = False


class Dialogue:
    """See the module.

    Args:
        dialect: The protocol.

    Attributes:
        dialect: The protocol.
        answer: The answer that is awaited or played.
        turn_id: The turn of that answer, or of the next one.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.answer: Answer | None = None
        self.turn_id = 0
        self._next_answers: deque[Answer] = deque()  # started by the model before the current one is played
        # The requests whose answers have not started: the ids of their last events, and the answers.
        self._requests: deque[tuple[str, Answer]] = deque()
        # Answers that are over here, by turn; the end of their playback is reported later.
        self._past: deque[tuple[int, Answer]] = deque(maxlen=_PAST_ANSWERS_HELD)
        # The ids of events whose errors mean nothing: the answer was complete already.
        self._quiet: deque[str] = deque(maxlen=_QUIET_EVENTS_HELD)

    @property
    def can_be_interrupted(self) -> bool:
        """Whether the user's speech stops the answer now. A model that takes turns may start while the user speaks."""
        return (
            self.answer is not None
            and self.dialect.can_interrupt
            and (self.answer.played_samples > 0 or not self.dialect.model_takes_turns)
        )

    def has_piece(self, size: int) -> bool:
        """Return whether the next `size` bytes of the answer can be played; later events are processed later."""
        return self.answer is not None and (self.answer.done or len(self.answer.audio) > size)

    # Requests

    def expect(self, answer: Answer) -> None:
        """Make an answer the current one. The one before was stopped."""
        self.answer = answer

    def requested(self, answer: Answer, event_id: str) -> None:
        """Note that the answer was requested with an event."""
        answer.is_requested = True
        answer.response_id = self.dialect.response_id_of_request()
        if answer.response_id is None:
            self._requests.append((event_id, answer))

    def unanswered(self) -> Answer | None:
        """Return the current answer if a new connection must request it: nothing of it was received."""
        answer = self.answer
        if answer is None or not answer.pieces or answer.done or answer.is_committed or answer.response_id is not None:
            return None
        self._requests.clear()
        return answer

    def lose_connection(self) -> None:
        """Adapt to a server that has forgotten all: the received part is played, or all of it is requested again."""
        self._requests.clear()
        self._next_answers.clear()
        answer = self.answer
        if answer is None or answer.done:
            return
        if answer.played_samples or not answer.pieces:
            answer.done = True
        else:
            self.answer = Answer(answer.pieces)

    # Signals

    def process(self, signal: Signal) -> Outcome:
        """Process what the server sent.

        Args:
            signal: Its meaning.
        """
        match signal:
            case Started():
                return self._started(signal)
            case Spoken():
                self._spoken(signal)
            case Ended():
                return self._ended(signal)
            case Listened():
                self._listened(signal)
            case Committed():
                for _, answer in self._requests:
                    if not answer.is_committed:
                        answer.is_committed = True
                        break
            case Failed():
                return self._failed(signal)
        return Outcome()

    def _started(self, signal: Started) -> Outcome:
        requested = self._requests.popleft()[1] if self._requests else None
        if requested is None and self.dialect.model_takes_turns:
            answer = Answer(response_id=signal.response_id)
            if self.answer is None:
                self.answer = answer
            else:
                self._next_answers.append(answer)
        elif requested is not None and requested is self.answer and not requested.done:
            requested.response_id = signal.response_id
            requested.touch()
        else:
            return Outcome(replies=self.quiet(self.dialect.cancel(signal.response_id)))
        return Outcome()

    def _find(self, response_id: str | None) -> Answer | None:
        """Return an answer that is not over; None for an interrupted one."""
        if response_id is None:
            return None
        current = () if self.answer is None else (self.answer,)
        return next((one for one in (*current, *self._next_answers) if one.response_id == response_id), None)

    def _spoken(self, signal: Spoken) -> None:
        answer = self._find(signal.response_id)
        if answer is not None:
            answer.touch()
            answer.item_id = answer.item_id or signal.item_id
            answer.audio += signal.pcm
            answer.text += signal.text

    def _ended(self, signal: Ended) -> Outcome:
        answer = self._find(signal.response_id)
        if answer is None:
            return Outcome()
        answer.done = True
        return Outcome(signal.problem, is_cut=signal.is_cut and answer is self.answer)

    def _listened(self, signal: Listened) -> None:
        answer = self._find(signal.response_id)
        if answer is None and signal.response_id is None and self._requests and self._requests[0][1].is_committed:
            answer = self._requests.popleft()[1]
        if answer is not None:
            answer.done = True

    def _failed(self, signal: Failed) -> Outcome:
        """Process an error. One of a request ends its answer; one of a quiet event is ignored."""
        for entry in self._requests:
            if entry[0] == signal.event_id:
                self._requests.remove(entry)
                if entry[1] is not self.answer:
                    return Outcome()
                entry[1].done = True
                break
        if signal.event_id is not None and signal.event_id in self._quiet:
            return Outcome()
        return Outcome(f"reports an error: {signal.line}")

    # Ends

    def quiet(self, events: list[Event]) -> list[Event]:
        """Return the events; errors that they cause will be ignored."""
        self._quiet.extend(map(protocol.event_id_of, events))
        return events

    def cancel(self, answer: Answer) -> list[Event]:
        """Return the events that stop an answer. One that has not started is stopped when it starts."""
        return [] if answer.response_id is None else self.quiet(self.dialect.cancel(answer.response_id))

    def cut(self) -> tuple[list[Event], bool]:
        """End the current answer, and those after it, before their ends.

        Returns:
            The events to send, and whether the server is generating one of the answers, as far as is known.
        """
        answers = [one for one in (self.answer, *self._next_answers) if one is not None]
        self.answer = None
        self._next_answers.clear()
        events: list[Event] = []
        for answer in answers:
            self._past.append((self.turn_id, answer))
            self.turn_id += 1
            answer.is_cut = True
            if answer.response_id is not None:
                events += self.quiet(
                    self.dialect.cut(answer.response_id, answer.item_id, answer.played_samples, is_done=answer.done)
                )
        return events, any(one.response_id is not None and not one.done for one in answers)

    def finish(self) -> None:
        """End the current answer after all of it was handed out."""
        assert self.answer is not None
        self._past.append((self.turn_id, self.answer))
        self.turn_id += 1
        self.answer = self._next_answers.popleft() if self._next_answers else None

    # Playback

    def report_played(self) -> list[Event]:
        """Return the events that report what was played since the last step."""
        events: list[Event] = []
        current = () if self.answer is None else (self.answer,)
        for answer in (*(one for _, one in self._past), *current):
            samples = None if answer.is_cut else answer.heard()
            if samples is not None and answer.response_id is not None:
                events += self.dialect.played(answer.response_id, answer.item_id, samples, is_final=False)
        return self.quiet(events)

    def set_played(self, turn_id: int, samples: int) -> list[Event]:
        """Return the events that correct how much of an answer that is over was played.

        Args:
            turn_id: Its turn.
            samples: How much was played, at 24 kHz.
        """
        for turn, answer in self._past:
            if turn == turn_id and answer.response_id is not None and samples < answer.played_samples:
                answer.is_cut, answer.played_samples = True, samples
                return self.quiet(self.dialect.played(answer.response_id, answer.item_id, samples, is_final=True))
        return []
