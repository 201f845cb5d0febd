"""Engines by name. Nothing of an engine is imported until it is asked for.

A package of your own adds one by an entry point in the group `sca.engines`: a function that takes `sca.config.Settings` and
returns an `Engine`. It may not take the name of one that comes with sca.
"""

import difflib
from importlib.metadata import EntryPoint, entry_points

from sca.config import Settings
from sca.errors import MissingToolError, UsageError
from sca.infer.engine import Engine

__all__ = ["GROUP", "engine_names", "load_engine"]

GROUP = "sca.engines"
_OURS = {
    "parrot": "sca.infer.engines.parrot:load",
    "qwen-omni": "sca.infer.engines.qwen_omni.factory:load",
    "vllm-omni": "sca.infer.engines.vllm_omni.engine:load",
}


def engine_names() -> list[str]:
    """Every name that `load_engine` takes, sorted."""
    return sorted({*_OURS, *(point.name for point in entry_points(group=GROUP))})


def load_engine(name: str, settings: Settings) -> Engine:
    """Load an engine. Raises `UsageError` for a name nobody has, `MissingToolError` for one that cannot be imported."""
    try:
        loader = _point(name).load()
    except ImportError as error:
        raise MissingToolError(
            f"the engine {name} cannot be imported: {error}",
            hint="install the package that brings it, or what that needs",
        ) from error
    except AttributeError as error:
        raise UsageError(f"the engine {name} is registered, but its loader is not there: {error}") from error
    engine = loader(settings)
    if not isinstance(engine, Engine):
        raise UsageError(f"what is registered as engine {name} is none: it gave a {type(engine).__name__}")
    return engine


def _point(name: str) -> EntryPoint:
    if name in _OURS:
        return EntryPoint(name, _OURS[name], GROUP)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point
    names = engine_names()
    near = difflib.get_close_matches(name, names, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"there is no engine called {name}", hint=f"{meant}there are: {', '.join(names)}")
