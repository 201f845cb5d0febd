"""The text of a recipe, the line of each of its values, and the errors that name these lines."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sca.errors import ConfigError

__all__ = ["Mistake", "Source", "raise_for"]

Where = tuple[str | int, ...]
"""The place of a value in the document: keys of tables and positions in lists, such as `("stage", 0, "command")`."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something that is wrong with a recipe.

    Attributes:
        where: The place in the document; empty for the whole of it.
        text: What is wrong.
        hint: What to do about it.
    """

    where: Where
    text: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a recipe.

    Attributes:
        name: The path of the file, or the name of a recipe that ships with sca.
        text: Its text, TOML.
    """

    name: str
    text: str

    def line_of(self, where: Where) -> int | None:
        """Return the line on which a value begins, from 1; None if the document does not have it.

        The parser of the standard library has no lines. The value begins on the line after the longest start of the text
        that is a document without it.
        """
        lines = self.text.split("\n")
        complete = 0
        for count in range(1, len(lines) + 1):
            try:
                document = tomllib.loads("\n".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue
            if _has(document, where):
                begin = complete
                while begin < count - 1 and (not lines[begin].strip() or lines[begin].lstrip().startswith("#")):
                    begin += 1
                return begin + 1
            complete = count
        return None

    def place(self, where: Where) -> str:
        """Return the name with the line of a value, or of the nearest value around it."""
        while where:
            line = self.line_of(where)
            if line is not None:
                return f"{self.name}:{line}"
            where = where[:-1]
        return self.name


def _has(document: Any, where: Where) -> bool:
    for part in where:
        match document, part:
            case Mapping(), str() if part in document:
                document = document[part]
            case list(), int() if part < len(document):
                document = document[part]
            case _:
                return False
    return True


def raise_for(source: Source, mistakes: Sequence[Mistake]) -> None:
    """Raise one error that lists every mistake with its line.

    Raises:
        ConfigError: There is at least one mistake.
    """
    if not mistakes:
        return
    if len(mistakes) == 1:
        (one,) = mistakes
        raise ConfigError(f"{source.place(one.where)}: {one.text}", hint=one.hint)
    texts = [f"{source.place(one.where)}: {one.text}{f' ({one.hint.strip()})' if one.hint else ''}" for one in mistakes]
    error = ConfigError("\n     ".join([f"{len(texts)} mistakes in {source.name}:", *texts]))
    error.lines = (f"{len(texts)} mistakes in {source.name}:", *(f"     {text}" for text in texts))
    raise error
