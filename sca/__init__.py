"""sca: training data for full-duplex speech models, and a live loop that runs them, on one 0.32 s grid."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sca.version import __version__

if TYPE_CHECKING:
    from sca.config import Settings, load_settings
    from sca.errors import ScaError
    from sca.infer.engine import Engine
    from sca.infer.engines.registry import load_engine
    from sca.infer.runners.array import run_engine
    from sca.infer.session.loop import LiveSession
    from sca.tokenizer import TextTokenizer, load_tokenizer
    from sca.units import Grid

# Loaded on first use: `import sca` must cost nothing.
_HOME = {
    "Engine": "sca.infer.engine",
    "Grid": "sca.units",
    "LiveSession": "sca.infer.session.loop",
    "ScaError": "sca.errors",
    "Settings": "sca.config",
    "TextTokenizer": "sca.tokenizer",
    "easy_load": "sca.data.easy_load",
    "load": "sca.data.duplex.load.dataset",
    "load_engine": "sca.infer.engines.registry",
    "load_settings": "sca.config",
    "load_tokenizer": "sca.tokenizer",
    "run_engine": "sca.infer.runners.array",
}

__all__ = [
    "Engine",
    "Grid",
    "LiveSession",
    "ScaError",
    "Settings",
    "TextTokenizer",
    "__version__",
    "easy_load",
    "load",
    "load_engine",
    "load_settings",
    "load_tokenizer",
    "run_engine",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'sca' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
