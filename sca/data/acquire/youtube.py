"""The seam to yt-dlp: how it is set up. What its errors mean is in `sca.data.acquire.youtube_errors`; nothing else knows either.

It speaks of one site only in its name: whatever yt-dlp reads goes through here.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sca.data.acquire.youtube_errors import tidy
from sca.errors import InputError, UsageError

__all__ = ["Site", "ffmpeg_program", "open_ydl", "parse_options", "watch_url"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """How to reach the site. extra: yt-dlp's own options, which win over ours.

    retry_sleep_s: the first wait before a retry; it doubles up to half a minute. timeout_s: silence on a connection that ends it.
    """

    proxy: str | None = None
    cookies: Path | None = None
    cookies_from_browser: str | None = None
    retries: int = 5
    retry_sleep_s: float = 1.0
    timeout_s: float = 20.0
    cache_dir: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """As `yt_dlp.YoutubeDL` takes them."""

        def pause(n: int) -> float:
            return min(self.retry_sleep_s * 2.0 ** (n - 1), 30.0)

        if self.cookies is not None and not self.cookies.is_file():
            raise InputError(f"--cookies: {self.cookies} does not exist")
        found = {
            "quiet": True,
            "no_warnings": False,
            "noprogress": True,
            "color": "never",
            "logger": _Quiet(),
            "noplaylist": True,
            "cachedir": str(self.cache_dir / "yt-dlp") if self.cache_dir else False,
            "proxy": self.proxy,
            "cookiefile": str(self.cookies) if self.cookies else None,
            "cookiesfrombrowser": _browser(self.cookies_from_browser),
            "socket_timeout": self.timeout_s,
            "retries": self.retries,
            "fragment_retries": self.retries,
            "extractor_retries": min(self.retries, 3),
            "retry_sleep_functions": {"http": pause, "fragment": pause, "extractor": pause, "file_access": pause},
            # deno comes with sca; a node that is there already does as well.
            "js_runtimes": {"deno": {}, "node": {}},
        }
        return found | dict(self.extra)


class _Quiet:
    """yt-dlp's log: nothing goes to the screen, everything to `logging` at debug level. Errors come as exceptions.

    no_answer: the last request that failed; some errors of yt-dlp only say that there was one.
    """

    def __init__(self) -> None:
        self.no_answer: str | None = None

    def debug(self, text: str) -> None:
        _log.debug("%s", text)

    def warning(self, text: str) -> None:
        _log.debug("%s", text)
        if "Unable to download" in text:
            self.no_answer = tidy(text)

    info = error = debug


def _browser(text: str | None) -> tuple[str, str | None, str | None, str | None] | None:
    """`BROWSER[:PROFILE]` as yt-dlp takes it."""
    if text is None:
        return None
    from yt_dlp.cookies import SUPPORTED_BROWSERS

    name, _, profile = text.partition(":")
    if name.lower() not in SUPPORTED_BROWSERS:
        raise UsageError(f"--cookies-from-browser: no browser {name!r}", hint=", ".join(sorted(SUPPORTED_BROWSERS)))
    return name.lower(), profile or None, None, None


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """`--ytdlp-opt KEY=VALUE` options. A value is read as JSON where it is JSON, and is text otherwise."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--ytdlp-opt should be KEY=VALUE, got {pair!r}", hint="such as geo_bypass_country=DE")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def open_ydl(site: Site, **more: Any) -> Any:
    """A `yt_dlp.YoutubeDL`; use it as a context manager, from one thread. Raises `ScaError` where its options are bad."""
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    try:
        made = YoutubeDL({**more, **site.options()})
        _ = made.cookiejar  # read now, so that a bad cookie file is one error and not one a video
    except (YoutubeDLError, OSError, ValueError, TypeError) as error:
        raise UsageError(f"yt-dlp does not accept its options: {tidy(str(error))}") from error
    return made


def watch_url(video: str) -> str:
    """The page of a YouTube id."""
    return f"https://www.youtube.com/watch?v={video}"


def ffmpeg_program() -> str | None:
    """The system's ffmpeg, else the one of imageio-ffmpeg, for joining picture and sound."""
    import imageio_ffmpeg

    try:
        return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None
