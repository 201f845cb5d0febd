"""Whether what a run derives from its items was written by an earlier run from the same items, and is as it was written.

The identities of these files are a fact about one of them (`sca.data.digests.file_facts`), noted after all were written. So a
run that was interrupted before has none, and a file that was changed, replaced or deleted since has another one.
"""

import json
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from sca.data.digests.file_facts import FileFacts
from sca.data.runs.files import Unchanged
from sca.errors import InputError

__all__ = ["Finished", "identity_of"]

_FACT = "finished"


def identity_of(path: Path) -> list[int] | None:
    """Return inode, size and time of change of a file; None if it cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


class Finished:
    """The files that a run writes at its end."""

    def __init__(self, facts: FileFacts, mark: Path, made_from: object) -> None:
        """Compare with the last run.

        Args:
            facts: The facts of the output folder.
            mark: The file with the fact: one that every run writes at its end.
            made_from: All that decides the files, as a JSON value.
        """
        self._facts, self._mark = facts, mark
        self._made_from = blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=16).hexdigest()

    def holds(self) -> bool:
        """Return whether the files were made from the same, and are as they were then."""
        try:
            found = self._facts.get(Unchanged(self._mark), _FACT)
        except InputError:
            return False
        if not isinstance(found, dict) or found.get("made_from") != self._made_from:
            return False
        files = found.get("files")
        return isinstance(files, dict) and all(
            identity_of(self._mark.parent / name) == was for name, was in files.items()
        )

    def note(self, files: Iterable[Path]) -> None:
        """Note that the run has written these files, which are in the folder of the mark or below it."""
        known = {str(path.relative_to(self._mark.parent)): identity_of(path) for path in files}
        self._facts.note(Unchanged(self._mark), _FACT, {"made_from": self._made_from, "files": known})
