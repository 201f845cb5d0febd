"""Search a video site: pages until enough results pass the filters, the results end, or a bound is reached.

A search itself gives titles, lengths, channels and views. Upload date, licence and language need a look at each video
(`sca.data.acquire.video_metadata`), so that is done only when asked for, and only for what passed the other filters.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from sca.data.acquire.rate_limit import RateLimiter
from sca.data.acquire.video_metadata import MOST_LOOKED_UP, Details
from sca.data.acquire.youtube import Site, open_ydl, watch_url
from sca.data.acquire.youtube_errors import Failure, Kind, classify
from sca.errors import ScaError, UsageError
from sca.schemas import SearchResult, SearchResults

__all__ = ["MOST_LOOKED_AT", "Found", "Query", "search"]

MOST_LOOKED_AT = 1000
"""Most results of the site that one search goes through."""

Sort = Literal["relevance", "date", "views", "length"]
License = Literal["any", "creative-commons"]
_LIVE = ("is_live", "is_upcoming", "post_live")


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for. Lengths in seconds; `language` is a code such as en, which en-GB matches too."""

    words: str
    max_results: int = 50
    min_length_s: float | None = None
    max_length_s: float | None = None
    sort: Sort = "relevance"
    exclude_live: bool = False
    license: License = "any"
    channel: str | None = None
    language: str | None = None
    since: date | None = None
    until: date | None = None
    enrich: bool = False

    def __post_init__(self) -> None:
        if not self.words.strip():
            raise UsageError("there is nothing to search for", hint="such as: sca search StandUp Comedy English")
        for name, low, high in (
            ("length", self.min_length_s, self.max_length_s),
            ("date", self.since, self.until),
        ):
            if low is not None and high is not None and low > high:  # type: ignore[operator]
                raise UsageError(f"no {name} is from {low} to {high}: the first is more than the second")

    @property
    def needs_details(self) -> bool:
        """Whether each video must be looked at."""
        asked = (self.language, self.since, self.until)
        return self.enrich or self.license != "any" or self.sort == "date" or any(value is not None for value in asked)


@dataclass(slots=True)
class Found:
    """The outcome. looked_at: results of the site.   left_out: how many for which reason.   bound: what stopped it early."""

    results: list[SearchResult] = field(default_factory=list)
    looked_at: int = 0
    looked_up: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    bound: str | None = None

    def document(self, query: Query) -> SearchResults:
        """What is written and printed."""
        return SearchResults(query=query.words, count=len(self.results), results=tuple(self.results))


def search(
    query: Query, site: Site, *, cache: Path, pacer: RateLimiter, progress: Callable[[Found], None] = lambda _: None
) -> Found:
    """Run a search. Raises `UpstreamError` when the site cannot be reached or refuses.

    cache: folder for videos' details.   pacer: between two looks at a video.   progress: called after each result of the site.
    """
    found = Found()
    with open_ydl(site, extract_flat=True, skip_download=True) as ydl:
        details = Details(ydl, cache, pacer)
        with closing(_candidates(ydl, query.words, found)) as candidates:
            for candidate in candidates:
                reason = _refused(candidate, query)
                if reason is None and query.needs_details:
                    if not details.can_get(candidate.id):
                        found.bound = f"{MOST_LOOKED_UP} videos were looked up; the same command again goes further"
                        break
                    looked = details.add_to(candidate)
                    found.looked_up = details.fetched
                    reason = looked if isinstance(looked, str) else _refused_by_details(looked, query)
                    candidate = candidate if isinstance(looked, str) else looked
                if reason is None:
                    found.results.append(candidate)
                else:
                    found.left_out[reason] += 1
                progress(found)
                if len(found.results) == query.max_results:
                    break
    if found.looked_at == MOST_LOOKED_AT and len(found.results) < query.max_results:
        found.bound = f"{MOST_LOOKED_AT} results were looked at, no more are"
    _sort(found.results, query.sort)
    return found


def _candidates(ydl: Any, words: str, found: Found) -> Generator[SearchResult, None, None]:
    """What the site finds, each video once. Pages are asked for as they are needed."""
    seen: set[str] = set()
    try:
        listed = ydl.extract_info(f"ytsearch{MOST_LOOKED_AT}:{words}", download=False, process=False)
        for entry in listed["entries"]:
            found.looked_at += 1
            name = entry.get("id")
            if not name or entry.get("ie_key") != "Youtube":
                found.left_out["no video"] += 1
            elif name in seen:
                found.left_out["found before"] += 1
            else:
                seen.add(name)
                yield _result(entry)
    except (ScaError, GeneratorExit):
        raise
    except Exception as error:
        raise _ended(error) from error


def _ended(error: Exception) -> ScaError:
    """A search that fails is the site's failure whatever it says, except where yt-dlp itself stumbled."""
    failure = classify(error)
    if failure.kind is Kind.gone:
        failure = Failure(Kind.broken, failure.reason, failure.status)
    return failure.as_error("searching")


def _result(entry: dict[str, Any]) -> SearchResult:
    length = entry.get("duration")
    return SearchResult(
        id=entry["id"],
        url=watch_url(entry["id"]),
        title=entry.get("title") or "",
        length=None if length is None else round(length),
        channel=entry.get("channel") or entry.get("uploader"),
        channel_id=entry.get("channel_id"),
        channel_url=entry.get("uploader_url") or entry.get("channel_url"),
        views=entry.get("view_count"),
        live_status=entry.get("live_status"),
    )


def _refused(one: SearchResult, query: Query) -> str | None:
    """Why a result is left out by what the search itself says; None when it is not."""
    if query.exclude_live and one.live_status in _LIVE:
        return "live"
    bounded = query.min_length_s is not None or query.max_length_s is not None
    if bounded and one.length is None:
        return "length not known"
    if one.length is not None and query.min_length_s is not None and one.length < query.min_length_s:
        return "too short"
    if one.length is not None and query.max_length_s is not None and one.length > query.max_length_s:
        return "too long"
    if query.channel is not None:
        wanted = query.channel.casefold().removeprefix("@")
        handle = (one.channel_url or "").rpartition("/")[2].removeprefix("@")
        if wanted not in {(name or "").casefold() for name in (one.channel, one.channel_id, handle)}:
            return "another channel"
    return None


def _refused_by_details(one: SearchResult, query: Query) -> str | None:
    if query.exclude_live and one.live_status in _LIVE:
        return "live"
    if query.license == "creative-commons" and not (one.license or "").casefold().startswith("creative commons"):
        return "another licence"
    if query.since is not None or query.until is not None:
        if one.publish_date is None:
            return "date not known"
        day = date.fromisoformat(one.publish_date)
        if (query.since is not None and day < query.since) or (query.until is not None and day > query.until):
            return "outside the dates"
    if query.language is not None:
        if one.language is None:
            return "language not known"
        if query.language.casefold() not in (one.language.casefold(), one.language.casefold().split("-")[0]):
            return "another language"
    return None


def _sort(results: list[SearchResult], by: Sort) -> None:
    """Newest, most seen or longest first; what is not known comes last. The order of the site breaks ties."""
    match by:
        case "date":
            results.sort(key=lambda one: one.publish_date or "", reverse=True)
        case "views":
            results.sort(key=lambda one: -1 if one.views is None else one.views, reverse=True)
        case "length":
            results.sort(key=lambda one: -1 if one.length is None else one.length, reverse=True)
        case "relevance":
            pass
