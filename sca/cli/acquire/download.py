"""`sca download`: download videos, check each, and record the outcome."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.acquire.options import Cookies, CookiesFromBrowser, Proxy, Retries, RetrySleep, YtdlpOpt, site_from
from sca.cli.shared.console import emit_json, out, stderr
from sca.cli.shared.options import ConfigFile, Json, Quiet, SetValues, settings_from
from sca.cli.shared.retry import RetryFailed
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.acquire.download import DownloadDetails
    from sca.data.runs.summary import RunSummary

__all__ = ["download"]

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def download(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE|-|URL...", help="Results of sca search, - for stdin, URLs or video ids."),
    ],
    output_path: Annotated[
        Path, typer.Option("--output-path", "-o", metavar="DIR", help="The folder to download to.")
    ] = Path("dataset/video_downloads"),
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Shuffle the videos before --download-count.")] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the shuffle; the same seed gives the same order.")
    ] = 0,
    download_count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Download only the first N.", show_default=False)
    ] = None,
    only_audio: Annotated[
        bool, typer.Option("--only-audio", help="Download the best sound alone, in its own container (webm or m4a).")
    ] = False,
    format: Annotated[  # noqa: A002
        str | None, typer.Option(metavar="SPEC", help="Format specification of yt-dlp.", show_default=False)
    ] = None,
    subtitles: Annotated[
        str | None,
        typer.Option(
            metavar="LANGS", help="Languages of subtitles to download as well, such as en,de.", show_default=False
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=8, metavar="N", help="Downloads at a time.")] = 2,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="List of downloaded videos; archive.txt in the folder if not given.",
            show_default=False,
        ),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Total download rate limit in bytes per second, such as 500K or 2M.",
            show_default=False,
        ),
    ] = None,
    sleep_interval: Annotated[
        float,
        typer.Option(
            min=0, metavar="S", help="Minimum seconds between the starts of two videos; at most 250 start per hour."
        ),
    ] = 5.0,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
    retries: Retries = 5,
    retry_sleep: RetrySleep = 1.0,
    ytdlp_opt: YtdlpOpt = None,
    retry_failed: RetryFailed = True,
    config: ConfigFile = None,
    set_values: SetValues = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download videos, or their sound alone.

    A file is kept if it decodes to its expected length. ledger.jsonl lists every video and what became of it; a second run
    downloads only what is missing.
    """
    from sca.cli.shared.download_progress import download_progress
    from sca.data.acquire.download import download as run
    from sca.data.acquire.downloader import DownloadOptions
    from sca.data.acquire.targets import choose, read_targets

    limit = None if rate_limit is None else max(_bytes_per_second(rate_limit) // jobs, 1)
    languages = tuple(name.strip() for name in (subtitles or "").split(",") if name.strip())
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
    options = DownloadOptions(output_path.absolute(), only_audio, format, limit, languages)
    targets = choose(read_targets(sources), shuffle=shuffle, seed=seed, count=download_count)
    with download_progress(quiet=quiet) as listener:
        summary = run(
            targets,
            options,
            site,
            archive=archive,
            jobs=jobs,
            sleep_interval_s=sleep_interval,
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
            hint=f"the reasons are in {output_path / 'ledger.jsonl'}; the same command again tries what is missing",
        )


def _bytes_per_second(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)i?B?(?:/s)?", text.strip(), re.IGNORECASE)
    rate = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if rate <= 0:
        raise UsageError(f"--rate-limit should be bytes per second, got {text!r}", hint="such as 500K or 2M")
    return rate


def _document(summary: "RunSummary[DownloadDetails]", folder: Path) -> dict[str, object]:
    from dataclasses import asdict

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
        stderr().print("sca: no videos to download", markup=False)
    out().print(
        f"{summary.made} verified ({summary.details.bytes / 1e6:.1f} MB, {summary.audio_s / 3600:.2f} h), "
        f"{summary.already} skipped (already there), {len(summary.failed)} failed; in {folder}",
        markup=False,
    )
