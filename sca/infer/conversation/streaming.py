"""A conversation for programs: text or audio in, events out, as the parts make them."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from sca.audio.decode import read_audio
from sca.config import Settings, load_settings
from sca.errors import InputError, UsageError
from sca.infer.conversation.answer import Done, Failed, Heard, Sound, Text
from sca.infer.conversation.latency import LatencyLog
from sca.infer.conversation.parts import ConversationParts, load_parts
from sca.infer.conversation.talk import Talk, Turn
from sca.infer.conversation.utterance import Utterance, text_of
from sca.infer.messages import Message, ToolCall, ToolSchema
from sca.infer.recognition.base import RecognizerEngine
from sca.infer.session.wav_writer import WavWriter
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = [
    "AudioChunkEvent",
    "CompleteEvent",
    "ConversationEvent",
    "StreamingConversation",
    "StreamingConversationalChatbot",
    "TextEvent",
]

_CHUNK_SAMPLES = HEARD_HZ * 32 // 100
_MOST_BEHIND_SAMPLES = 10 * HEARD_HZ
_POLL_S = 0.02


class TextEvent(TypedDict):
    """Words of the user (`partial_text`, then `final_text`), or a piece of the answer (`llm_response`)."""

    type: Literal["partial_text", "final_text", "llm_response"]
    text: str


class AudioChunkEvent(TypedDict):
    """A piece of the answer's sound.

    Attributes:
        data: Int16 little-endian mono at 24 kHz.
        chunk_num: Its number, from 0.
        text: The words that begin in it. Joined, the texts of all chunks are the answer.
    """

    type: Literal["audio_chunk"]
    data: bytes
    chunk_num: int
    text: str


class CompleteEvent(TypedDict):
    """The end of an answer.

    Attributes:
        text: The whole answer.
        total_time: Seconds since the call.
        time_to_first_audio: Seconds until the first `audio_chunk`; None without sound.
    """

    type: Literal["complete"]
    text: str
    total_time: float
    time_to_first_audio: float | None


ConversationEvent = TextEvent | AudioChunkEvent | CompleteEvent


class StreamingConversation:
    """A conversation with a language model, by voice or text: the parts of `sca chat` as a library.

    All turns share one history. An answer that is ended early, by `interrupt` or by closing the iterator, is
    remembered as far as its audio chunks were taken.

    Args:
        settings: Recognizer, language model and voice; None uses `sca.load_settings()`.
        parts: The parts, instead of those of the settings. They are not closed.
        prompt: The system prompt; None is that of the settings.
        speaks: Whether answers are spoken; otherwise `audio_chunk` events do not occur.
        tools: Tools that the model may call, in the JSON format of the chat API.
        call_tool: Calls a tool and returns its result as text.

    Attributes:
        latency: The latencies of the answers, by part.

    Raises:
        ScaError: A part cannot be loaded.

    Example:
        ```text
        import sca

        with sca.StreamingConversation() as conversation:
            for event in conversation.process_streaming("What is the capital of France?", "answer.wav"):
                if event["type"] == "llm_response":
                    print(event["text"], end="", flush=True)
        ```
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        parts: ConversationParts | None = None,
        prompt: str | None = None,
        speaks: bool = True,
        tools: Sequence[ToolSchema] = (),
        call_tool: Callable[[ToolCall], str] | None = None,
    ) -> None:
        settings = load_settings() if settings is None else settings
        self._settings = settings
        self._owned = load_parts(settings, hears=False, speaks=speaks) if parts is None else None
        chosen = self._owned if parts is None else parts
        assert chosen is not None
        if tools or call_tool is not None:
            chosen = chosen.with_tools(tools, call_tool)
        self.parts = chosen
        self._talk = Talk(chosen, settings.llm.system_prompt if prompt is None else prompt)
        self._turn: Turn | None = None
        self.latency = LatencyLog()

    @property
    def history(self) -> list[Message]:
        """The messages so far, as the model gets them; an answer as far as it was heard."""
        return self._talk.history.messages()

    def process_streaming(
        self,
        user_input: str | PathLike[str] | NDArray[np.float32],
        save_audio_path: str | PathLike[str] | None = None,
    ) -> Iterator[ConversationEvent]:
        """Answer one turn of the user.

        Args:
            user_input: Text; or an audio file, as a `pathlib.Path` or as the text of the path of a file that exists; or
                float32 mono `(n,)` at 16 kHz.
            save_audio_path: A WAV file for the answer.

        Yields:
            For audio input, `partial_text` while it is recognized; `final_text`, the words of the user; then
            `llm_response` and `audio_chunk` as they are made; at last `complete`.

        Raises:
            UsageError: The text is empty, or another answer is in progress.
            InputError: The audio cannot be read, or has no words.
            ScaError: A part fails. What came before is remembered.
        """
        if self._turn is not None:
            raise UsageError("an answer is in progress", hint="take its events to the end, or call interrupt()")
        if isinstance(user_input, str) and not user_input.strip():
            raise UsageError("there is no text to answer")
        if isinstance(user_input, str) and os.path.isfile(user_input):  # noqa: PTH113 - Path raises for a long text
            user_input = Path(user_input)
        return self._process(user_input, save_audio_path)

    def _process(
        self, user_input: str | PathLike[str] | NDArray[np.float32], save_audio_path: str | PathLike[str] | None
    ) -> Iterator[ConversationEvent]:
        began_s = time.monotonic()
        with ExitStack() as opened:
            wav = None
            if save_audio_path is not None:
                wav = opened.enter_context(WavWriter(Path(save_audio_path), SPOKEN_HZ))
            if isinstance(user_input, str):
                text = user_input.strip()
                turn = self._talk.start(lambda cancelled: text)
            else:
                utterance = Utterance(self._recognizers().open())
                opened.callback(utterance.close)
                yield from self._recognize(utterance, _samples_of(user_input))
                turn = self._talk.start(partial(text_of, (utterance,)))
            self._turn = turn
            opened.callback(self._leave, turn)
            yield from self._answer(turn, wav, began_s)

    def _recognizers(self) -> RecognizerEngine:
        if self.parts.recognizer is None:
            from sca.infer.recognition.registry import load_recognizer

            self.parts = self.parts.with_recognizer(load_recognizer(settings=self._settings))
        assert self.parts.recognizer is not None
        return self.parts.recognizer

    def _recognize(self, utterance: Utterance, samples: NDArray[np.float32]) -> Iterator[ConversationEvent]:
        """Give the audio to the recognizer, not much faster than it works, and yield what it recognizes meanwhile."""
        for at in range(0, len(samples), _CHUNK_SAMPLES):
            utterance.hear(samples[at : at + _CHUNK_SAMPLES])
            while at - utterance.recognized_samples > _MOST_BEHIND_SAMPLES:
                time.sleep(_POLL_S)
            words = utterance.new_partial()
            if words:
                yield {"type": "partial_text", "text": words}
        utterance.finish()

    def _answer(self, turn: Turn, wav: WavWriter | None, began_s: float) -> Iterator[ConversationEvent]:
        first_s: float | None = None
        count = 0
        while not turn.done:
            event = self._talk.receive(turn, 1.0)
            ended = isinstance(event, Done)
            match event:
                case Heard(text):
                    if not text:
                        raise InputError("no words were recognized in the audio")
                    yield {"type": "final_text", "text": text}
                case Text(text):
                    yield {"type": "llm_response", "text": text}
                case Failed(error):
                    raise error
            if isinstance(event, Sound) or (ended and not turn.spoken.is_taken):
                pcm, text = turn.spoken.take(turn.spoken.waiting_samples)
                if pcm or (text and count):
                    if wav is not None:
                        wav.write(pcm)
                    if first_s is None:
                        first_s = time.monotonic() - began_s
                        self.latency.add(turn.answer.times.stages_ms())
                    yield {"type": "audio_chunk", "data": pcm, "chunk_num": count, "text": text}
                    count += 1
        text = turn.spoken.text
        yield {
            "type": "complete",
            "text": text,
            "total_time": time.monotonic() - began_s,
            "time_to_first_audio": first_s,
        }

    def _leave(self, turn: Turn) -> None:
        if not turn.done:
            self._talk.cut(turn, turn.spoken.taken_samples)
        self._turn = None

    def interrupt(self, played_samples: int | None = None) -> None:
        """End the answer in progress, or shorten the memory of the last one.

        Args:
            played_samples: How much of the audio the user heard, in samples at 24 kHz; None is all that was taken.
        """
        turn = self._turn
        if turn is not None:
            self._talk.cut(turn, turn.spoken.taken_samples if played_samples is None else played_samples)

    def close(self) -> None:
        """End the conversation and release its parts."""
        if self._turn is not None:
            self._leave(self._turn)
        self._talk.close()
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


StreamingConversationalChatbot = StreamingConversation
"""The name of earlier programs."""


def _samples_of(user_input: PathLike[str] | NDArray[np.float32]) -> NDArray[np.float32]:
    if isinstance(user_input, np.ndarray):
        if user_input.dtype != np.float32 or user_input.ndim != 1:
            raise InputError(f"audio is float32 (n,) at 16 kHz, got {user_input.dtype} {user_input.shape}")
        return user_input
    return read_audio(Path(user_input), HEARD_HZ)
