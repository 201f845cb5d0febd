"""Files that ship inside the package. Knows where they are, not what is in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

__all__ = ["caption_marks", "demo_corpus", "reaction_table"]


@contextmanager
def demo_corpus() -> Iterator[Path]:
    """The demo conversation: a minute of two synthetic speakers in MagicHub layout, word times included.

    The folder is there while the context lasts: an installation inside a zip file unpacks it to a temporary place.
    """
    with as_file(files("sca.resources") / "demo") as folder:
        yield folder


def reaction_table() -> str:
    """The TOML text that maps classes of an AudioSet tagger to reactions."""
    return (files("sca.resources") / "reactions.toml").read_text(encoding="utf-8")


def caption_marks() -> str:
    """Return the table of how captions spell sounds, TOML."""
    return (files("sca.resources") / "caption_marks.toml").read_text(encoding="utf-8")
