"""Options of the commands that talk to a video site, spelled once, and how they become a `Site`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.acquire.youtube import Site

__all__ = ["Cookies", "CookiesFromBrowser", "Proxy", "Retries", "RetrySleep", "YtdlpOpt", "site_from"]

Cookies = Annotated[
    Path | None,
    typer.Option("--cookies", metavar="FILE", help="Cookies in Netscape's format.", show_default=False),
]
CookiesFromBrowser = Annotated[
    str | None,
    typer.Option(
        "--cookies-from-browser",
        metavar="BROWSER[:PROFILE]",
        help="Take the cookies of this browser, such as firefox.",
        show_default=False,
    ),
]
Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy", metavar="URL", help="Go through this proxy; the system's if not given.", show_default=False
    ),
]
Retries = Annotated[int, typer.Option("--retries", min=0, metavar="N", help="How often a request is tried again.")]
RetrySleep = Annotated[
    float,
    typer.Option("--retry-sleep", min=0, metavar="S", help="Seconds before the first retry; doubles up to 30."),
]
YtdlpOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--ytdlp-opt",
        metavar="KEY=VALUE",
        help="Set an option of yt_dlp.YoutubeDL, over ours; may be repeated.",
        show_default=False,
    ),
]


def site_from(
    settings: "Settings",
    *,
    cookies: Path | None,
    cookies_from_browser: str | None,
    proxy: str | None,
    retries: int,
    retry_sleep: float,
    ytdlp_opt: list[str] | None,
) -> "Site":
    """The site as the options describe it."""
    from sca.data.acquire.youtube import Site, parse_options

    return Site(
        proxy=proxy,
        cookies=cookies,
        cookies_from_browser=cookies_from_browser,
        retries=retries,
        retry_sleep_s=retry_sleep,
        cache_dir=settings.paths.resolved_cache_dir,
        extra=parse_options(ytdlp_opt or []),
    )
