"""sca: training data for full-duplex speech models, and a live loop that runs them, on one 0.32 s grid."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sca.version import __version__

if TYPE_CHECKING:
    from sca.config import Settings, load_settings
    from sca.errors import ScaError
    from sca.tokenizer import TextTokenizer, load_tokenizer
    from sca.units import Grid

# Loaded on first use: `import sca` must cost nothing.
_HOME = {
    "Grid": "sca.units",
    "ScaError": "sca.errors",
    "Settings": "sca.config",
    "TextTokenizer": "sca.tokenizer",
    "easy_load": "sca.data.easy_load",
    "load": "sca.data.duplex.load.dataset",
    "load_settings": "sca.config",
    "load_tokenizer": "sca.tokenizer",
}

__all__ = [
    "Grid",
    "ScaError",
    "Settings",
    "TextTokenizer",
    "__version__",
    "easy_load",
    "load",
    "load_settings",
    "load_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'sca' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
