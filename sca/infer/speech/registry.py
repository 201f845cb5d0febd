"""Load a speech engine by name.

Another package adds an engine by an entry point in the group `sca.speech`, in its `pyproject.toml`:

    [project.entry-points."sca.speech"]
    my-voices = "my_package.speech:load"

The object is a function without arguments that returns an `sca.infer.speech.base.SpeechEngine`. After installation of
the package, `sca say --engine my-voices` uses it. The names of engines that ship with sca take precedence.
"""

import difflib
from contextlib import suppress
from importlib import import_module

from sca.errors import MissingToolError, UsageError
from sca.infer.speech.base import SpeechEngine, SpeechVoice
from sca.plugins import load_plugin, plugin_names

__all__ = ["DEFAULT_ENGINES", "load_speech_engine", "open_voice", "speech_engine_names"]

DEFAULT_ENGINES = ("piper", "espeak")
"""The engines that are tried without `--engine`, the best first. The last one needs no model."""

_BUILTIN_MODULES = {
    "espeak": "sca.infer.speech.espeak",
    "piper": "sca.infer.speech.piper",
}
"""The modules of the engines that ship with sca. Each has a function `load`."""


def speech_engine_names() -> list[str]:
    """Return every name that `load_speech_engine` accepts, sorted."""
    return sorted({*_BUILTIN_MODULES, *plugin_names("sca.speech")})


def load_speech_engine(name: str) -> SpeechEngine:
    """Load an engine.

    Args:
        name: The name of the engine.

    Raises:
        UsageError: The name is unknown, or a plugin does not provide an engine.
        MissingToolError: The plugin cannot be imported.
    """
    module = _BUILTIN_MODULES.get(name)
    loader = load_plugin("sca.speech", name) if module is None else import_module(module).load
    if loader is None:
        names = speech_engine_names()
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"speech engine {name} does not exist", hint=f"{hint}available: {', '.join(names)}")
    engine = loader() if callable(loader) else loader
    if not isinstance(engine, SpeechEngine):
        raise UsageError(f"the plugin {name} does not provide a speech engine: it is a {type(engine).__name__}")
    return engine


def open_voice(engine: str | None = None, voice: str | None = None) -> tuple[str, SpeechVoice]:
    """Open a voice of an engine.

    Args:
        engine: The name of the engine. None selects the one that has the voice; without a voice, the first engine of
            `DEFAULT_ENGINES` whose model is on this machine.
        voice: The name of the voice; None is the default of the engine.

    Returns:
        The name of the engine, and the voice.

    Raises:
        UsageError: The engine or the voice does not exist.
        MissingToolError: The engine needs something that is not installed.
    """
    if engine is not None:
        return engine, load_speech_engine(engine).open(voice)
    *first, last = DEFAULT_ENGINES
    for name in first:
        candidate = load_speech_engine(name)
        if voice is None:
            with suppress(MissingToolError):
                return name, candidate.open()
        elif any(info.name == voice for info in candidate.voices()):
            return name, candidate.open(voice)
    return last, load_speech_engine(last).open(voice)
