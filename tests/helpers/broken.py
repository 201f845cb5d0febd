"""A function of the package that raises an unexpected exception for one item."""

from types import ModuleType

import pytest

REASON = "unexpected ZeroDivisionError: injected (a bug of sca; please report it with the traceback)"
"""The reason of the failure of the item."""


def break_for(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, item: str) -> None:
    """Replace `module.name` by a function that raises ZeroDivisionError if an argument's repr contains `item`."""
    real = getattr(module, name)

    def broken(*args: object, **options: object) -> object:
        if any(item in repr(arg) for arg in args):
            raise ZeroDivisionError("injected")
        return real(*args, **options)

    monkeypatch.setattr(module, name, broken)
