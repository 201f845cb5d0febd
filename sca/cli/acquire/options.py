"""Options of the commands that access a video site, and their conversion to a `Site`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.acquire.youtube import Site

__all__ = ["Cookies", "CookiesFromBrowser", "Proxy", "Retries", "RetrySleep", "YtdlpOpt", "site_from"]

Cookies = Annotated[
    Path | None,
    typer.Option("--cookies", metavar="FILE", help="Cookies in Netscape format.", show_default=False),
]
CookiesFromBrowser = Annotated[
    str | None,
    typer.Option(
        "--cookies-from-browser",
        metavar="BROWSER[:PROFILE]",
        help="Use the cookies of this browser, such as firefox.",
        show_default=False,
    ),
]
Proxy = Annotated[
    str | None,
    typer.Option("--proxy", metavar="URL", help="Use this proxy; the system's if not given.", show_default=False),
]
Retries = Annotated[int, typer.Option("--retries", min=0, metavar="N", help="Retries of a request.")]
RetrySleep = Annotated[
    float,
    typer.Option(
        "--retry-sleep",
        min=0,
        metavar="S",
        help="Seconds before the first retry; doubled for each further one, up to 30.",
    ),
]
YtdlpOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--ytdlp-opt",
        metavar="KEY=VALUE",
        help="Set an option of yt_dlp.YoutubeDL, overriding ours; may be repeated.",
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
    """Return the site that the options describe."""
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
