"""Loads export formats by name: the built-in ones, and those that other packages add.

A package adds a format under the entry-point group `sca.exporters`. The object is a class, or a function without
parameters, that returns an `sca.data.export.base.Exporter`:

    [project.entry-points."sca.exporters"]
    csv = "my_package.export:CsvExporter"

The name becomes a value of `sca export --to`. A package cannot replace a built-in format.
"""

from collections.abc import Callable

from sca.data.export.base import Exporter
from sca.data.export.chat import ChatExporter
from sca.data.export.lhotse import LhotseExporter
from sca.data.export.moshi import MoshiExporter
from sca.data.export.parquet import ParquetExporter
from sca.data.export.webdataset import WebDatasetExporter
from sca.errors import MissingToolError, unknown_name
from sca.plugins import load_plugin, plugin_names
from sca.textutil import first_line

__all__ = ["BUILT_IN_FORMATS", "exporter_names", "load_exporter"]

_BUILT_IN: dict[str, Callable[[], Exporter]] = {
    "parquet": ParquetExporter,
    "webdataset": WebDatasetExporter,
    "moshi": MoshiExporter,
    "lhotse": LhotseExporter,
    "chat": ChatExporter,
}
BUILT_IN_FORMATS = tuple(_BUILT_IN)
_REPAIR = "repair or uninstall its package"


def exporter_names() -> list[str]:
    """Return the names of all formats, the built-in ones first."""
    return [*BUILT_IN_FORMATS, *(name for name in plugin_names("sca.exporters") if name not in _BUILT_IN)]


def load_exporter(name: str) -> Exporter:
    """Load the format with a given name.

    Raises:
        UnknownNameError: No format has this name.
        MissingToolError: The package of the format cannot be imported, or does not implement `Exporter`.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    factory = load_plugin("sca.exporters", name)
    if factory is None:
        raise unknown_name(f"{name} is not an export format", name, exporter_names())
    try:
        exporter = factory() if callable(factory) else None
    except Exception as error:  # code of another package can raise anything
        raise MissingToolError(f"sca.exporters plugin {name} failed: {first_line(error)}", hint=_REPAIR) from error
    if not isinstance(exporter, Exporter):
        raise MissingToolError(
            f"sca.exporters plugin {name} does not implement sca.data.export.base.Exporter", hint=_REPAIR
        )
    return exporter
