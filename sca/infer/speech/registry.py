"""Load a speech engine by name.

Another package adds an engine by an entry point in the group `sca.speech`, in its `pyproject.toml`:

    [project.entry-points."sca.speech"]
    my-voices = "my_package.speech:load"

The object is a function without arguments that returns an `sca.infer.speech.base.SpeechEngine`. After installation of
the package, `sca say --engine my-voices` uses it. The names of engines that ship with sca take precedence. An engine
with a method `check` (`CheckedEngine`) has its state in `sca say --list`.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from sca.config import Settings, load_settings
from sca.errors import MissingToolError, ScaError, UsageError
from sca.infer.speech.base import CheckedEngine, SpeechEngine, SpeechVoice
from sca.models import find
from sca.plugins import find_loader, plugin_names

__all__ = [
    "DEFAULT_ENGINES",
    "EngineState",
    "check_voice",
    "engine_state",
    "load_speech_engine",
    "open_engine",
    "open_voice",
    "speech_engine_names",
    "split_voice",
]

T = TypeVar("T")

DEFAULT_ENGINES = ("piper", "espeak")
"""The engines that are tried without `--engine`, the best first. The last one needs no model."""

_NAMED_VOICES = ("piper", "kokoro")
"""The engines that are searched for the voice of `--voice` without `--engine`, before espeak."""

_BUILTIN_MODULES = {
    "csm": "sca.infer.speech.csm.engine",
    "espeak": "sca.infer.speech.espeak",
    "kokoro": "sca.infer.speech.kokoro",
    "openai": "sca.infer.speech.openai.engine",
    "piper": "sca.infer.speech.piper",
}
"""The modules of the engines that ship with sca. Each has a function `load` that takes the settings."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether an engine can speak on this machine.

    Attributes:
        name: The name of the engine.
        problem: What is missing, in one line; None if it is ready.
        hint: The command or setting that provides it.
    """

    name: str
    problem: str | None = None
    hint: str | None = None


def speech_engine_names() -> list[str]:
    """Return every name that `load_speech_engine` accepts, sorted."""
    return sorted({*_BUILTIN_MODULES, *plugin_names("sca.speech")})


def load_speech_engine(name: str, settings: Settings | None = None) -> SpeechEngine:
    """Load an engine.

    Args:
        name: The name of the engine.
        settings: The settings; by default those of the environment.

    Raises:
        UsageError: The name is unknown, or a plugin does not provide an engine.
        MissingToolError: The plugin cannot be imported.
    """
    loader = find_loader("sca.speech", name, _BUILTIN_MODULES, "speech engine")
    engine: object = loader
    if callable(loader):
        given = load_settings() if settings is None else settings
        engine = loader(given) if name in _BUILTIN_MODULES else loader()
    if not isinstance(engine, SpeechEngine):
        raise UsageError(f"the plugin {name} does not provide a speech engine: it is a {type(engine).__name__}")
    return engine


def engine_state(name: str, settings: Settings | None = None) -> EngineState:
    """Return whether an engine is ready, without loading its model.

    Args:
        name: The name of the engine.
        settings: The settings; by default those of the environment.

    Raises:
        UsageError: The name is unknown.
    """
    try:
        engine = load_speech_engine(name, settings)
        if isinstance(engine, CheckedEngine):
            engine.check()
    except UsageError:
        raise
    except ScaError as error:
        return EngineState(name, error.message, error.hint)
    return EngineState(name)


def open_voice(
    engine: str | None = None, voice: str | None = None, settings: Settings | None = None
) -> tuple[str, SpeechVoice]:
    """Open a voice of an engine, as `open_engine` does.

    Returns:
        The name of the engine, and the voice.
    """
    name, _, opened = open_engine(engine, voice, settings)
    return name, opened


def open_engine(
    engine: str | None = None, voice: str | None = None, settings: Settings | None = None
) -> tuple[str, SpeechEngine, SpeechVoice]:
    """Load an engine and open a voice of it. More voices that are opened of this engine share its model.

    Args:
        engine: The name of the engine. None selects the one that has the voice; without a voice, the first engine of
            `DEFAULT_ENGINES` whose model is on this machine.
        voice: The name of the voice, or that of a model of the catalogue; None is the default of the engine.
        settings: The settings; by default those of the environment.

    Returns:
        The name of the engine, the engine, and the voice.

    Raises:
        UsageError: The engine or the voice does not exist.
        MissingToolError: The engine needs something that is not installed.
    """
    return _chosen(engine, voice, settings, _opened)


def check_voice(engine: str | None = None, voice: str | None = None, settings: Settings | None = None) -> None:
    """Return if `open_voice` can open a voice.

    The model of a default voice is looked up, and not loaded. A voice that is named is opened.

    Args:
        engine: The name of the engine; see `open_engine`.
        voice: The name of the voice.
        settings: The settings; by default those of the environment.

    Raises:
        UsageError: The engine or the voice does not exist.
        MissingToolError: The engine needs something that is not installed.
    """
    _chosen(engine, voice, settings, _checked)


def _chosen(
    engine: str | None,
    voice: str | None,
    settings: Settings | None,
    use: Callable[[str, str | None, Settings | None], T],
) -> T:
    """Choose the engine and the voice as `open_engine` describes, and return what `use` makes of them."""
    *first, last = DEFAULT_ENGINES
    if voice is not None and engine in (None, *_NAMED_VOICES):
        found = _catalogue_voice(voice)
        if found is not None and engine in (None, found[0]):
            return use(*found, settings)
    if engine is None and voice is None:
        for name in first:
            with suppress(MissingToolError):
                return use(name, None, settings)
    for name in _NAMED_VOICES if engine is None and voice is not None else ():
        if any(info.name == voice for info in load_speech_engine(name, settings).voices()):
            return use(name, voice, settings)
    return use(engine or last, voice, settings)


def _opened(name: str, voice: str | None, settings: Settings | None) -> tuple[str, SpeechEngine, SpeechVoice]:
    engine = load_speech_engine(name, settings)
    return name, engine, engine.open(voice)


def _checked(name: str, voice: str | None, settings: Settings | None) -> None:
    engine = load_speech_engine(name, settings)
    if voice is None and isinstance(engine, CheckedEngine):
        engine.check()
    else:
        engine.open(voice).close()


def split_voice(text: str) -> tuple[str | None, str | None]:
    """Return the engine and the voice that a text names; None for what it leaves to the default.

    Args:
        text: `ENGINE`, `ENGINE:VOICE`, or the name of a model bare or with `pkg:`.

    Raises:
        UsageError: `pkg:NAME` names no model, or a model that is no voice.
    """
    engine, _, voice = (part.strip() for part in text.partition(":"))
    if engine in _NAMED_VOICES:
        found = _catalogue_voice(voice)
        return (engine, voice or None) if found is None or found[0] != engine else found
    return _catalogue_voice(text.strip()) or (engine or None, voice or None)


def _catalogue_voice(name: str) -> tuple[str, str | None] | None:
    """Return the engine and the voice of a model of the catalogue; None if the name is another one.

    Args:
        name: `pkg:NAME`, or the bare name of a voice.

    Raises:
        UsageError: `pkg:NAME` names no model, or a model that is no voice.
    """
    model = find(name)
    if model is None or (model.job != "tts" and not name.startswith("pkg:")):
        return None
    engine = next((one for one in _NAMED_VOICES if model.name.startswith(one)), None)  # the name begins with the engine
    if model.job != "tts" or engine is None:
        raise UsageError(f"the model {model.name} is not a voice", hint="sca say --list lists the voices")
    return engine, None if model.name == engine else model.name
