"""Options of the commands that access a video site, and their conversion to a `Site`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import print_note
from sca.cli.shared.options import count_option, seconds_option

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.acquire.youtube import Site

__all__ = ["SiteOptions"]


def _show(message: str) -> None:
    print_note(f"yt-dlp: {message}")


@dataclass(frozen=True)
class SiteOptions:
    """Options of the access to a video site."""

    cookies: Annotated[
        Path | None,
        typer.Option("--cookies", metavar="FILE", help="Cookies in Netscape format.", show_default=False),
    ] = None
    cookies_from_browser: Annotated[
        str | None,
        typer.Option(
            "--cookies-from-browser",
            metavar="BROWSER[:PROFILE]",
            help="Use the cookies of this browser, such as firefox.",
            show_default=False,
        ),
    ] = None
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", metavar="URL", help="Proxy to use. Not set: the system's.", show_default=False),
    ] = None
    retries: Annotated[int, count_option("--retries", most=1000, help="Number of retries of a request.")] = 5
    retry_sleep: Annotated[
        float,
        seconds_option("--retry-sleep", help="Time before the first retry; doubled for each further one, up to 30 s."),
    ] = 1.0
    ytdlp_opt: Annotated[
        list[str] | None,
        typer.Option(
            "--ytdlp-opt",
            metavar="KEY=VALUE",
            help="Set an option of yt_dlp.YoutubeDL, overriding ours; may be repeated.",
            show_default=False,
        ),
    ] = None
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the messages of yt-dlp, with its debugging output.")
    ] = False

    def site(self, settings: "Settings") -> "Site":
        """Return the site that the options describe."""
        from sca.data.acquire.youtube import Site, parse_options

        return Site(
            proxy=self.proxy,
            cookies=self.cookies,
            cookies_from_browser=self.cookies_from_browser,
            retries=self.retries,
            retry_sleep_s=self.retry_sleep,
            cache_dir=settings.paths.resolved_cache_dir,
            extra=parse_options(self.ytdlp_opt or []),
            on_message=_show if self.verbose else None,
        )
