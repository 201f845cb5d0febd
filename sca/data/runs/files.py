"""Files that appear whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sca.errors import writing

__all__ = ["published", "write_json"]


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; it takes the name `path`, whole and synced, when the block ends without an error."""
    # Cut to what a file name may hold; the same in every run, so that what a killed run leaves is written over by the next.
    stem = path.name.encode()[:240].decode(errors="ignore")
    temporary = path.with_name(f".{stem}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document, whole or not at all."""
    with published(path) as temporary:
        temporary.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
