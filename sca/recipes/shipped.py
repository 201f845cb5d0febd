"""Recipes that ship with sca."""

from importlib.resources import files
from pathlib import Path

from sca.errors import unknown_name
from sca.recipes.format import Recipe, parse_recipe, read_recipe
from sca.recipes.source import Source

__all__ = ["find_recipe", "shipped_names", "shipped_recipe"]

_FOLDER = files("sca.resources") / "recipes"
_SUFFIX = ".toml"


def shipped_names() -> list[str]:
    """Return the names of the recipes that ship with sca, sorted."""
    return sorted(file.name.removesuffix(_SUFFIX) for file in _FOLDER.iterdir() if file.name.endswith(_SUFFIX))


def shipped_recipe(name: str) -> tuple[Recipe, Source]:
    """Return a recipe that ships with sca, and its text.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    if name not in shipped_names():
        message = f"no recipe {name} ships with sca, and no file has that name"
        raise unknown_name(message, name, shipped_names())
    source = Source(f"{name}{_SUFFIX}", (_FOLDER / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
    return parse_recipe(source), source


def find_recipe(name: str) -> tuple[Recipe, Source]:
    """Read the recipe of that name: a file, or one that ships with sca.

    Raises:
        UnknownNameError: There is neither.
        InputError: The file cannot be read.
        ConfigError: It is not a recipe; the message has the lines.
    """
    is_path = "/" in name or "\\" in name
    return read_recipe(Path(name)) if is_path or Path(name).is_file() else shipped_recipe(name.removesuffix(_SUFFIX))
