"""The parts of a conversation, loaded from the settings."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sca.errors import MissingToolError, UsageError
from sca.infer.language.base import LanguageModel
from sca.infer.language.registry import load_language_model
from sca.infer.messages import ToolCall, ToolSchema
from sca.infer.recognition.base import RecognizerEngine
from sca.infer.recognition.registry import load_recognizer
from sca.infer.speech.base import DefaultVoice, SpeechEngine, SpeechVoice
from sca.infer.speech.registry import open_engine, split_voice
from sca.models import resolve

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
        voices: The names of all voices that `open_named` opens.
        open_named: Opens a voice by its name; None if there is no choice.
        answer_tokens: The longest answer, in tokens.
        tools: The tools that the model may call.
        call_tool: Calls a tool and returns its result as text. Without it, a call ends the answer.
        voice: The voice that `open_voice` opens, by the name that `open_named` takes; None if it has no name.
    """

    recognizer: RecognizerEngine | None
    language: LanguageModel
    open_voice: Callable[[], SpeechVoice] | None
    voice_name: str = ""
    voices: tuple[str, ...] = ()
    open_named: Callable[[str], SpeechVoice] | None = None
    answer_tokens: int = 256
    tools: tuple[ToolSchema, ...] = ()
    call_tool: Callable[[ToolCall], str] | None = None
    voice: str | None = None

    def with_tools(
        self, tools: Sequence[ToolSchema], call_tool: Callable[[ToolCall], str] | None
    ) -> "ConversationParts":
        """Return the same parts with other tools."""
        return replace(self, tools=tuple(tools), call_tool=call_tool)

    def with_recognizer(self, recognizer: RecognizerEngine) -> "ConversationParts":
        """Return the same parts with a recognizer."""
        return replace(self, recognizer=recognizer)

    def with_voice(self, name: str | None) -> "ConversationParts":
        """Return the same parts with another voice; None keeps the voice.

        Raises:
            UsageError: There is no voice of that name.
        """
        if name is None or name == self.voice:
            return self
        if self.open_named is None or name not in self.voices:
            listed = ", ".join(self.voices) or "none"
            raise UsageError(f"the voice {name} does not exist", hint=f"the voices are: {listed}")
        return replace(self, open_voice=partial(self.open_named, name), voice_name=name, voice=name)

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """The kind and the name of each part, in the order of their work."""
        hears = [] if self.recognizer is None else [("recognizer", self.recognizer.name)]
        speaks = [("voice", self.voice_name)] if self.open_voice is not None else []
        return (*hears, ("language model", self.language.name), *speaks)

    @property
    def summary(self) -> str:
        """The names of the parts."""
        return " → ".join(name for _, name in self.names)

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
    spoken = _voice(settings) if speaks else None
    language = load_language_model(settings.llm, settings.paths.resolved_cache_dir)
    if spoken is None:
        return ConversationParts(recognizer, language, None, answer_tokens=settings.llm.max_tokens)
    engine, open_voice, name, voice = spoken
    return ConversationParts(
        recognizer,
        language,
        open_voice,
        name,
        usable_voices(engine),
        engine.open,
        settings.llm.max_tokens,
        voice=voice,
    )


def usable_voices(engine: SpeechEngine) -> tuple[str, ...]:
    """Return the voices of an engine, without those of the catalogue that are not on this machine."""
    return tuple(info.name for info in engine.voices() if _is_usable(info.name))


def _is_usable(voice: str) -> bool:
    try:
        resolve(voice)
    except MissingToolError:
        return False
    return True


def _voice(settings: "Settings") -> tuple[SpeechEngine, Callable[[], SpeechVoice], str, str | None]:
    """Return the speech engine, what opens the voice, its name for display, and its name for the engine.

    It is opened once, so that errors come early.

    The voices of all conversations are of one engine, so they share its model.
    """
    wanted, voice = split_voice(settings.chat.voice or "")
    name, engine, opened = open_engine(wanted, voice, settings)
    ready = deque([opened])  # for the first conversation

    def open_next() -> SpeechVoice:
        try:
            return ready.pop()
        except IndexError:
            return engine.open(voice or None)

    default = engine.default_voice if isinstance(engine, DefaultVoice) else None
    return engine, open_next, f"{name}:{voice}" if voice else name, voice or default
