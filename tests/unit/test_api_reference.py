"""The Python API reference: docs/api.md is up to date, and the generator renders what docstrings hold."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sca
from scripts import make_api_reference as reference

SAMPLE = '''
"""A package to document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sca.units import Grid

__all__ = ["Clock", "VERSION", "read"]
VERSION = "1"


@dataclass(frozen=True)
class Reading:
    """One reading of a clock."""

    seconds: float


class Clock:
    """A clock.

    Attributes:
        rate_hz: ticks per second.
    """

    def __init__(self, rate_hz: int = 10, *, start: object = object()) -> None:
        """Start the clock."""

    @property
    def grid(self) -> Grid:
        """The grid of the clock."""

    @staticmethod
    def parse(text: str) -> list[Reading]:
        """Parse readings."""

    def _private(self) -> None:
        """Hidden."""


async def read(path: str, /, *more: int, **options: bool) -> None:
    """Read a clock.

    Args:
        path: where the clock is,
            on disk.
        *more: further clocks.
        **options: switches.

    Returns:
        Nothing.

    Raises:
        ValueError: the clock stopped.

    Example:
        >>> read("clock")
    """
'''


@pytest.fixture
def sample(tmp_path, monkeypatch):
    path = tmp_path / "sca_sample.py"
    path.write_text(SAMPLE)
    # Named like a module of sca, since only those are documented.
    spec = importlib.util.spec_from_file_location("sca._sample", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sca._sample", module)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(sca), "run python scripts/make_api_reference.py"


def test_page_has_every_public_name():
    text = reference.page(sca)
    for name in sca.__all__:
        assert name.startswith("__") or f"\n### {name}\n" in text, name


def test_page_does_not_depend_on_the_process():
    command = [sys.executable, str(reference.ROOT / "scripts" / "make_api_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=reference.ROOT.parent)
    assert done.returncode == 0, done.stderr


def test_renders_signatures_and_sections(sample):
    text = reference.page(sample)
    assert "async read(path: str, /, *more: int, **options: bool) -> None" in text
    assert "class Clock(rate_hz: int = 10, *, start: object = …)" in text
    assert "**Args**\n\n- `path`: where the clock is, on disk.\n- `*more`: further clocks.\n" in text
    assert "- `ValueError`: the clock stopped." in text
    assert '```pycon\n>>> read("clock")\n```' in text
    assert "- `rate_hz`: ticks per second." in text
    assert "### VERSION\n\n`'1'`" in text


def test_renders_members_and_returned_classes(sample):
    text = reference.page(sample)
    assert "#### Clock.grid\n\n```python\ngrid: Grid\n```\n\nThe grid of the clock." in text
    assert "parse(text: str) -> list[Reading]" in text
    assert "## Returned by the above\n\n### Grid" in text, "the type that is imported for type checkers is resolved"
    assert "### Reading\n\n```python\nclass Reading(seconds: float)\n```\n\nOne reading of a clock." in text
    assert "_private" not in text


@dataclass
class Plain:
    number: int


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        ("sca.units.Grid | None", "Grid | None"),
        (Path | None, "Path | None"),
        (Iterator[Path], "Iterator[Path]"),
        (list[str], "list[str]"),
    ],
)
def test_writes_annotations_without_modules(annotation, text):
    assert reference.annotation_text(annotation) == text


def test_leaves_generated_docstrings_out():
    assert reference.own_docstring(Plain) is None
