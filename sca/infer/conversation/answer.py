"""One answer in the making: recognizer, language model and voice at work in threads, their results in a queue.

The voice gets the text piece by piece and speaks the first clause while the model still writes. Taking results
never waits for a part, unless a time to wait is given.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import StreamResampler
from sca.errors import ScaError
from sca.infer.conversation.history import with_user_text
from sca.infer.conversation.parts import ConversationParts
from sca.infer.conversation.spoken import at_output_rate
from sca.infer.language.base import Reply
from sca.infer.messages import DEFAULT_OPTIONS, Message, ReplyOptions, ToolCall
from sca.infer.speech.base import SpeechVoice, WordTime
from sca.textutil import first_line
from sca.units import SPOKEN_HZ

__all__ = [
    "Answer",
    "AnswerEvent",
    "AnswerTimes",
    "Done",
    "Failed",
    "Heard",
    "Sound",
    "Text",
    "ToolsCalled",
    "ToolsUsed",
    "VoiceLine",
]

_MAX_TOOL_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Heard:
    """The text of the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of the answer's sound.

    Attributes:
        pcm: Int16 little-endian mono at 24 kHz.
        words: The words that start in it, with times at 24 kHz since the start of the answer.
    """

    pcm: bytes
    words: tuple[WordTime, ...]


@dataclass(frozen=True, slots=True)
class ToolsUsed:
    """The model has called tools: its message, and the results."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class ToolsCalled:
    """The model calls tools that the client has to call: its message. The answer ends here."""

    message: Message


@dataclass(frozen=True, slots=True)
class Failed:
    """A part failed, and the answer ends with what is there."""

    error: ScaError


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is complete. It is the last event."""


AnswerEvent = Heard | Text | Sound | ToolsUsed | ToolsCalled | Failed | Done


@dataclass(slots=True)
class AnswerTimes:
    """When the parts of an answer were ready, in seconds of `time.monotonic`; None if that has not happened.

    Attributes:
        started_s: The user's turn was over, or the text was there. An answer may have been prepared before.
        heard_s: The text of the user was recognized.
        first_text_s: The first piece of the answer arrived.
        first_clause_s: The voice had the text of its first sound.
        first_sound_s: The first sound was there.
        done_s: Everything was there.
    """

    started_s: float = field(default_factory=time.monotonic)
    heard_s: float | None = None
    first_text_s: float | None = None
    first_clause_s: float | None = None
    first_sound_s: float | None = None
    done_s: float | None = None

    def stages_ms(self) -> dict[str, float]:
        """Return the time of each part until the first sound, in ms; empty without sound."""
        if self.heard_s is None or self.first_clause_s is None or self.first_sound_s is None:
            return {}
        first_text_s = min(self.first_text_s or self.first_clause_s, self.first_clause_s)
        ends = (self.heard_s, first_text_s, self.first_clause_s, self.first_sound_s)
        # What was ready before the turn was over took no time after it.
        marks = list(accumulate((self.started_s, *ends), max))
        names = ("recognizer", "first_token", "first_clause", "voice")
        return {name: (end - start) * 1000 for name, (start, end) in zip(names, pairwise(marks), strict=True)}


class VoiceLine:
    """The voice of a conversation. One answer speaks at a time: the next one waits until the last one has stopped.

    The voice is opened in the background, because that may load a model.

    Args:
        open_voice: Opens the voice.
    """

    def __init__(self, open_voice: Callable[[], SpeechVoice]) -> None:
        self._open_voice = open_voice
        self._voice: SpeechVoice | None = None
        self._speech: threading.Event | None = None  # cancels the speech in progress
        self._closed = self._is_other = False
        self._lock, self._speech_lock = threading.Lock(), threading.Lock()
        threading.Thread(target=self._prepare, name="sca voice", daemon=True).start()

    def _prepare(self) -> None:
        with suppress(Exception), self._lock:  # the first answer opens it again, and reports the error
            self._opened()

    def change(self, open_voice: Callable[[], SpeechVoice]) -> None:
        """Speak with another voice from the next answer on."""
        self._open_voice, self._is_other = open_voice, True
        threading.Thread(target=self._prepare, name="sca voice", daemon=True).start()

    def _opened(self) -> SpeechVoice:
        if self._voice is not None and self._is_other:
            self._voice.close()
            self._voice = None
        if self._voice is None:
            self._is_other = False
            self._voice = self._open_voice()
        if self._closed:
            self._voice.close()
        return self._voice

    def speak(self, pieces: Iterator[str], cancelled: threading.Event) -> Iterator[Sound]:
        """Speak text that arrives in pieces.

        Args:
            pieces: The text.
            cancelled: Ends the speech.

        Yields:
            The sound at 24 kHz.
        """
        with self._lock:
            if cancelled.is_set():
                return
            voice = self._opened()
            rate_hz = voice.sample_rate
            resampler = StreamResampler(rate_hz, SPOKEN_HZ)
            with self._speech_lock:
                chunks, self._speech = voice.speak(pieces), cancelled
            if cancelled.is_set():  # before `stop` could know the speech
                voice.cancel()
            for chunk in chunks:
                if cancelled.is_set():
                    voice.cancel()
                    return
                words = tuple(at_output_rate(word, rate_hz) for word in chunk.words)
                yield Sound(pcm16_bytes(resampler.push(chunk.samples), INT16_MAX), words)
            if not cancelled.is_set():
                yield Sound(pcm16_bytes(resampler.flush(), INT16_MAX), ())

    def stop(self, cancelled: threading.Event) -> None:
        """End a speech now, not after its clause. It is known by its event, which is set."""
        with self._speech_lock:
            if self._speech is cancelled and self._voice is not None:
                self._voice.cancel()

    def close(self) -> None:
        """Close the voice, now or when it is open."""
        self._closed = True
        if self._voice is not None:
            self._voice.close()


class Answer:
    """An answer that is being made. Events are in order: `Heard`, then text, sound and tools, at last `Done`.

    Args:
        parts: Recognizer, language model, voice, tools.
        voice: The voice; None makes an answer of text.
        hear: Waits for the text of the user. It is called in a thread, with an event that ends the wait. None answers
            the messages as they are.
        history: The messages before the text of the user.
        options: Length and choice of tools.

    Attributes:
        times: When the parts were ready.
    """

    def __init__(
        self,
        parts: ConversationParts,
        voice: VoiceLine | None,
        hear: Callable[[threading.Event], str] | None,
        history: Sequence[Message],
        options: ReplyOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._parts, self._voice, self._hear, self._history = parts, voice, hear, history
        self._options = options
        self._events: queue.SimpleQueue[AnswerEvent] = queue.SimpleQueue()
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._reply: Reply | None = None
        self.times = AnswerTimes()
        threading.Thread(target=self._think, name="sca answer", daemon=True).start()

    def take(self, wait_s: float = 0.0) -> AnswerEvent | None:
        """Return the next event; None without one within `wait_s`."""
        try:
            return self._events.get(timeout=wait_s) if wait_s > 0 else self._events.get_nowait()
        except queue.Empty:
            return None

    def cancel(self) -> None:
        """End the answer. Its threads end as soon as their parts let them."""
        self._cancelled.set()
        self._pieces.put(None)
        if self._reply is not None:
            self._reply.cancel()
        if self._voice is not None:
            self._voice.stop(self._cancelled)

    # The thread of recognizer and language model

    def _think(self) -> None:
        speaking: threading.Thread | None = None
        try:
            text = None if self._hear is None else self._hear(self._cancelled)
            if self._cancelled.is_set():
                return
            self.times.heard_s = time.monotonic()
            if text is not None:
                self._events.put(Heard(text))
            if text == "":
                return
            if self._voice is not None:
                speaking = threading.Thread(target=self._speak, args=(self._voice,), name="sca voice", daemon=True)
                speaking.start()
            self._converse(self._history if text is None else with_user_text(self._history, text))
        except ScaError as error:
            self._events.put(Failed(error))
        except Exception as error:  # noqa: BLE001 - a part of another package; it ends this answer only
            self._events.put(Failed(_as_sca_error(error)))
        finally:
            self._pieces.put(None)
            if speaking is not None:
                speaking.join()
            self.times.done_s = time.monotonic()
            self._events.put(Done())

    def _converse(self, messages: Sequence[Message]) -> None:
        """Let the model answer, and call its tools, until it calls none."""
        parts = self._parts
        for _ in range(_MAX_TOOL_ROUNDS):
            text, calls = "", list[ToolCall]()
            self._reply = parts.language.reply(messages, parts.tools, self._options)
            if self._cancelled.is_set():
                self._reply.cancel()
            for piece in self._reply:
                if isinstance(piece, ToolCall):
                    calls.append(piece)
                elif not self._cancelled.is_set():
                    text += piece
                    self._add_text(piece)
            if not calls or self._cancelled.is_set():
                return
            if parts.call_tool is None:
                self._events.put(ToolsCalled(Message("assistant", "", tuple(calls))))
                return
            used = [Message("assistant", text, tuple(calls))]
            used += [Message("tool", parts.call_tool(call), tool_call_id=call.id) for call in calls]
            self._events.put(ToolsUsed(tuple(used)))
            messages = [*messages, *used]
        raise ScaError(
            f"the language model calls tools again and again; it was stopped after {_MAX_TOOL_ROUNDS} rounds"
        )

    def _add_text(self, piece: str) -> None:
        self.times.first_text_s = self.times.first_text_s or time.monotonic()
        self._events.put(Text(piece))
        self._pieces.put(piece)

    # The thread of the voice

    def _speak(self, voice: VoiceLine) -> None:
        try:
            for sound in voice.speak(self._text_pieces(), self._cancelled):
                if sound.pcm and self.times.first_sound_s is None:
                    self.times.first_sound_s = time.monotonic()
                self._events.put(sound)
        except ScaError as error:
            self._events.put(Failed(error))
        except Exception as error:  # noqa: BLE001 - a voice of another package; it ends this answer only
            self._events.put(Failed(_as_sca_error(error)))

    def _text_pieces(self) -> Iterator[str]:
        """Yield the text as it arrives. The last one taken before the first sound completes the first clause."""
        while (piece := self._pieces.get()) is not None and not self._cancelled.is_set():
            if self.times.first_sound_s is None:
                self.times.first_clause_s = time.monotonic()
            yield piece
        if self.times.first_sound_s is None:
            self.times.first_clause_s = time.monotonic()


def _as_sca_error(error: Exception) -> ScaError:
    return ScaError(f"a part of the conversation failed: {type(error).__name__}: {first_line(error)}")
