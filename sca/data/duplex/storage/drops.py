"""The list of marked rows that `sca browse` writes, and of which `sca build-duplex --drops` leaves out the rows to drop.

One JSON line per row: `{"row_id": "…", "mark": "drop"}`. `look` marks a row to look at again, which a build ignores.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.data.runs.files import atomic_write
from sca.errors import InputError
from sca.textutil import first_line

__all__ = ["Mark", "drops_by_session", "read_drops", "read_marks", "write_marks"]

Mark = Literal["drop", "look"]
"""What is to be done with a row."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    row_id: str = Field(min_length=1)
    mark: Mark


def read_marks(path: Path) -> dict[str, Mark]:
    """Return the marks of a list by the id of their row.

    Args:
        path: The list. A file that does not exist is an empty list.

    Raises:
        InputError: The file cannot be read, or a line is not a mark.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    marks: dict[str, Mark] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found = _Line.model_validate_json(line)
            except ValidationError as error:
                kinds = " or ".join(get_args(Mark))
                raise InputError(
                    f"{path}:{number} is not a mark of a row",
                    hint=f'a line is {{"row_id": "…", "mark": "…"}} with the mark {kinds}',
                ) from error
            marks[found.row_id] = found.mark
    return marks


def read_drops(path: Path) -> frozenset[str]:
    """Return the ids of the rows to leave out.

    Raises:
        InputError: The file does not exist or cannot be read, or a line is not a mark.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="sca browse DATA writes the list when a row is marked")
    return frozenset(row_id for row_id, mark in read_marks(path).items() if mark == "drop")


def drops_by_session(path: Path | None) -> dict[str, tuple[str, ...]]:
    """Return the ids of the rows to leave out by the id of their session, sorted.

    Args:
        path: The list; None for no rows.

    Raises:
        InputError: As for `read_drops`.
    """
    found: dict[str, list[str]] = {}
    for row_id in sorted(read_drops(path)) if path is not None else ():
        found.setdefault(row_id.partition(":")[0], []).append(row_id)
    return {session: tuple(rows) for session, rows in found.items()}


def write_marks(path: Path, marks: Mapping[str, Mark]) -> None:
    """Write a list, sorted by row, complete or not at all.

    Args:
        path: The list.
        marks: The mark of each row by its id.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for row_id, mark in sorted(marks.items()):
            out.write(json.dumps({"row_id": row_id, "mark": mark}, ensure_ascii=False) + "\n")
