"""Files that ship inside the package. Knows where they are, not what is in them."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

__all__ = ["caption_marks", "demo_corpus", "hub_commits", "reaction_table"]


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


@cache
def hub_commits() -> Mapping[str, str]:
    """Return the commits of repositories on the hub that are used if no revision is given, by repository."""
    commits: dict[str, str] = tomllib.loads((files("sca.resources") / "hub_commits.toml").read_text("utf-8"))["commits"]
    return commits
