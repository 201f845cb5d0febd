"""Load a vision engine by name. No engine is imported before it is loaded.

Another package adds an engine by an entry point in the group `sca.watch_engines`, in its `pyproject.toml`:

    [project.entry-points."sca.watch_engines"]
    my-engine = "my_package.vision:load"

The object is a function that takes the `sca.config.Settings` of the session and returns an
`sca.watch.engines.base.WatchEngine`. It raises a `ScaError` if the engine cannot be loaded. After installation of the
package, `sca watch --engine my-engine` uses it. The names of engines that ship with sca take precedence.
"""

from sca.config import Settings, load_settings
from sca.errors import UsageError
from sca.plugins import find_loader, plugin_names
from sca.watch.engines.base import WatchEngine

__all__ = ["load_watch_engine", "watch_engine_names"]

_BUILTIN_MODULES = {
    "describe": "sca.watch.engines.describe.engine",
    "minicpm": "sca.watch.engines.minicpm.engine",
    "openai": "sca.watch.engines.openai",
    "vllm-omni": "sca.watch.engines.vllm_omni",
}
"""The modules of the engines that ship with sca. Each has a function `load`."""


def watch_engine_names() -> list[str]:
    """Return every name that `load_watch_engine` accepts, sorted."""
    return sorted({*_BUILTIN_MODULES, *plugin_names("sca.watch_engines")})


def load_watch_engine(name: str, settings: Settings | None = None) -> WatchEngine:
    """Load an engine.

    Args:
        name: The name of the engine.
        settings: The settings; None uses `sca.load_settings()`.

    Raises:
        UsageError: The name is unknown, or a plugin does not provide an engine.
        MissingToolError: The engine cannot be imported, or needs something that is not installed.
        ConfigError: The engine does not support the settings.
    """
    loader = find_loader("sca.watch_engines", name, _BUILTIN_MODULES, "vision engine")
    if not callable(loader):
        raise UsageError(f"the plugin {name} does not provide a vision engine: {loader!r} is not a function")
    engine: object = loader(load_settings() if settings is None else settings)
    if not isinstance(engine, WatchEngine):
        raise UsageError(f"the plugin {name} does not provide a vision engine: it returned a {type(engine).__name__}")
    return engine
