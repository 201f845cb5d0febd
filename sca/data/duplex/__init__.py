"""The duplex data set: align, place, cut, build, verify, load."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sca.data.duplex.load import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # On first use: the loader needs soundfile and Arrow, which the modules beside it do not all need.
    if name == "load":
        from importlib import import_module

        return import_module("sca.data.duplex.load").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
