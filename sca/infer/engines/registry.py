"""Load an engine by name. No engine is imported before it is loaded.

Another package adds an engine by an entry point in the group `sca.engines`, in its `pyproject.toml`:

    [project.entry-points."sca.engines"]
    my-engine = "my_package.engine:load"

The object is a function that takes the `sca.config.Settings` of the session and returns an `sca.infer.engine.Engine`.
It raises a `ScaError` if the engine cannot be loaded. If it has a parameter `sessions`, it also receives how many sessions
there may be at a time. After installation of the package, `--engine my-engine` uses it
everywhere, and error messages list its name. The names of engines that ship with sca take precedence.
"""

from collections.abc import Callable
from inspect import signature

from sca.config import Settings, load_settings
from sca.errors import UsageError
from sca.infer.engine import Engine
from sca.plugins import find_loader, plugin_names

__all__ = ["engine_names", "load_engine"]

_BUILTIN_MODULES = {
    "cascade": "sca.infer.engines.cascade.engine",
    "parrot": "sca.infer.engines.parrot",
    "qwen-omni": "sca.infer.engines.qwen_omni.factory",
    "vllm-omni": "sca.infer.engines.vllm_omni.engine",
}
"""The modules of the engines that ship with sca. Each has a function `load`."""


def engine_names() -> list[str]:
    """Return every name that `load_engine` accepts, sorted."""
    return sorted({*_BUILTIN_MODULES, *plugin_names("sca.engines")})


def load_engine(name: str, settings: Settings | None = None, sessions: int = 1) -> Engine:
    """Load an engine.

    Args:
        name: The name of the engine.
        settings: The settings; None uses `sca.load_settings()`.
        sessions: Most sessions at a time. An engine may reserve memory for them.

    Raises:
        UsageError: The name is unknown, or a plugin does not provide an engine.
        MissingToolError: The engine cannot be imported, or needs something that is not installed.
        ConfigError: The engine does not support the settings.

    Example:
        ```python
        import sca

        engine = sca.load_engine("parrot")
        assert engine.info.name == "parrot"
        ```
    """
    loader = find_loader("sca.engines", name, _BUILTIN_MODULES, "engine")
    if not callable(loader):
        raise UsageError(f"the plugin {name} does not provide an engine: {loader!r} is not a function")
    more = {"sessions": sessions} if _takes_sessions(loader) else {}
    engine: object = loader(load_settings() if settings is None else settings, **more)
    if not isinstance(engine, Engine):
        raise UsageError(f"the plugin {name} does not provide an engine: it returned a {type(engine).__name__}")
    return engine


def _takes_sessions(loader: Callable[..., object]) -> bool:
    try:
        return "sessions" in signature(loader).parameters
    except ValueError:  # a function in C
        return False
