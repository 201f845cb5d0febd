"""The parts of a conversation, loaded from the settings."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sca.infer.language.base import LanguageModel, ToolCall, ToolSchema
from sca.infer.language.registry import load_language_model
from sca.infer.recognition.base import RecognizerEngine
from sca.infer.recognition.registry import load_recognizer
from sca.infer.speech.base import SpeechVoice
from sca.infer.speech.registry import open_engine

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["ConversationParts", "load_parts"]


@dataclass(frozen=True, slots=True)
class ConversationParts:
    """The parts. All conversations share them; each one opens its own voice, of a shared engine.

    Attributes:
        recognizer: Opens a recognizer for each utterance; None if all input is text.
        language: The language model.
        open_voice: Opens the voice; None if answers are text only.
        voice_name: The name of the voice, for display.
        answer_tokens: The longest answer, in tokens.
        tools: The tools that the model may call.
        call_tool: Calls a tool and returns its result as text. Without it, a call ends the answer.
    """

    recognizer: RecognizerEngine | None
    language: LanguageModel
    open_voice: Callable[[], SpeechVoice] | None
    voice_name: str = ""
    answer_tokens: int = 256
    tools: tuple[ToolSchema, ...] = ()
    call_tool: Callable[[ToolCall], str] | None = None

    def with_tools(
        self, tools: Sequence[ToolSchema], call_tool: Callable[[ToolCall], str] | None
    ) -> "ConversationParts":
        """Return the same parts with other tools."""
        return replace(self, tools=tuple(tools), call_tool=call_tool)

    def with_recognizer(self, recognizer: RecognizerEngine) -> "ConversationParts":
        """Return the same parts with a recognizer."""
        return replace(self, recognizer=recognizer)

    @property
    def summary(self) -> str:
        """The names of the parts."""
        hears = [] if self.recognizer is None else [self.recognizer.name]
        speaks = [self.voice_name] if self.open_voice is not None else []
        return " → ".join([*hears, self.language.name, *speaks])

    def close(self) -> None:
        """Close the language model."""
        self.language.close()


def load_parts(settings: "Settings", *, hears: bool = True, speaks: bool = True) -> ConversationParts:
    """Load the parts. A local language model is started.

    Args:
        settings: The settings: `recognition`, `llm` and `chat`.
        hears: Whether there is audio to recognize.
        speaks: Whether answers are spoken.

    Raises:
        ScaError: A part cannot be loaded.
    """
    recognizer = load_recognizer(settings=settings) if hears else None
    voice, name = _voice(settings) if speaks else (None, "")
    language = load_language_model(settings.llm, settings.paths.resolved_cache_dir)
    return ConversationParts(recognizer, language, voice, name, settings.llm.max_tokens)


def _voice(settings: "Settings") -> tuple[Callable[[], SpeechVoice], str]:
    """Return what opens the voice, and its name. It is opened once, so that errors come early.

    The voices of all conversations are of one engine, so they share its model.
    """
    wanted, _, voice = (settings.chat.voice or "").partition(":")
    name, engine, opened = open_engine(wanted or None, voice or None, settings)
    ready = deque([opened])  # for the first conversation

    def open_next() -> SpeechVoice:
        try:
            return ready.pop()
        except IndexError:
            return engine.open(voice or None)

    return open_next, f"{name}:{voice}" if voice else name
