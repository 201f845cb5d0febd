"""A source that another program replaces while a command reads it."""

from pathlib import Path
from types import ModuleType

import pytest


def replace_after(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, source: Path, by: Path) -> None:
    """Let the first call of `module.name` end with the replacement of `source` by the file `by`."""
    real = getattr(module, name)

    def replacing(*args: object, **options: object) -> object:
        result = real(*args, **options)
        if by.exists():
            by.replace(source)
        return result

    monkeypatch.setattr(module, name, replacing)
