"""Video metadata that search results lack: upload date, licence, language.

Fetching them takes one request per video, so requests are rate limited and bounded, and the metadata are cached on
disk.
"""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.acquire.rate_limit import RateLimiter
from sca.data.acquire.youtube import VideoInfo
from sca.data.acquire.youtube_errors import FailureKind, classify
from sca.data.runs.files import write_json
from sca.errors import OutputError
from sca.schemas import SearchResult

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL

__all__ = ["MAX_FETCHED", "MetadataSource", "spoken_language"]

MAX_FETCHED = 250
"""The maximum number of metadata requests of one search; cached metadata are not counted."""
_CACHE_S = 30 * 24 * 3600.0
_FIELDS = ("publish_date", "license", "language", "live_status")


class MetadataSource:
    """Fetches video metadata, or reads them from the cache.

    Attributes:
        fetched: Videos fetched so far, without cached ones.
    """

    def __init__(self, ydl: "YoutubeDL", cache: Path, rate_limiter: RateLimiter) -> None:
        """Create a source.

        Args:
            ydl: The yt-dlp object to use.
            cache: The folder of cached metadata.
            rate_limiter: Limits the rate of requests.
        """
        self._ydl, self._cache, self._rate_limiter = ydl, cache, rate_limiter
        self.fetched = 0

    def is_available(self, name: str) -> bool:
        """Return whether the bound allows to fetch a video, or it is cached."""
        return self.fetched < MAX_FETCHED or self._cached(name) is not None

    def complete(self, result: SearchResult) -> SearchResult | None:
        """Return a search result with its metadata, or None if the video is not available.

        Raises:
            UpstreamError: The site cannot be reached, or refuses.
        """
        metadata = self._cached(result.id)
        if metadata is None:
            metadata = self._fetch(result)
        if metadata.get("unavailable"):
            return None
        fields = {name: metadata.get(name) for name in _FIELDS}
        return result.model_copy(update={name: value for name, value in fields.items() if value is not None})

    def _cached(self, name: str) -> VideoInfo | None:
        try:
            metadata = json.loads((self._cache / f"{name}.json").read_text(encoding="utf-8"))
            is_fresh = isinstance(metadata, dict) and time.time() - metadata["fetched"] < _CACHE_S
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return metadata if is_fresh else None

    def _fetch(self, result: SearchResult) -> VideoInfo:
        self._rate_limiter.wait()
        self.fetched += 1
        try:
            info = self._ydl.extract_info(result.url, download=False, process=False)
        except Exception as error:
            failure = classify(error, self._ydl)
            if failure.kind in (FailureKind.unreachable, FailureKind.refused):
                raise failure.as_error(f"looking at {result.id}") from error
            metadata: VideoInfo = {"unavailable": failure.reason, "fetched": time.time()}
            if failure.kind is FailureKind.gone:
                self._save(result.id, metadata)
            return metadata
        day = info.get("upload_date")
        metadata = {
            "publish_date": f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else None,
            "license": info.get("license"),
            "language": spoken_language(info),
            "live_status": info.get("live_status"),
            "fetched": time.time(),
        }
        self._save(result.id, metadata)
        return metadata

    def _save(self, name: str, metadata: VideoInfo) -> None:
        with suppress(OutputError):  # without a cache, metadata are fetched again
            write_json(self._cache / f"{name}.json", metadata)


def spoken_language(info: VideoInfo) -> str | None:
    """Return the language of a video's original sound track, if the site provides it."""
    if info.get("language"):
        return str(info["language"])
    tracks = [track for track in info.get("formats") or () if track.get("language")]
    tracks.sort(key=lambda track: track.get("language_preference") or -1)
    return str(tracks[-1]["language"]) if tracks else None
