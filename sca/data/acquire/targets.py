"""What to download: the results of a search from a file or a pipe, addresses, ids; each once, in order or shuffled."""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sca.data.acquire.youtube import watch_url
from sca.errors import InputError
from sca.schemas import read_results, video_id

__all__ = ["Wanted", "choose", "read_wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One video. item: its id, or its address on sites whose ids are not known before a look."""

    item: str
    url: str

    @property
    def key(self) -> str | None:
        """Its line in an archive; None when only a look will tell."""
        return None if self.item == self.url else f"youtube {self.item}"


def read_wanted(sources: Sequence[str]) -> list[Wanted]:
    """All that the sources name, each once. A source is a file of results, `-`, an address or an id."""
    found: dict[str, Wanted] = {}
    for source in sources:
        for one in _read(source):
            found.setdefault(one.item, one)
    return list(found.values())


def choose(wanted: Sequence[Wanted], *, shuffle: bool = False, seed: int = 0, count: int | None = None) -> list[Wanted]:
    """The first `count`, after shuffling if asked: the same for the same input and seed, so that a second run goes on."""
    chosen = list(wanted)
    if shuffle:
        random.Random(seed).shuffle(chosen)  # noqa: S311 - an order, no secret
    return chosen[:count]


def _read(source: str) -> Iterator[Wanted]:
    if source == "-":
        yield from _results(sys.stdin.buffer.read(), "standard input")
        return
    path = Path(source)
    try:
        # Not only regular files: <(…) is a pipe.
        is_file = path.exists()
        if path.is_dir():
            raise InputError(f"{source} is a folder, not the results of a search")
        if is_file:
            yield from _results(path.read_bytes(), source)
            return
    except (OSError, ValueError) as error:
        if path.suffix == ".json":
            raise InputError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    yield _named(source)


def _named(source: str) -> Wanted:
    name = video_id(source)
    if name is not None:
        return Wanted(name, watch_url(name))
    if source.startswith(("http://", "https://")):
        return Wanted(source, source)
    raise InputError(
        f"{source} is no file, no address and no video id", hint="sca search … --save-file videos.json makes a file"
    )


def _results(data: bytes, source: str) -> Iterator[Wanted]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not text ({error.reason} at byte {error.start})") from error
    for number, one in enumerate(read_results(text, source).results):
        try:
            yield _named(one.url)
        except InputError as error:
            raise InputError(f"{source}: results[{number}]: field `url` is no address, got {one.url[:80]!r}") from error
