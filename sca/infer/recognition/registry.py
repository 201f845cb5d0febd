"""Load a recognizer by name.

Another package adds a recognizer by an entry point in the group `sca.recognizers`, in its `pyproject.toml`:

    [project.entry-points."sca.recognizers"]
    my-recognizer = "my_package.recognition:load"

The object is a function that takes the `sca.config.Settings` and returns a
`sca.infer.recognition.base.RecognizerEngine`. It raises a `ScaError` if the recognizer cannot be loaded. After
installation of the package, `recognition.engine = "my-recognizer"` selects it. The names of recognizers that ship with
sca take precedence.
"""

from importlib.util import find_spec

from sca.config import Settings, load_settings
from sca.errors import ScaError, UsageError
from sca.infer.recognition.base import Recognizer, RecognizerEngine
from sca.models import resolve
from sca.plugins import find_loader, plugin_names

__all__ = ["load_recognizer", "open_recognizer", "recognizer_names", "recognizer_problem"]

_BUILTIN_MODULES = {
    "openai": "sca.infer.recognition.openai",
    "whisper": "sca.infer.recognition.whisper",
}
"""The modules of the recognizers that ship with sca. Each has a function `load`."""


def recognizer_names() -> list[str]:
    """Return every name that `load_recognizer` accepts, sorted."""
    return sorted({*_BUILTIN_MODULES, *plugin_names("sca.recognizers")})


def load_recognizer(name: str | None = None, settings: Settings | None = None) -> RecognizerEngine:
    """Load a recognizer.

    Args:
        name: The name of the recognizer; None is the setting `recognition.engine`.
        settings: The settings; None uses `sca.load_settings()`.

    Raises:
        UsageError: The name is unknown, or a plugin does not provide a recognizer.
        MissingToolError: The recognizer cannot be imported, or its model is not on this machine.
        ConfigError: A setting that it needs is not set.
    """
    used = load_settings() if settings is None else settings
    chosen = name or used.recognition.engine
    loader = find_loader("sca.recognizers", chosen, _BUILTIN_MODULES, "recognizer")
    if not callable(loader):
        raise UsageError(f"the plugin {chosen} does not provide a recognizer: {loader!r} is not a function")
    engine: object = loader(used)
    if not isinstance(engine, RecognizerEngine):
        raise UsageError(f"the plugin {chosen} does not provide a recognizer: it returned a {type(engine).__name__}")
    return engine


def open_recognizer(name: str | None = None, settings: Settings | None = None) -> Recognizer:
    """Load a recognizer and open one stream of it; see `load_recognizer`."""
    return load_recognizer(name, settings).open()


def recognizer_problem(settings: Settings) -> str | None:
    """Return why the recognizer of the settings cannot be used; None if nothing is known against it.

    Nothing is loaded, fetched or requested. A folder or hub id in `recognition.model` is checked when it is loaded.

    Args:
        settings: The settings.
    """
    config = settings.recognition
    if config.engine not in recognizer_names():
        return f"the recognizer {config.engine} does not exist"
    if config.engine == "openai" and config.base_url is None:
        return "recognition.base_url is not set"
    if config.engine == "whisper":
        if find_spec("faster_whisper") is None:
            return "the package faster-whisper is not installed"
        try:
            resolve(config.model)
        except ScaError as error:
            return error.message if error.hint is None else f"{error.message}: {error.hint}"
    return None
