"""Plugins of other installed packages: engines, corpus readers, exporters, recognizers, speech and vision engines.

A package registers an object under an entry-point group and a name, in its own `pyproject.toml`:

    [project.entry-points."sca.engines"]
    my-engine = "my_package.engine:create"

The registry of each kind (`sca.infer.engines.registry`, `sca.data.corpora.registry`, `sca.data.export.registry`,
`sca.infer.recognition.registry`, `sca.infer.speech.registry`, `sca.watch.engines.registry`) documents the interface that
the object must have. Names that ship with sca take precedence over plugins.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from sca.errors import MissingToolError, UsageError, unknown_name
from sca.textutil import first_line

__all__ = ["PluginGroup", "find_loader", "load_plugin", "plugin_names"]

PluginGroup = Literal[
    "sca.engines", "sca.corpora", "sca.exporters", "sca.recognizers", "sca.speech", "sca.watch_engines"
]


def plugin_names(group: PluginGroup) -> list[str]:
    """Return the sorted names that installed packages register in a group."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: PluginGroup, name: str) -> object | None:
    """Import the object that a package registers under a name.

    Args:
        group: The entry-point group.
        name: The registered name.

    Returns:
        The object, or None if no installed package registers the name.

    Raises:
        MissingToolError: The package that registers the name cannot be imported.
        UsageError: The package does not contain the registered object.
    """
    point = _find(group, name)
    if point is None:
        return None
    try:
        plugin: object = point.load()
    except AttributeError as error:
        raise UsageError(f"{group} plugin {name} is registered, but {point.value} does not exist: {error}") from error
    except Exception as error:  # code of another package can raise anything
        package = point.dist.name if point.dist is not None else point.value
        raise MissingToolError(
            f"{group} plugin {name} of package {package} cannot be imported: {first_line(error)}",
            hint=f"repair or uninstall {package}",
        ) from error
    return plugin


def find_loader(group: PluginGroup, name: str, modules: Mapping[str, str], kind: str) -> object:
    """Return the function `load` of a module that ships with sca, or the object of a plugin.

    Args:
        group: The entry-point group.
        name: The name.
        modules: The modules that ship with sca, by name. They are imported here at the earliest.
        kind: The noun of messages, such as "recognizer".

    Raises:
        UnknownNameError: The name is unknown.
        MissingToolError: The module or the plugin cannot be imported.
    """
    if name not in modules:
        plugin = load_plugin(group, name)
        if plugin is None:
            raise unknown_name(f"{kind} {name} does not exist", name, sorted({*modules, *plugin_names(group)}))
        return plugin
    try:
        loader: object = import_module(modules[name]).load
    except ImportError as error:
        raise MissingToolError(
            f"the {kind} {name} cannot be imported: {first_line(error)}", hint="install the packages that it needs"
        ) from error
    return loader


def _find(group: PluginGroup, name: str) -> EntryPoint | None:
    return next((point for point in entry_points(group=group) if point.name == name), None)
