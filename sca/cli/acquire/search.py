"""`sca search`: search YouTube and write the results for `sca download`."""

import sys
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from sca.cli.acquire.options import SiteOptions
from sca.cli.shared.console import emit_json, print_fields, stderr, with_schema
from sca.cli.shared.options import Json, Quiet, count_option, seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.errors import check_target
from sca.textutil import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sca.config import Settings
    from sca.data.acquire.search import Query, SearchOutcome
    from sca.schemas import SearchResult

__all__ = ["search"]


class OutputFormat(StrEnum):
    """The format of the printed results."""

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
    """The licences to accept."""

    any = "any"
    creative_commons = "creative-commons"


def _date_option(help: str) -> OptionInfo:  # noqa: A002
    option: OptionInfo = typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help=help, show_default=False)
    return option


@dataclass(frozen=True)
class Filters:
    """Options that filter the results."""

    min_length: Annotated[
        float | None, seconds_option("--min-length", help="Minimum length in seconds.", show_default=False)
    ] = None
    max_length: Annotated[
        float | None, seconds_option("--max-length", help="Maximum length in seconds.", show_default=False)
    ] = None
    exclude_live: Annotated[bool, typer.Option("--exclude-live", help="Exclude live and upcoming streams.")] = False
    license: Annotated[
        License, typer.Option("--license", help="Licence filter; anything but any fetches the metadata of each video.")
    ] = License.any
    channel: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this channel: name, @handle or id.", show_default=False)
    ] = None
    language: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Only audio in this language, such as en; fetches the metadata of each video.",
            show_default=False,
        ),
    ] = None
    since: Annotated[
        datetime | None,
        _date_option("First upload date; fetches the metadata of each video."),
    ] = None
    until: Annotated[
        datetime | None,
        _date_option("Last upload date; fetches the metadata of each video."),
    ] = None


@settings_options()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What to search for.")],
    *,
    output_format: Annotated[
        OutputFormat, typer.Option(help="text: one line per video, or a table on a terminal. json: one document.")
    ] = OutputFormat.text,
    max_results: Annotated[int, count_option("--max-results", least=1, most=1000, help="Stop after this many.")] = 50,
    save_file: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the JSON document to this file as well.", show_default=False
        ),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(help="Order of the results; date fetches the metadata of each video.")
    ] = Sort.relevance,
    filters: Filters,
    enrich: Annotated[
        bool, typer.Option("--enrich", help="Fetch the upload date, licence and language of each video.")
    ] = False,
    sleep_interval: Annotated[
        float, seconds_option("--sleep-interval", help="Minimum time between two requests for metadata.")
    ] = 1.0,
    site: SiteOptions,
    settings: "Settings",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search YouTube for videos by words, length, channel, language, date and licence.

    Results go to stdout, so that `sca search WORDS --output-format json | sca download -` works.
    """
    from sca.data.acquire.rate_limit import RateLimiter, Schedule
    from sca.data.acquire.search import Query
    from sca.data.acquire.search import search as run

    query = Query(
        words=" ".join(words),
        max_results=max_results,
        min_length_s=filters.min_length,
        max_length_s=filters.max_length,
        sort=sort.value,
        exclude_live=filters.exclude_live,
        license=filters.license.value,
        channel=filters.channel,
        language=filters.language,
        since=filters.since.date() if filters.since else None,
        until=filters.until.date() if filters.until else None,
        enrich=enrich,
    )
    if save_file is not None:
        check_target(save_file)
    cache = settings.paths.resolved_cache_dir / "videos"
    limiter = RateLimiter(Schedule(sleep_interval))
    with _Progress(quiet=quiet) as progress:
        outcome = run(query, site.site(settings), cache=cache, rate_limiter=limiter, on_progress=progress.show)
    _write(outcome, query, OutputFormat.json if as_json else output_format, save_file, quiet=quiet)


class _Progress:
    """A status line on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._line = None if quiet or not sys.stderr.isatty() else stderr().status("searching")

    def __enter__(self) -> "_Progress":
        if self._line is not None:
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.stop()

    def show(self, outcome: "SearchOutcome") -> None:
        if self._line is not None:
            fetched = f", {outcome.fetched} looked up" if outcome.fetched else ""
            self._line.update(f"searching: {outcome.candidates} seen{fetched}, {len(outcome.results)} found")


def _write(
    outcome: "SearchOutcome", query: "Query", output_format: OutputFormat, save_file: Path | None, *, quiet: bool
) -> None:
    document = outcome.document(query).model_dump(mode="json")
    if save_file is not None:
        from sca.data.runs.files import write_json

        write_json(save_file, with_schema(document))
    if output_format is OutputFormat.json:
        emit_json(document)
    elif output_format is OutputFormat.table or sys.stdout.isatty():
        if outcome.results:
            _print_table(outcome.results)
    else:
        for result in outcome.results:
            fields = (result.id, _clock(result.length), result.publish_date or "", result.channel or "", result.title)
            print_fields(*(" ".join(field.split()) for field in fields))
    if not quiet:
        _print_notes(outcome, query, save_file)


def _print_table(results: "Sequence[SearchResult]") -> None:
    from sca.cli.shared.terminal import data_table, print_table

    table = data_table("id", "length", "date", "channel", "title")
    for column in table.columns[:3]:
        column.no_wrap = True
    table.columns[1].justify = "right"
    for result in results:
        table.add_row(result.id, _clock(result.length), result.publish_date or "", result.channel or "", result.title)
    print_table(table)


def _print_notes(outcome: "SearchOutcome", query: "Query", save_file: Path | None) -> None:
    console = stderr()
    left_out = ", ".join(f"{count} {reason}" for reason, count in outcome.left_out.most_common())
    summary = (
        f"{counted(len(outcome.results), 'video')}" if outcome.results else f"nothing was found for {query.words!r}"
    )
    seen = f"{counted(outcome.candidates, 'result')} seen" + (f"; left out: {left_out}" if left_out else "")
    console.print(f"sca: {summary} ({seen})")
    if outcome.bound:
        console.print(f"sca: stopped before the end: {outcome.bound}")
    if save_file is not None:
        console.print(f"sca: saved in {save_file}")


def _clock(length_s: float | None) -> str:
    if length_s is None:
        return ""
    minutes, seconds = divmod(round(length_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
