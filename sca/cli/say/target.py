"""Where the speech of `sca say` goes."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """Where the speech goes."""

    file: Path | None
    play: bool
    stream: bool
    words: Path | None
