"""`sca search`: find videos, and write what was found for `sca download`."""

import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.acquire.options import Cookies, CookiesFromBrowser, Proxy, Retries, RetrySleep, YtdlpOpt, site_from
from sca.cli.shared.console import emit_json, out, stderr
from sca.cli.shared.options import ConfigFile, Quiet, SetValues, settings_from
from sca.errors import check_target
from sca.textutil import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sca.data.acquire.search import Found, Query
    from sca.schemas import SearchResult

__all__ = ["search"]


class OutputFormat(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"
    table = "table"


class Sort(StrEnum):
    """The order of the results."""

    relevance = "relevance"
    date = "date"
    views = "views"
    length = "length"


class License(StrEnum):
    """Which licences pass."""

    any = "any"
    creative_commons = "creative-commons"


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What to search for.")],
    output_format: Annotated[
        OutputFormat, typer.Option(help="text: a line a video, a table when a person watches. json: one document.")
    ] = OutputFormat.text,
    max_results: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Stop at this many.")] = 50,
    min_length: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Shortest, in seconds.", show_default=False)
    ] = None,
    max_length: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Longest, in seconds.", show_default=False)
    ] = None,
    save_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the JSON document here as well.", show_default=False),
    ] = None,
    sort: Annotated[Sort, typer.Option(help="Order of what was found; date looks at each video.")] = Sort.relevance,
    exclude_live: Annotated[
        bool, typer.Option("--exclude-live", help="No broadcasts that run or are to come.")
    ] = False,
    license: Annotated[License, typer.Option(help="Looks at each video unless any.")] = License.any,  # noqa: A002
    channel: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this channel: name, @handle or id.", show_default=False)
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Only sound in this language, such as en. Looks at each.", show_default=False
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Uploaded then or later. Looks at each.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="Uploaded then or before. Looks at each.",
            show_default=False,
        ),
    ] = None,
    enrich: Annotated[
        bool, typer.Option("--enrich", help="Look at each video for its upload date, licence and language.")
    ] = False,
    sleep_interval: Annotated[
        float, typer.Option(min=0, metavar="S", help="Seconds from one look at a video to the next.")
    ] = 1.0,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
    retries: Retries = 5,
    retry_sleep: RetrySleep = 1.0,
    ytdlp_opt: YtdlpOpt = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    quiet: Quiet = False,
) -> None:
    """Search YouTube, filter what it finds, and print it.

    Results go to stdout, so that `sca search WORDS --output-format json | sca download -` works.
    """
    from sca.data.acquire.rate_limit import RateLimiter, Schedule
    from sca.data.acquire.search import Query
    from sca.data.acquire.search import search as find

    query = Query(
        words=" ".join(words),
        max_results=max_results,
        min_length_s=min_length,
        max_length_s=max_length,
        sort=sort.value,
        exclude_live=exclude_live,
        license=license.value,
        channel=channel,
        language=language,
        since=since.date() if since else None,
        until=until.date() if until else None,
        enrich=enrich,
    )
    if save_file is not None:
        check_target(save_file)
    settings = settings_from(config, set_values)
    site = site_from(
        settings,
        cookies=cookies,
        cookies_from_browser=cookies_from_browser,
        proxy=proxy,
        retries=retries,
        retry_sleep=retry_sleep,
        ytdlp_opt=ytdlp_opt,
    )
    cache = settings.paths.resolved_cache_dir / "videos"
    with _Progress(quiet=quiet) as progress:
        found = find(query, site, cache=cache, pacer=RateLimiter(Schedule(sleep_interval)), progress=progress.show)
    _write(found, query, output_format, save_file, quiet=quiet)


class _Progress:
    """A line that counts, when a person watches."""

    def __init__(self, *, quiet: bool) -> None:
        self._line = None if quiet or not sys.stderr.isatty() else stderr().status("searching")

    def __enter__(self) -> "_Progress":
        if self._line is not None:
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.stop()

    def show(self, found: "Found") -> None:
        if self._line is not None:
            looks = f", {found.looked_up} looked up" if found.looked_up else ""
            self._line.update(f"searching: {found.looked_at} seen{looks}, {len(found.results)} found")


def _write(found: "Found", query: "Query", form: OutputFormat, save_file: Path | None, *, quiet: bool) -> None:
    document = found.document(query).model_dump(mode="json")
    if save_file is not None:
        from sca.data.runs.files import write_json

        write_json(save_file, document)
    if form is OutputFormat.json:
        emit_json(document)
    elif form is OutputFormat.table or sys.stdout.isatty():
        if found.results:
            _table(found.results)
    else:
        for one in found.results:
            fields = (one.id, _clock(one.length), one.publish_date or "", one.channel or "", one.title)
            sys.stdout.write("\t".join(" ".join(field.split()) for field in fields) + "\n")
    if not quiet:
        _notes(found, query, save_file)


def _table(results: "Sequence[SearchResult]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("channel", max_width=24, no_wrap=True, overflow="ellipsis")
    table.add_column("title", no_wrap=True, overflow="ellipsis")
    for one in results:
        cells = (one.id, _clock(one.length), one.publish_date or "", one.channel or "", one.title)
        table.add_row(*(Text(cell) for cell in cells))
    out().print(table)


def _notes(found: "Found", query: "Query", save_file: Path | None) -> None:
    console = stderr()
    left_out = ", ".join(f"{count} {reason}" for reason, count in found.left_out.most_common())
    what = f"{counted(len(found.results), 'video')}" if found.results else f"nothing was found for {query.words!r}"
    seen = f"{counted(found.looked_at, 'result')} seen" + (f"; left out: {left_out}" if left_out else "")
    console.print(f"sca: {what} ({seen})", markup=False)
    if found.bound:
        console.print(f"sca: stopped before the end: {found.bound}", markup=False)
    if save_file is not None:
        console.print(f"sca: saved in {save_file}", markup=False)


def _clock(length_s: float | None) -> str:
    if length_s is None:
        return ""
    minutes, seconds = divmod(round(length_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
