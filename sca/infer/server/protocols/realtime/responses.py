"""The responses of a Realtime session: the one in progress, and written ones that are no part of the conversation."""

from collections.abc import Callable
from typing import Literal

from sca.infer.frames import AudioOutput, Signal, TurnEnd, TurnSignal, WrittenEnd, WrittenText
from sca.infer.requests import AnswerRequest
from sca.infer.server.protocols.realtime.events import Event, RealtimeError
from sca.infer.server.protocols.realtime.items import ConversationItems, Send
from sca.infer.server.protocols.realtime.response import Response
from sca.infer.server.protocols.realtime.response_request import ResponseRequest, own_request
from sca.infer.server.protocols.realtime.session_config import RealtimeSession

__all__ = ["Responses"]


class Responses:
    """The responses in progress.

    Args:
        send: Sends an event.
        items: The conversation.
        config: Returns the settings of the session.
        on_change: Called when a response starts, continues or ends.

    Attributes:
        current: The response in progress in the conversation; None without one.
        has_answered: Whether the engine has begun any response.
    """

    def __init__(
        self,
        send: Send,
        items: ConversationItems,
        config: Callable[[], RealtimeSession],
        on_change: Callable[[Literal["started", "continued", "ended"]], None],
    ) -> None:
        self._send, self._items, self._config, self._on_change = send, items, config, on_change
        self.current: Response | None = None
        self.has_answered = False
        self._asides: dict[str, Response] = {}
        self._announced: AnswerRequest | None = None  # a written answer that the engine has not begun
        self._problem: str | None = None  # what the engine reported since the last response

    @property
    def has_spoken(self) -> bool:
        """Whether a response was spoken, or is about to be."""
        return self.has_answered or (self.current is not None and self.current.request.answer.is_spoken)

    @property
    def has_asides(self) -> bool:
        """Whether a response beside the conversation is in progress."""
        return bool(self._asides)

    def automatic_answer(self) -> Signal:
        """Return the request for an answer to a turn that the server has detected."""
        config = self._config()
        if config.modality == "audio":
            return TurnSignal("answer")
        self._announced = own_request(config).answer
        return self._announced

    def create(self, request: ResponseRequest) -> bool:
        """Start the response to a request.

        Returns:
            Whether it is beside the conversation.

        Raises:
            RealtimeError: Another response is in progress. Only written ones beside the conversation may run with it.
        """
        if not request.answer.in_conversation and not request.answer.is_spoken:
            self._asides[request.answer.id] = self._new(request)
            return True
        if self.current is not None:
            raise RealtimeError(
                f"the response {self.current.id} is in progress", "conversation_already_has_active_response"
            )
        self._start(request)
        return False

    def _new(self, request: ResponseRequest) -> Response:
        return Response(self._send, self._items, request, self._config().voice)

    def _start(self, request: ResponseRequest) -> Response:
        self.current, self._problem = self._new(request), None
        self._on_change("started")
        return self.current

    def _ended(self) -> None:
        self.current = self._problem = None
        self._on_change("ended")

    def cancel_aside(self, response_id: object) -> bool:
        """Cancel a response beside the conversation, and return whether it was in progress."""
        response = self._asides.pop(response_id, None) if isinstance(response_id, str) else None
        if response is not None:
            response.finish("cancelled", "client_cancelled")
        return response is not None

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Cancel the response in progress, if there is one, and the answer that was requested."""
        response, self.current, self._announced, self._problem = self.current, None, None, None
        if response is not None:
            response.finish("cancelled", reason)

    def give_up(self, message: str) -> None:
        """End the response in progress, because the engine does not continue it."""
        response = self.current
        if response is not None and response.has_begun:
            response.finish("completed")
        elif response is not None:
            response.finish("failed", error={"type": "server_error", "code": "no_answer", "message": message})
        self._ended()

    # What the engine makes

    def add_audio(self, frame: AudioOutput) -> Event | None:
        """Add a frame to its response, which starts with it if it was not requested; see `Response.add_audio`."""
        response = self.current
        if response is not None and response.turn_id not in (None, frame.turn_id):
            response.finish("completed")  # an engine that starts a turn has ended the turn before
            response = None
        if response is None:
            response = self._start(own_request(self._config()))
        self.has_answered = True
        self._on_change("continued")
        return response.add_audio(frame.audio_bytes, frame.text_log, frame.turn_id)

    def add_written(self, frame: WrittenText | WrittenEnd) -> None:
        """Add a piece of a written answer, or end it. Nothing happens if it was cancelled."""
        if self._announced is not None and self._announced.id == frame.answer_id:
            self._start(own_request(self._config(), self._announced.id))
            self._announced = None
        response = self._asides.get(frame.answer_id, self.current)
        if response is None or response.id != frame.answer_id:
            return
        self._on_change("continued")
        if isinstance(frame, WrittenText):
            response.add_text(frame.text)
            return
        response.end(frame.error, frame.calls)
        if response is self.current:
            self._ended()
        else:
            del self._asides[frame.answer_id]

    def note_problem(self, message: str) -> None:
        """Note what the engine reports, which is why its next turn may have no sound."""
        if self.current is None or not self.current.has_begun:
            self._problem = message

    def end_turn(self, frame: TurnEnd) -> None:
        """End the response of a turn of the engine. A turn without sound may have tool calls, or a problem."""
        response = self.current
        takes_text = self._config().engine.takes_text  # such an engine has one turn for each answer
        if response is None and takes_text and (self._problem or frame.calls):
            problem, response = self._problem, self._start(own_request(self._config()))
            self._problem = problem
        if response is None:
            if takes_text:
                self._ended()
        elif response.turn_id == frame.turn_id or (response.turn_id is None and takes_text):
            response.end(None if response.has_begun else self._problem, frame.calls)
            self._ended()

    def interrupt_turn(self, turn_id: int) -> None:
        """Cancel the response of a turn that the engine interrupts."""
        response = self.current
        if response is not None and response.turn_id is not None and response.turn_id <= turn_id:
            response.finish("cancelled", "turn_detected")
            self._ended()
