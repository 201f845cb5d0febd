"""What the versions of the protocol have in common for a session: the interface `Dialect`, and the signals it reads."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from sca.infer.engines.vllm_omni.protocol import Event
from sca.units import HEARD_HZ

__all__ = ["Committed", "Dialect", "Ended", "Failed", "Listened", "Signal", "Spoken", "Started"]


@dataclass(frozen=True, slots=True)
class Started:
    """The server has started an answer."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """A part of an answer.

    Attributes:
        response_id: The answer.
        pcm: Its audio, int16 little-endian at 24 kHz.
        text: Its text.
        item_id: The item that contains it, if the event names it.
    """

    response_id: str | None
    pcm: bytes = b""
    text: str = ""
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The server sends no more of an answer.

    Attributes:
        response_id: The answer.
        problem: Why it is not complete, in a few words.
        is_cut: Whether the server has stopped it, so that what was not played must not be.
    """

    response_id: str | None
    problem: str | None = None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """The server has the audio of the turn."""


@dataclass(frozen=True, slots=True)
class Listened:
    """The model does not answer: it listens.

    Attributes:
        response_id: The answer that ends without audio; None if none had started.
    """

    response_id: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The server reports an error.

    Attributes:
        line: What it reports.
        event_id: The event of ours that caused it, if the server names it.
    """

    line: str
    event_id: str | None


Signal = Started | Spoken | Ended | Committed | Listened | Failed


class Dialect(ABC):
    """One version of the protocol, on one connection.

    Attributes:
        name: What it is called in messages and the documentation.
        input_hz: The sample rate of the input.
        model_takes_turns: Whether the model decides when it speaks. It then receives all audio, and turns are not sent.
        can_interrupt: Whether an answer can be stopped.
        one_answer_per_connection: Whether each answer needs a connection of its own, because the server can neither
            stop one nor take input safely after one. It has no memory that a new connection could lose.
        heartbeat: What to send when nothing else was sent for a while; None if the server does not need it.
        goodbye: What to send before the session is closed.
    """

    name: str
    input_hz: int = HEARD_HZ
    model_takes_turns = False
    can_interrupt = True
    one_answer_per_connection = False
    heartbeat: Event | None = None
    goodbye: tuple[Event, ...] = ()

    @abstractmethod
    def append(self, pcm: bytes) -> Event:
        """Return the event that appends input, int16 little-endian at `input_hz`."""

    @abstractmethod
    def request(self) -> list[Event]:
        """Return the events that end a turn and request its answer. An error names the last one."""

    def response_id_of_request(self) -> str | None:
        """Return the id of the answer to the latest request, if the server does not send one."""
        return None

    @abstractmethod
    def discard(self) -> list[Event]:
        """Return the events that discard the input of a turn that is none."""

    @abstractmethod
    def cancel(self, response_id: str) -> list[Event]:
        """Return the events that stop an answer."""

    @abstractmethod
    def cut(self, response_id: str, item_id: str | None, samples: int, *, is_done: bool) -> list[Event]:
        """Return the events that stop an answer of which the beginning was played.

        Args:
            response_id: The answer.
            item_id: Its item.
            samples: How much was played, at 24 kHz.
            is_done: Whether the server had sent all of it.
        """

    def played(self, response_id: str, item_id: str | None, samples: int, *, is_final: bool) -> list[Event]:
        """Return the events that report how much of an answer was played.

        Args:
            response_id: The answer.
            item_id: Its item.
            samples: How much was played so far, at 24 kHz.
            is_final: Whether the rest will not be played, because the answer was interrupted.
        """
        return []

    @abstractmethod
    def read(self, event: Event) -> Signal | None:
        """Return what a received event means for the session; None if it means nothing.

        Raises:
            ProtocolError: It has invalid audio.
        """

    def receive(self, event: Event) -> tuple[bool, list[Event]]:
        """Process an event when it arrives, in the thread of the connection.

        Returns:
            Whether it is new, and what to send at once.
        """
        return True, []

    def end_of_session(self, event: Event) -> str | None:
        """Return why the server ends the session with this event; None if it does not."""
        return None

    def resume_event(self) -> Event | None:
        """Return the event that continues the session on another connection; None if it cannot be continued."""
        return None
