"""What crosses a file between commands: the results of a search. Written strictly, read generously.

Other tools read `count`, `results`, `url`, `title`, `length` and `publish_date`: those names stay.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import InputError

__all__ = ["SearchResult", "SearchResults", "read_results", "video_id"]

_HOSTS = ("youtube.com", "youtube-nocookie.com", "youtu.be")
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_ID_LENGTH = 11


class SearchResult(BaseModel):
    """One video. Dates are YYYY-MM-DD, `length` is in seconds; None is "the site did not say, or was not asked"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    url: str = Field(min_length=1)
    title: str = ""
    length: int | float | None = Field(None, ge=0, allow_inf_nan=False)
    publish_date: str | None = None
    channel: str | None = None
    channel_id: str | None = None
    channel_url: str | None = None
    views: int | None = None
    live_status: str | None = None
    license: str | None = None
    language: str | None = None


class SearchResults(BaseModel):
    """What `sca search` writes and `sca download` reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str | None = None
    count: int
    results: tuple[SearchResult, ...]


def video_id(text: str) -> str | None:
    """The YouTube id that a URL names, or that `text` is; None for anything else."""
    if len(text) == _ID_LENGTH and set(text) <= _ID_LETTERS:
        return text
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not any(host == h or host.endswith(f".{h}") for h in _HOSTS):
        return None
    pieces = [piece for piece in parts.path.split("/") if piece]
    if host.endswith("youtu.be"):
        found = pieces[0] if pieces else ""
    elif len(pieces) > 1 and pieces[0] in ("shorts", "live", "embed", "v"):
        found = pieces[1]
    else:
        found = parse_qs(parts.query).get("v", [""])[0]
    return found if len(found) == _ID_LENGTH and set(found) <= _ID_LETTERS else None


def read_results(text: str, source: str) -> SearchResults:
    """Read what a search wrote, by this version or another. `source` is named in complaints.

    A result needs its `url` (or its `id`); fields of other versions are passed over. Raises `InputError` that names the field,
    and which result it is in.
    """
    hint = 'it should look like what sca search --output-format json prints: {"count": 1, "results": [{"url": …}]}'
    if not text.strip():
        raise InputError(f"{source} is empty", hint=hint)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{source} is not JSON ({error})", hint=hint) from error
    if not isinstance(document, dict):
        raise InputError(f"{source} holds a {type(document).__name__}, not an object with `results`", hint=hint)
    if not isinstance(document.get("results"), list):
        wrong = "has no field `results`" if "results" not in document else "has a field `results` that is no list"
        raise InputError(f"{source} {wrong}", hint=hint)
    results = tuple(_one(plain, f"{source}: results[{n}]") for n, plain in enumerate(document["results"]))
    query = document.get("query")
    return SearchResults(query=query if isinstance(query, str) else None, count=len(results), results=results)


def _one(plain: Any, where: str) -> SearchResult:
    if not isinstance(plain, dict):
        raise InputError(f"{where} is a {type(plain).__name__}, not an object with `url`")
    known = {name: value for name, value in plain.items() if name in SearchResult.model_fields}
    if known.get("title", "") is None:
        del known["title"]
    if "url" not in known and isinstance(known.get("id"), str) and video_id(known["id"]):
        known["url"] = f"https://www.youtube.com/watch?v={known['id']}"
    if "id" not in known and isinstance(known.get("url"), str):
        known["id"] = video_id(known["url"]) or known["url"]
    try:
        return SearchResult.model_validate(known)
    except ValidationError as error:
        # Without `url` both are missing, and `url` is the one to give.
        first = next(iter(sorted(_complaints(error), key=lambda pair: pair[0] != "url")))
        raise InputError(f"{where}: field `{first[0]}`: {first[1]}") from error


def _complaints(error: ValidationError) -> Iterator[tuple[str, str]]:
    for one in error.errors(include_url=False):
        got = "" if one["type"] == "missing" else f", got {str(one['input'])[:60]!r}"
        yield str(one["loc"][0]), f"{one['msg'][:1].lower()}{one['msg'][1:]}{got}"
