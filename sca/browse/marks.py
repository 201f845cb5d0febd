"""The marks of rows: changed in the file of the user at once, and undone in reverse order."""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from sca.data.duplex.storage.drops import Mark, read_marks, write_marks

__all__ = ["Marks"]

_MAX_UNDO = 1000


class Marks:
    """The marks in a file. It is read again before every change, so that two servers can share it.

    Attributes:
        path: The file. It appears with the first mark.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            InputError: It is not a list of marks.
        """
        self.path = path
        self._lock = Lock()
        self._marks = read_marks(path)
        self._changes: list[dict[str, Mark | None]] = []

    @property
    def of(self) -> dict[str, Mark]:
        """The mark of each marked row by its id."""
        return dict(self._marks)

    @property
    def can_undo(self) -> int:
        """The number of changes that can be undone."""
        return len(self._changes)

    def set(self, rows: Iterable[str], mark: Mark | None) -> int:
        """Mark rows, or remove their marks, and return how many changed.

        Raises:
            InputError: The file is not a list of marks any more.
            OutputError: The file cannot be written. Nothing is changed then.
        """
        with self._lock:
            before = self._apply(dict.fromkeys(rows, mark))
            if before:
                self._changes = [*self._changes, before][-_MAX_UNDO:]
            return len(before)

    def undo(self) -> list[str]:
        """Undo the last change and return the ids of the rows that changed.

        Raises:
            InputError, OutputError: As for `set`.
        """
        with self._lock:
            if not self._changes:
                return []
            changed = self._apply(self._changes[-1])
            self._changes.pop()
            return list(changed)

    def _apply(self, wanted: dict[str, Mark | None]) -> dict[str, Mark | None]:
        """Change the file, and return the marks before of the rows that changed."""
        marks = read_marks(self.path)
        before = {row_id: marks.get(row_id) for row_id, mark in wanted.items() if marks.get(row_id) != mark}
        for row_id in before:
            mark = wanted[row_id]
            if mark is None:
                del marks[row_id]
            else:
                marks[row_id] = mark
        if before:
            write_marks(self.path, marks)
        self._marks = marks
        return before
