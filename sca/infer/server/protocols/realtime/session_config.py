"""The session object of the OpenAI Realtime protocol: its settings, and what a `session.update` changes.

Both spellings of the protocol are accepted, GA and beta. A field that is not valid rejects the whole update. A valid
field that has no effect here is named in a warning, and the rest of the update holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import ValidationError

from sca.errors import ConfigError
from sca.infer.engine import EngineInfo
from sca.infer.generation import GenerationOptions, read_generation
from sca.infer.openai_server import OPENAI_VOICES
from sca.infer.server.core.limits import MAX_PROMPT_CHARACTERS
from sca.infer.server.protocols.realtime.events import RealtimeError, TurnDetection
from sca.infer.server.ws.audio_codec import WireAudioFormat

__all__ = ["Modality", "RealtimeSession", "read_format", "read_max_tokens", "read_modality", "read_tools"]

Modality = Literal["audio", "text"]
_MAX_TOOLS = 128

_FORMATS: dict[str, WireAudioFormat] = {
    "audio/pcm": "pcm",
    "audio/pcmu": "pcmu",
    "audio/pcma": "pcma",
    "pcm16": "pcm",
    "g711_ulaw": "pcmu",
    "g711_alaw": "pcma",
}
_WITHOUT_EFFECT = (
    "audio.input.noise_reduction", "audio.output.speed", "include", "parallel_tool_calls",
    "prompt", "reasoning", "speed", "tracing", "truncation",
)  # fmt: skip
_GENERATION = ("sca", "temperature")
_VOICE = ("audio.output.voice", "voice")
_NEED_TEXT = ("tools", "tool_choice", "max_output_tokens", "max_response_output_tokens")
_NEED_RECOGNIZER = ("audio.input.transcription", "input_audio_transcription")
_DEFAULTS: tuple[object, ...] = (None, [], {}, "auto", "none", "inf", 1, 0.8)


@dataclass(frozen=True, slots=True)
class RealtimeSession:
    """The settings of a session.

    Attributes:
        id: The id.
        engine: What the engine can do.
        instructions: The system prompt.
        modality: Whether answers are spoken or written.
        input_format: The format of the client's audio.
        output_format: The format of the spoken audio.
        turn_detection: How turns are detected; None if the client commits its turns.
        transcription: The `transcription` of the client, which is returned to it.
        tools: The tools of the language model, in the format of this protocol.
        tool_choice: Which of them the model must call.
        max_tokens: The longest answer; None for the limit of the server.
        chosen_voice: The voice that the client has chosen; None without a choice.
        generation: The options for turn-taking, text and voice that the client has chosen.
        replaced_voice: A voice of OpenAI that the client requested and the engine does not have; None without one.
    """

    id: str
    engine: EngineInfo
    instructions: str = ""
    modality: Modality = "audio"
    input_format: WireAudioFormat = "pcm"
    output_format: WireAudioFormat = "pcm"
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)
    transcription: Mapping[str, object] | None = None
    tools: tuple[Mapping[str, object], ...] = ()
    tool_choice: object = "auto"
    max_tokens: int | None = None
    chosen_voice: str | None = None
    replaced_voice: str | None = None
    generation: GenerationOptions = field(default_factory=GenerationOptions)

    @property
    def voice(self) -> str:
        """The voice of the answers; the name of the engine if its voice has none."""
        return self.chosen_voice or self.engine.voice or self.engine.name

    def updated(self, session: object) -> tuple["RealtimeSession", list[str]]:
        """Return the settings after a `session.update`, and the fields of it that have no effect.

        Args:
            session: The `session` of the event.

        Raises:
            RealtimeError: The update is not valid.
        """
        if not isinstance(session, Mapping):
            raise RealtimeError("session.update needs an object `session`", "missing_required_parameter", "session")
        if session.get("type", "realtime") != "realtime":
            raise RealtimeError("only sessions of type realtime are supported", param="session.type")
        audio = _section(session, "audio", "session")
        heard, spoken = _section(audio, "input", "session.audio"), _section(audio, "output", "session.audio")
        new = self._with_audio_settings(session, heard, spoken)._with_generation(session)
        new, needs_text = new._with_text_settings(session)
        sections = {"": session, "audio.input.": heard, "audio.output.": spoken}
        return new, sorted({*self._ignored(sections), *needs_text})

    def _with_audio_settings(
        self, session: Mapping[str, object], heard: Mapping[str, object], spoken: Mapping[str, object]
    ) -> "RealtimeSession":
        """Return the settings with those fields that concern audio, in the spelling of the beta and of GA."""
        new = self
        for section, path, prefix in ((session, "session.", "input_audio_"), (heard, "session.audio.input.", "")):
            if section.get(f"{prefix}format") is not None:
                new = replace(new, input_format=read_format(section[f"{prefix}format"], f"{path}{prefix}format"))
            if "turn_detection" in section:
                param = f"{path}turn_detection"
                new = replace(new, turn_detection=_turn_detection(section["turn_detection"], param))
            name = f"{prefix}transcription"
            if name in section:
                new = replace(new, transcription=_object(section[name], path + name))
        for section, param in ((session, "output_audio_format"), (spoken, "audio.output.format")):
            given = section.get(param.rpartition(".")[2])
            if given is not None:
                new = replace(new, output_format=read_format(given, f"session.{param}"))
        for section, param in ((session, "session.voice"), (spoken, "session.audio.output.voice")):
            if section.get("voice") is not None and self.engine.voices:
                new = new._with_voice(section["voice"], param)
        return new

    def _with_voice(self, given: object, param: str) -> "RealtimeSession":
        """Return the settings with a voice. For one of OpenAI's that the engine does not have, the voice stays."""
        name = given.get("id") if isinstance(given, Mapping) else given
        if not isinstance(name, str):
            raise RealtimeError("the voice must be a name, or an object with an id", param=param)
        problem = self.engine.voice_problem(name)
        if problem is None:
            return replace(self, chosen_voice=name, replaced_voice=None)
        if name not in OPENAI_VOICES:
            raise RealtimeError(problem, param=param)
        return replace(self, replaced_voice=name)

    def _with_generation(self, session: Mapping[str, object]) -> "RealtimeSession":
        """Return the settings with the temperature, and with the options in `sca.generation`, a field that is ours."""
        ours = _section(session, "sca", "session")
        if ours.keys() - {"generation"}:
            raise RealtimeError("session.sca has one field, generation", param="session.sca")
        given, param = _section(ours, "generation", "session.sca"), "session.sca.generation"
        if session.get("temperature") is not None:
            given, param = {"text_temperature": session["temperature"], **given}, "session.temperature"
        try:
            options = read_generation(given)
        except ConfigError as error:
            raise RealtimeError(error.message, param=param) from error
        return replace(self, generation=self.generation.updated(options)) if self.engine.follows_generation else self

    def _with_text_settings(self, session: Mapping[str, object]) -> tuple["RealtimeSession", list[str]]:
        """Return the settings with those fields that concern text, and the fields that the engine cannot obey."""
        new, ignored = self, list[str]()
        if session.get("instructions") is not None:
            new = replace(new, instructions=read_text(session["instructions"], "session.instructions"))
        for name in ("output_modalities", "modalities"):
            if session.get(name) is not None:
                modality = read_modality(session[name], f"session.{name}")
                if modality == "text" and not self.engine.takes_text:
                    ignored.append(name)
                else:
                    new = replace(new, modality=modality)
        if not self.engine.takes_text:
            return new, ignored
        if session.get("tools") is not None:
            tools, others = read_tools(session["tools"], "session.tools")
            new = replace(new, tools=tools)
            ignored += others
        if session.get("tool_choice") is not None:
            new = replace(new, tool_choice=session["tool_choice"])
        for name in ("max_output_tokens", "max_response_output_tokens"):
            if session.get(name) is not None:
                new = replace(new, max_tokens=read_max_tokens(session[name], f"session.{name}"))
        return new, ignored

    def _ignored(self, sections: Mapping[str, Mapping[str, object]]) -> list[str]:
        """Return the given fields that have no effect and ask for something else than the default."""
        names = {*_WITHOUT_EFFECT, *([] if self.engine.voices else _VOICE)}
        if not self.engine.follows_generation:
            names |= {*_GENERATION}
        if not self.engine.takes_text:
            names |= {*_NEED_TEXT, *_NEED_RECOGNIZER}
        return [
            path + name
            for path, section in sections.items()
            for name, value in section.items()
            if path + name in names and value not in _DEFAULTS and (path + name not in _VOICE or value != self.voice)
        ]

    def with_more_instructions(self, text: str) -> "RealtimeSession":
        """Return the settings with a text added to the system prompt."""
        return replace(self, instructions=f"{self.instructions}\n{text}".strip())

    def document(self) -> dict[str, object]:
        """Return the session object of `session.created` and `session.updated`."""
        name = self.engine.name
        audio = {
            "input": {
                "format": _format_document(self.input_format),
                "turn_detection": None if self.turn_detection is None else self.turn_detection.document(),
                "transcription": self.transcription,
                "noise_reduction": None,
            },
            "output": {"format": _format_document(self.output_format), "voice": self.voice, "speed": 1.0},
        }
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.id,
            "model": name,
            "output_modalities": [self.modality],
            "instructions": self.instructions,
            "audio": audio,
            "tools": list(self.tools),
            "tool_choice": self.tool_choice,
            "max_output_tokens": "inf" if self.max_tokens is None else self.max_tokens,
            "tracing": None,
            "truncation": "auto",
            "include": None,
            "prompt": None,
            **({"sca": {"generation": self.generation.chosen}} if self.engine.follows_generation else {}),
        }


def read_text(given: object, param: str) -> str:
    """Return instructions. Raises `RealtimeError` if they are not text, or too long."""
    if not isinstance(given, str):
        raise RealtimeError(f"{param.rpartition('.')[2]} must be a string", param=param)
    if len(given) > MAX_PROMPT_CHARACTERS:
        raise RealtimeError(f"instructions have at most {MAX_PROMPT_CHARACTERS} characters", param=param)
    return given


def read_modality(given: object, param: str) -> Modality:
    """Return the kind of answers in a list of modalities. Audio has a transcript, so audio and text are audio."""
    if not isinstance(given, list) or not given or not all(name in ("audio", "text") for name in given):
        raise RealtimeError("the modalities are a list of audio or text", param=param)
    return "audio" if "audio" in given else "text"


def read_max_tokens(given: object, param: str) -> int | None:
    """Return a limit on tokens; None for `inf`."""
    if given == "inf":
        return None
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= 1_000_000:
        raise RealtimeError('the limit on tokens is a whole number from 1, or "inf"', param=param)
    return given


def read_tools(given: object, param: str) -> tuple[tuple[Mapping[str, object], ...], list[str]]:
    """Return the functions of a list of tools, and the names of the types that are not functions.

    Raises:
        RealtimeError: It is not a list of tools.
    """
    if not isinstance(given, list) or len(given) > _MAX_TOOLS:
        raise RealtimeError(f"tools are a list of at most {_MAX_TOOLS} objects", param=param)
    functions, others = [], set[str]()
    for tool in given:
        kind = tool.get("type", "function") if isinstance(tool, Mapping) else None
        if not isinstance(kind, str) or (kind == "function" and not isinstance(tool.get("name"), str)):
            raise RealtimeError("a tool is an object with a type, and a function has a name", param=param)
        if kind == "function":
            functions.append(tool)
        else:
            others.add(f"tools of type {kind[:40]}")
    return tuple(functions), sorted(others)


def _object(given: object, param: str) -> Mapping[str, object] | None:
    if given is not None and not isinstance(given, Mapping):
        raise RealtimeError(f"{param} must be an object or null", param=param)
    return given


def _section(holder: Mapping[str, object], name: str, path: str) -> Mapping[str, object]:
    section = holder.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise RealtimeError(f"{path}.{name} must be an object", param=f"{path}.{name}")
    return section


def _format_document(audio_format: WireAudioFormat) -> dict[str, object]:
    return {"type": "audio/pcm", "rate": 24_000} if audio_format == "pcm" else {"type": f"audio/{audio_format}"}


def read_format(given: object, param: str) -> WireAudioFormat:
    """Return an audio format, given as an object or by the name that the beta has for it."""
    name = given.get("type") if isinstance(given, Mapping) else given
    rate = given.get("rate") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or name not in _FORMATS:
        raise RealtimeError("the format must be audio/pcm (24000 Hz), audio/pcmu or audio/pcma", param=param)
    audio_format = _FORMATS[name]
    if rate is not None and rate != (24_000 if audio_format == "pcm" else 8_000):
        raise RealtimeError(
            "the rate of audio/pcm is 24000, that of audio/pcmu and audio/pcma 8000", param=f"{param}.rate"
        )
    return audio_format


def _turn_detection(given: object, param: str) -> TurnDetection | None:
    if given is None:
        return None
    try:
        return TurnDetection.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join([param, *map(str, first["loc"])])
        raise RealtimeError(f"{field_name}: {first['msg'].lower()}", param=field_name) from error
