"""The videos to download: search results or lists from a file or a pipe, URLs and ids; each once, in order or shuffled."""

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sca.data.acquire.youtube import watch_url
from sca.errors import InputError, TooLargeError
from sca.files.bounded import read_stream, read_whole
from sca.schemas import read_results, video_id

__all__ = ["DownloadTarget", "choose", "parse_target", "read_targets"]


@dataclass(frozen=True, slots=True)
class DownloadTarget:
    """A video to download.

    Attributes:
        item: Its id, or its URL on sites other than YouTube.
        url: Its URL.
    """

    item: str
    url: str

    @property
    def key(self) -> str | None:
        """Its line in an archive; None if only its metadata contain it."""
        return None if self.item == self.url else f"youtube {self.item}"


def read_targets(sources: Sequence[str]) -> list[DownloadTarget]:
    """Read all videos that the sources name, each once.

    Args:
        sources: Files of search results or with a URL or an id per line, `-` for standard input, URLs and ids.

    Raises:
        InputError: A source is something else, or cannot be read.
    """
    targets: dict[str, DownloadTarget] = {}
    for source in sources:
        for target in _read(source):
            targets.setdefault(target.item, target)
    return list(targets.values())


def choose(
    targets: Sequence[DownloadTarget], *, shuffle: bool = False, seed: int = 0, count: int | None = None
) -> list[DownloadTarget]:
    """Return the first `count` targets, after shuffling if requested. The same input and seed give the same result."""
    chosen = list(targets)
    if shuffle:
        random.Random(seed).shuffle(chosen)  # noqa: S311 - an order, not a secret
    return chosen[:count]


def _read(source: str) -> Iterator[DownloadTarget]:
    if source == "-":
        yield from _read_results(read_stream(sys.stdin.buffer, "standard input"), "standard input")
        return
    path = Path(source)
    try:
        # Not only regular files: <(…) is a pipe.
        is_file = path.exists()
        if path.is_dir():
            raise InputError(f"{source} is a folder, not the results of a search")
        if is_file:
            yield from _read_results(read_whole(path), source)
            return
    except TooLargeError:
        raise
    except (OSError, ValueError) as error:
        if path.suffix == ".json":
            raise InputError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    yield parse_target(source)


def parse_target(source: str) -> DownloadTarget:
    """Return the video or the list that a URL or an id names.

    Raises:
        InputError: It is neither.
    """
    name = video_id(source)
    if name is not None:
        return DownloadTarget(name, watch_url(name))
    if source.startswith(("http://", "https://")):
        return DownloadTarget(source, source)
    raise InputError(
        f"{source} is not a file, a URL or a video id",
        hint="sca search … -o videos.json makes a file; a list has a URL per line",
    )


def _read_results(data: bytes, source: str) -> Iterator[DownloadTarget]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not text ({error.reason} at byte {error.start})") from error
    if text.strip() and not text.lstrip().startswith(("{", "[")):
        yield from _read_lines(text, source)
        return
    for number, result in enumerate(read_results(text, source).results):
        try:
            yield parse_target(result.url)
        except InputError as error:
            raise InputError(
                f"{source}: results[{number}]: field `url` is not a URL, got {result.url[:80]!r}"
            ) from error


def _read_lines(text: str, source: str) -> Iterator[DownloadTarget]:
    """Yield the target of each line: its first field, as the text output of a search has tabs; # begins a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        field = line.strip().split("\t", 1)[0].strip()
        if not field or field.startswith("#"):
            continue
        # A fragment (#t=30) belongs to its URL, a comment follows a space.
        field = field.split(" #", 1)[0].strip()
        try:
            yield parse_target(field)
        except InputError as error:
            raise InputError(
                f"{source}: line {number}: {field[:80]!r} is not a URL or a video id",
                hint="a list has one URL or id per line; # begins a comment",
            ) from error
