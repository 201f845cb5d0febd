"""What a look at a video tells beyond a search: upload date, licence, language. Slow, so paced, bounded and remembered on disk."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sca.data.acquire.rate_limit import RateLimiter
from sca.data.acquire.youtube_errors import Kind, classify
from sca.data.runs.files import write_json
from sca.errors import OutputError
from sca.schemas import SearchResult

__all__ = ["MOST_LOOKED_UP", "Details", "spoken_language"]

MOST_LOOKED_UP = 250
"""Most videos that one search asks for their details; what is remembered from earlier is not counted."""
_REMEMBER_S = 30 * 24 * 3600.0


class Details:
    """What a look at a video tells beyond a search. fetched: looks so far; the rest came from the cache."""

    def __init__(self, ydl: Any, cache: Path, pacer: RateLimiter) -> None:
        self._ydl, self._cache, self._pacer = ydl, cache, pacer
        self.fetched = 0

    def can_get(self, name: str) -> bool:
        """Whether the bound allows a look at this video, or it is remembered."""
        return self.fetched < MOST_LOOKED_UP or self._remembered(name) is not None

    def add_to(self, one: SearchResult) -> SearchResult | str:
        """The result with its details, or why it has none. Raises `UpstreamError` where looking at more is no use."""
        known = self._remembered(one.id)
        if known is None:
            known = self._fetch(one)
        if known.get("unavailable"):
            return "not available"
        fields = {name: known.get(name) for name in ("publish_date", "license", "language", "live_status")}
        return one.model_copy(update={name: value for name, value in fields.items() if value is not None})

    def _remembered(self, name: str) -> dict[str, Any] | None:
        try:
            known = json.loads((self._cache / f"{name}.json").read_text(encoding="utf-8"))
            fresh = isinstance(known, dict) and time.time() - known["fetched"] < _REMEMBER_S
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if fresh else None

    def _fetch(self, one: SearchResult) -> dict[str, Any]:
        self._pacer.wait()
        self.fetched += 1
        try:
            info = self._ydl.extract_info(one.url, download=False, process=False)
        except Exception as error:
            failure = classify(error, self._ydl)
            if failure.kind in (Kind.unreachable, Kind.refused):
                raise failure.as_error(f"looking at {one.id}") from error
            known: dict[str, Any] = {"unavailable": failure.reason, "fetched": time.time()}
            return self._remember(one.id, known) if failure.kind is Kind.gone else known
        day = info.get("upload_date")
        known = {
            "publish_date": f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else None,
            "license": info.get("license"),
            "language": spoken_language(info),
            "live_status": info.get("live_status"),
            "fetched": time.time(),
        }
        return self._remember(one.id, known)

    def _remember(self, name: str, known: dict[str, Any]) -> dict[str, Any]:
        with suppress(OutputError):  # a cache that cannot be written costs time only
            write_json(self._cache / f"{name}.json", known)
        return known


def spoken_language(info: dict[str, Any]) -> str | None:
    """The language of a video's own sound track, where the site says."""
    if info.get("language"):
        return str(info["language"])
    tracks = [one for one in info.get("formats") or () if one.get("language")]
    tracks.sort(key=lambda one: one.get("language_preference") or -1)
    return str(tracks[-1]["language"]) if tracks else None
