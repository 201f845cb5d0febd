"""`sca download`: download videos, check each, and record the outcome."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.acquire.options import SiteOptions
from sca.cli.shared.console import emit_json, print_line, print_note
from sca.cli.shared.options import Json, Quiet, RetryFailed, count_option, parse_size, seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.errors import PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.acquire.download import DownloadDetails
    from sca.data.runs.summary import RunSummary

__all__ = ["download"]


@dataclass(frozen=True)
class Selection:
    """Options that select the videos."""

    shuffle: Annotated[bool, typer.Option("--shuffle", help="Shuffle the videos before --download-count.")] = False
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the shuffle; the same seed gives the same order.")] = 0
    download_count: Annotated[
        int | None,
        count_option("--download-count", least=1, help="Download only the first N.", show_default=False),
    ] = None


@dataclass(frozen=True)
class Media:
    """Options of what is downloaded of a video."""

    only_audio: Annotated[
        bool, typer.Option("--only-audio", help="Download the best audio alone, in its own container (webm or m4a).")
    ] = False
    format: Annotated[
        str | None, typer.Option("--format", metavar="SPEC", help="Format specification of yt-dlp.", show_default=False)
    ] = None
    subtitles: Annotated[
        str | None,
        typer.Option(
            metavar="LANGS", help="Languages of subtitles to download as well, such as en,de.", show_default=False
        ),
    ] = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of subtitles."""
        return tuple(name.strip() for name in (self.subtitles or "").split(",") if name.strip())


@dataclass(frozen=True)
class Limits:
    """Options that limit the load on the site."""

    jobs: Annotated[int, count_option("--jobs", "-j", least=1, most=8, help="Number of parallel downloads.")] = 2
    rate_limit: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Total download rate in bytes per second, such as 500K or 2M; K is 1024 bytes.",
            show_default=False,
        ),
    ] = None
    sleep_interval: Annotated[
        float,
        seconds_option(
            "--sleep-interval", help="Minimum time between the starts of two videos; at most 250 start per hour."
        ),
    ] = 5.0

    @property
    def bytes_per_second(self) -> int | None:
        """The rate limit of one job."""
        if self.rate_limit is None:
            return None
        return max(parse_size(self.rate_limit, "--rate-limit", kilo=1024) // self.jobs, 1)


@settings_options()
def download(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|-|URL...",
            help="Results of sca search or a text file with a URL per line, - for stdin, URLs of videos, playlists "
            "and channels, or video ids.",
        ),
    ],
    output_path: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to download to.")] = Path(
        "dataset/video_downloads"
    ),
    *,
    selection: Selection,
    media: Media,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="List of downloaded videos. Not set: archive.txt in the folder.", show_default=False
        ),
    ] = None,
    limits: Limits,
    site: SiteOptions,
    retry_failed: RetryFailed = True,
    settings: "Settings",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download videos, or their audio alone, and check that each decodes to its full length.

    ledger.jsonl records the outcome of every video; a second run downloads only what is missing.
    """
    from sca.cli.shared.download_progress import download_progress
    from sca.data.acquire.download import download as run
    from sca.data.acquire.downloader import DownloadOptions
    from sca.data.acquire.playlists import expand_playlists
    from sca.data.acquire.targets import choose, read_targets

    options = DownloadOptions(
        output_path.absolute(), media.only_audio, media.format, limits.bytes_per_second, media.languages
    )
    youtube = site.site(settings)
    # A shuffle needs the whole lists; without one, reading ends with the last video that is wanted.
    limit = None if selection.shuffle else selection.download_count
    targets = choose(
        expand_playlists(read_targets(sources), youtube, limit=limit, on_list=None if quiet else _print_list),
        shuffle=selection.shuffle,
        seed=selection.seed,
        count=selection.download_count,
    )
    with download_progress(quiet=quiet) as listener:
        summary = run(
            targets,
            options,
            youtube,
            archive=archive,
            jobs=limits.jobs,
            sleep_interval_s=limits.sleep_interval,
            retry_failed=retry_failed,
            listener=listener,
        )
    if json:
        emit_json(_document(summary, output_path))
    else:
        _print_summary(summary, output_path)
    if summary.failed:
        retryable = sum(entry.status == "failed" and entry.retryable for entry in summary.details.entries)
        raise PartialFailure(
            f"{len(summary.failed)} of {counted(summary.total, 'video')} failed, {retryable} of them may succeed later",
            hint=f"the reasons are in {summary.details.ledger}; the same command again tries what is missing",
        )


def _print_list(url: str, count: int) -> None:
    print_note(f"sca: {url}: {counted(count, 'video')}")


def _document(summary: "RunSummary[DownloadDetails]", folder: Path) -> dict[str, object]:
    items = [asdict(entry) for entry in summary.details.entries]
    return {
        "output": str(folder),
        "requested": len(items),
        "verified": summary.made,
        "skipped": summary.already,
        "failed": len(summary.failed),
        "items": items,
    }


def _print_summary(summary: "RunSummary[DownloadDetails]", folder: Path) -> None:
    if not summary.details.entries:
        print_note("sca: no videos to download")
    print_line(
        f"{summary.made} verified ({summary.details.bytes / 1e6:.1f} MB, {summary.audio_s / 3600:.2f} h), "
        f"{summary.already} skipped (already there), {len(summary.failed)} failed; in {folder}",
    )
