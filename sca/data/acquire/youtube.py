"""Set-up of yt-dlp, through which all requests to video sites go.

Only this module and `sca.data.acquire.youtube_errors`, which interprets the errors of yt-dlp, depend on how yt-dlp
works.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.data.acquire.youtube_errors import clean_message
from sca.errors import InputError, UsageError

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL

__all__ = ["Site", "VideoInfo", "YdlOptions", "ffmpeg_program", "open_ydl", "parse_options", "watch_url"]

_log = logging.getLogger(__name__)

VideoInfo = dict[str, Any]
"""The metadata of a video as yt-dlp returns it."""
YdlOptions = Mapping[str, object]
"""Options of `yt_dlp.YoutubeDL`."""
_MAX_RETRY_SLEEP_S = 30.0


@dataclass(frozen=True, slots=True)
class Site:
    """How to reach the site.

    Attributes:
        proxy: URL of a proxy; None uses the system's.
        cookies: A file in Netscape format.
        cookies_from_browser: `BROWSER[:PROFILE]`.
        retries: Retries of a request.
        retry_sleep_s: The wait before the first retry; it doubles up to half a minute.
        timeout_s: The silence on a connection after which it is closed.
        cache_dir: The folder for yt-dlp's cache; None disables it.
        extra: Options of yt-dlp that override the ones set here.
        on_message: Called with each message of yt-dlp, of which there are then more; not called for None.
    """

    proxy: str | None = None
    cookies: Path | None = None
    cookies_from_browser: str | None = None
    retries: int = 5
    retry_sleep_s: float = 1.0
    timeout_s: float = 20.0
    cache_dir: Path | None = None
    extra: YdlOptions = field(default_factory=dict)
    on_message: Callable[[str], None] | None = None

    def options(self) -> dict[str, object]:
        """Return the options for `yt_dlp.YoutubeDL`.

        Raises:
            InputError: The cookie file does not exist.
            UsageError: The browser is not supported.
        """

        def retry_sleep(n: int) -> float:
            return min(self.retry_sleep_s * 2.0 ** (n - 1), _MAX_RETRY_SLEEP_S)

        if self.cookies is not None and not self.cookies.is_file():
            raise InputError(f"--cookies: {self.cookies} does not exist")
        options: dict[str, object] = {
            "quiet": True,
            "verbose": self.on_message is not None,
            "no_warnings": False,
            "noprogress": True,
            "color": "never",
            "logger": YdlLogger(self.on_message),
            "noplaylist": True,
            "cachedir": str(self.cache_dir / "yt-dlp") if self.cache_dir else False,
            "proxy": self.proxy,
            "cookiefile": str(self.cookies) if self.cookies else None,
            "cookiesfrombrowser": _browser(self.cookies_from_browser),
            "socket_timeout": self.timeout_s,
            "retries": self.retries,
            "fragment_retries": self.retries,
            "extractor_retries": min(self.retries, 3),
            "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor", "file_access"), retry_sleep),
            # deno is a dependency of sca; an installed node works as well.
            "js_runtimes": {"deno": {}, "node": {}},
        }
        return options | dict(self.extra)


class YdlLogger:
    """Logger of yt-dlp: everything goes to `logging` at debug level. Errors are raised as exceptions.

    Attributes:
        failed_request: The last request that failed; some errors of yt-dlp do not name it.
        warnings: The warnings since `begin`, which explain some errors.
    """

    def __init__(self, on_message: Callable[[str], None] | None = None) -> None:
        self.failed_request: str | None = None
        self.warnings: list[str] = []
        self._on_message = on_message

    def begin(self) -> None:
        """Forget the warnings of the video before."""
        self.warnings.clear()

    def debug(self, text: str) -> None:
        """Log a message."""
        _log.debug("%s", text)
        if self._on_message is not None:
            self._on_message(text)

    def warning(self, text: str) -> None:
        """Log a warning."""
        self.debug(text)
        self.warnings.append(text)
        if "Unable to download" in text:
            self.failed_request = clean_message(text)

    info = error = debug


def _browser(text: str | None) -> tuple[str, str | None, str | None, str | None] | None:
    """Convert `BROWSER[:PROFILE]` to the option of yt-dlp."""
    if text is None:
        return None
    from yt_dlp.cookies import SUPPORTED_BROWSERS

    name, _, profile = text.partition(":")
    if name.lower() not in SUPPORTED_BROWSERS:
        raise UsageError(
            f"--cookies-from-browser: unknown browser {name!r}", hint=", ".join(sorted(SUPPORTED_BROWSERS))
        )
    return name.lower(), profile or None, None, None


def parse_options(pairs: Sequence[str]) -> dict[str, object]:
    """Parse `--ytdlp-opt KEY=VALUE` options. A value that is valid JSON is parsed, any other is text.

    Raises:
        UsageError: An option has no `=` or no name.
    """
    options: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--ytdlp-opt should be KEY=VALUE, got {pair!r}", hint="such as geo_bypass_country=DE")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options


def open_ydl(site: Site, **options: object) -> "YoutubeDL":
    """Create a `yt_dlp.YoutubeDL`, a context manager for one thread.

    Args:
        site: How to reach the site; its options win.
        options: More options.

    Raises:
        UsageError: yt-dlp does not accept its options.
        InputError: The cookie file does not exist.
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    try:
        ydl = YoutubeDL({**options, **site.options()})
        _ = ydl.cookiejar  # read now, so that a bad cookie file is one error and not one per video
    except (YoutubeDLError, OSError, ValueError, TypeError) as error:
        raise UsageError(f"yt-dlp does not accept its options: {clean_message(str(error))}") from error
    return ydl


def watch_url(video: str) -> str:
    """Return the URL of the page of a YouTube id."""
    return f"https://www.youtube.com/watch?v={video}"


def ffmpeg_program() -> str | None:
    """Return the system's ffmpeg, else the one of imageio-ffmpeg, which joins picture and sound."""
    import imageio_ffmpeg

    try:
        return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None
