"""The JSON document of search results, which `sca search` writes and `sca download` reads.

Writing is strict. Reading accepts documents of other versions: unknown fields are ignored. Other tools read the fields
`count`, `results`, `url`, `title`, `length` and `publish_date`, so these names must not change.
"""

import json
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import InputError

__all__ = ["SearchResult", "SearchResults", "read_results", "video_id"]

_HOSTS = ("youtube.com", "youtube-nocookie.com", "youtu.be")
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_ID_LENGTH = 11


class SearchResult(BaseModel):
    """One video. Dates are YYYY-MM-DD, `length` is in seconds; None means unknown."""

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
    """The results of one search."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str | None = None
    count: int
    results: tuple[SearchResult, ...]


def video_id(text: str) -> str | None:
    """Return the YouTube video id in a URL, or the text itself if it is an id; None for anything else."""
    if _is_video_id(text):
        return text
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not any(host == h or host.endswith(f".{h}") for h in _HOSTS):
        return None
    segments = [segment for segment in parts.path.split("/") if segment]
    if host.endswith("youtu.be"):
        candidate = segments[0] if segments else ""
    elif len(segments) > 1 and segments[0] in ("shorts", "live", "embed", "v"):
        candidate = segments[1]
    else:
        candidate = parse_qs(parts.query).get("v", [""])[0]
    return candidate if _is_video_id(candidate) else None


def _is_video_id(text: str) -> bool:
    return len(text) == _ID_LENGTH and set(text) <= _ID_LETTERS


def read_results(text: str, source: str) -> SearchResults:
    """Parse search results that this or another version of sca wrote.

    A result needs its `url` or its `id`; unknown fields are ignored.

    Args:
        text: The JSON document.
        source: The name of the file, for error messages.

    Raises:
        InputError: The document is not a list of search results; the message names the result and the field.
    """
    hint = 'expected the output of sca search --output-format json: {"count": 1, "results": [{"url": …}]}'
    if not text.strip():
        raise InputError(f"{source} is empty", hint=hint)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{source} is not JSON ({error})", hint=hint) from error
    if not isinstance(document, dict):
        raise InputError(f"{source} contains a {type(document).__name__}, not an object with `results`", hint=hint)
    if not isinstance(document.get("results"), list):
        problem = "has no field `results`" if "results" not in document else "has a field `results` that is not a list"
        raise InputError(f"{source} {problem}", hint=hint)
    results = tuple(_parse_result(result, f"{source}: results[{n}]") for n, result in enumerate(document["results"]))
    query = document.get("query")
    return SearchResults(query=query if isinstance(query, str) else None, count=len(results), results=results)


def _parse_result(document: object, location: str) -> SearchResult:
    if not isinstance(document, dict):
        raise InputError(f"{location} is a {type(document).__name__}, not an object with `url`")
    fields = {name: value for name, value in document.items() if name in SearchResult.model_fields}
    if fields.get("title", "") is None:
        del fields["title"]
    if "url" not in fields and isinstance(fields.get("id"), str) and video_id(fields["id"]):
        fields["url"] = f"https://www.youtube.com/watch?v={fields['id']}"
    if "id" not in fields and isinstance(fields.get("url"), str):
        fields["id"] = video_id(fields["url"]) or fields["url"]
    try:
        return SearchResult.model_validate(fields)
    except ValidationError as error:
        # If `url` and `id` are both missing, report `url`, the one that a user should add.
        field, problem = min(_problems(error), key=lambda pair: pair[0] != "url")
        raise InputError(f"{location}: field `{field}`: {problem}") from error


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    """Return the field and the problem of each error, worded for a message."""
    problems = []
    for detail in error.errors(include_url=False):
        value = "" if detail["type"] == "missing" else f", got {str(detail['input'])[:60]!r}"
        problems.append((str(detail["loc"][0]), f"{detail['msg'][:1].lower()}{detail['msg'][1:]}{value}"))
    return problems
