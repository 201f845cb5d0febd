"""Search a video site: read pages until enough results pass the filters, the results end, or a bound is reached.

A search returns titles, lengths, channels and views. Upload date, licence and language need a request per video
(`sca.data.acquire.video_metadata`), so they are fetched only when needed, and only for results that pass the other
filters.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sca.data.acquire.rate_limit import RateLimiter
from sca.data.acquire.video_metadata import MAX_FETCHED, MetadataSource
from sca.data.acquire.youtube import Site, VideoInfo, open_ydl, watch_url
from sca.data.acquire.youtube_errors import Failure, FailureKind, classify
from sca.errors import ScaError, UsageError
from sca.schemas import SearchResult, SearchResults

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL

__all__ = ["MAX_CANDIDATES", "Query", "SearchOutcome", "search"]

MAX_CANDIDATES = 1000
"""The maximum number of results of the site that one search reads."""

Sort = Literal["relevance", "date", "views", "length"]
License = Literal["any", "creative-commons"]
_LIVE = ("is_live", "is_upcoming", "post_live")


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for.

    Attributes:
        words: The search words.
        max_results: The search ends after this many results.
        min_length_s: The minimum length.
        max_length_s: The maximum length.
        sort: The order of the results.
        exclude_live: Whether to leave out live and upcoming streams.
        license: Which licences to accept.
        channel: A channel's name, handle or id.
        language: A code such as "en", which also matches "en-GB".
        since: The first upload date.
        until: The last upload date.
        enrich: Whether to fetch the metadata of each video.
    """

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
            raise UsageError("no words to search for", hint="such as: sca search StandUp Comedy English")
        low, high = self.min_length_s, self.max_length_s
        if low is not None and high is not None and low > high:
            raise UsageError(f"no length is from {low} to {high}: the first is more than the second")
        if self.since is not None and self.until is not None and self.since > self.until:
            raise UsageError(f"no date is from {self.since} to {self.until}: the first is more than the second")

    @property
    def needs_metadata(self) -> bool:
        """Whether the metadata of each video must be fetched."""
        filters = (self.language, self.since, self.until)
        return self.enrich or self.license != "any" or self.sort == "date" or any(f is not None for f in filters)


@dataclass(slots=True)
class SearchOutcome:
    """What a search found.

    Attributes:
        results: The results that passed the filters.
        candidates: Results of the site that were read.
        fetched: The number of metadata requests.
        left_out: The number of results that were left out, by reason.
        bound: The bound that ended the search early.
    """

    results: list[SearchResult] = field(default_factory=list)
    candidates: int = 0
    fetched: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    bound: str | None = None

    def add(self, result: SearchResult, rejection: str | None) -> None:
        """Add a result, or count why it is left out."""
        if rejection is None:
            self.results.append(result)
        else:
            self.left_out[rejection] += 1

    def document(self, query: Query) -> SearchResults:
        """Return the document to write."""
        return SearchResults(query=query.words, count=len(self.results), results=tuple(self.results))


def search(
    query: Query,
    site: Site,
    *,
    cache: Path,
    rate_limiter: RateLimiter,
    on_progress: Callable[[SearchOutcome], None] = lambda _: None,
) -> SearchOutcome:
    """Run a search.

    Args:
        query: What to search for.
        site: How to reach the site.
        cache: The folder of cached metadata.
        rate_limiter: Limits the rate of requests for metadata.
        on_progress: Called after each result of the site.

    Raises:
        UpstreamError: The site cannot be reached, or refuses.
    """
    outcome = SearchOutcome()
    with open_ydl(site, extract_flat=True, skip_download=True) as ydl:
        metadata = MetadataSource(ydl, cache, rate_limiter)
        with closing(_candidates(ydl, query.words, outcome)) as candidates:
            for candidate in candidates:
                reason = _rejection(candidate, query)
                if reason is None and query.needs_metadata:
                    if not metadata.is_available(candidate.id):
                        outcome.bound = f"metadata of {MAX_FETCHED} videos fetched; the same command again continues"
                        break
                    candidate, reason = _with_metadata(candidate, query, metadata)
                    outcome.fetched = metadata.fetched
                outcome.add(candidate, reason)
                on_progress(outcome)
                if len(outcome.results) == query.max_results:
                    break
    if outcome.candidates == MAX_CANDIDATES and len(outcome.results) < query.max_results:
        outcome.bound = f"{MAX_CANDIDATES} results read, which is the maximum"
    _sort(outcome.results, query.sort)
    return outcome


def _with_metadata(result: SearchResult, query: Query, metadata: MetadataSource) -> tuple[SearchResult, str | None]:
    """Return a result with its metadata, and why it is left out by them."""
    completed = metadata.complete(result)
    if completed is None:
        return result, "not available"
    return completed, _rejection_by_metadata(completed, query)


def _candidates(ydl: "YoutubeDL", words: str, outcome: SearchOutcome) -> Generator[SearchResult, None, None]:
    """Yield the results of the site, each video once. Pages are requested when they are needed."""
    seen: set[str] = set()
    try:
        listing = ydl.extract_info(f"ytsearch{MAX_CANDIDATES}:{words}", download=False, process=False)
        for entry in listing["entries"]:
            outcome.candidates += 1
            name = entry.get("id")
            if not name or entry.get("ie_key") != "Youtube":
                outcome.left_out["no video"] += 1
            elif name in seen:
                outcome.left_out["found before"] += 1
            else:
                seen.add(name)
                yield _result(entry)
    except (ScaError, GeneratorExit):
        raise
    except Exception as error:
        raise _search_error(error) from error


def _search_error(error: Exception) -> ScaError:
    """Return the error of a failed search. "Gone" makes no sense for a search: yt-dlp could not parse the answer."""
    failure = classify(error)
    if failure.kind is FailureKind.gone:
        failure = Failure(FailureKind.broken, failure.reason, failure.status)
    return failure.as_error("searching")


def _result(entry: VideoInfo) -> SearchResult:
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


def _rejection(result: SearchResult, query: Query) -> str | None:
    """Return why a result is left out, by the fields that a search returns; None if it is not."""
    if query.exclude_live and result.live_status in _LIVE:
        return "live"
    has_bounds = query.min_length_s is not None or query.max_length_s is not None
    if has_bounds and result.length is None:
        return "length not known"
    if result.length is not None and query.min_length_s is not None and result.length < query.min_length_s:
        return "too short"
    if result.length is not None and query.max_length_s is not None and result.length > query.max_length_s:
        return "too long"
    if query.channel is not None:
        wanted = query.channel.casefold().removeprefix("@")
        handle = (result.channel_url or "").rpartition("/")[2].removeprefix("@")
        if wanted not in {(name or "").casefold() for name in (result.channel, result.channel_id, handle)}:
            return "another channel"
    return None


def _rejection_by_metadata(result: SearchResult, query: Query) -> str | None:
    """Return why a result is left out, by its metadata; None if it is not."""
    if query.exclude_live and result.live_status in _LIVE:
        return "live"
    if query.license == "creative-commons" and not (result.license or "").casefold().startswith("creative commons"):
        return "another licence"
    if query.since is not None or query.until is not None:
        if result.publish_date is None:
            return "date not known"
        day = date.fromisoformat(result.publish_date)
        if (query.since is not None and day < query.since) or (query.until is not None and day > query.until):
            return "outside the dates"
    if query.language is not None:
        if result.language is None:
            return "language not known"
        if query.language.casefold() not in (result.language.casefold(), result.language.casefold().split("-")[0]):
            return "another language"
    return None


def _sort(results: list[SearchResult], order: Sort) -> None:
    """Sort by newest, most viewed or longest; unknown values come last. The order of the site breaks ties."""
    match order:
        case "date":
            results.sort(key=lambda result: result.publish_date or "", reverse=True)
        case "views":
            results.sort(key=lambda result: -1 if result.views is None else result.views, reverse=True)
        case "length":
            results.sort(key=lambda result: -1 if result.length is None else result.length, reverse=True)
        case "relevance":
            pass
