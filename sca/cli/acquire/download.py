"""`sca download`: bring the videos that a search found, prove each, and write down what became of it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.acquire.options import Cookies, CookiesFromBrowser, Proxy, Retries, RetrySleep, YtdlpOpt, site_from
from sca.cli.shared.console import emit_json, out, stderr
from sca.cli.shared.options import ConfigFile, Json, Quiet, SetValues, settings_from
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.data.acquire.download import Summary

__all__ = ["download"]

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def download(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE|-|URL...", help="Results of sca search, - for stdin, addresses or video ids."),
    ],
    output_path: Annotated[
        Path, typer.Option("--output-path", "-o", metavar="DIR", help="The folder to download to.")
    ] = Path("dataset/video_downloads"),
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Shuffle before --download-count takes the first.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Which shuffle; the same one picks the same videos.")] = 0,
    download_count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N.", show_default=False)
    ] = None,
    only_audio: Annotated[
        bool, typer.Option("--only-audio", help="The best sound, in the container it comes in (webm or m4a).")
    ] = False,
    format: Annotated[  # noqa: A002
        str | None, typer.Option(metavar="SPEC", help="Which format, in yt-dlp's words.", show_default=False)
    ] = None,
    subtitles: Annotated[
        str | None,
        typer.Option(
            metavar="LANGS", help="Subtitles as well, such as en,de, where there are any.", show_default=False
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=8, metavar="N", help="How many at a time.")] = 2,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="List of what was downloaded; archive.txt in the folder.", show_default=False
        ),
    ] = None,
    rate_limit: Annotated[
        str | None, typer.Option(metavar="RATE", help="Bytes a second in all, such as 500K or 2M.", show_default=False)
    ] = None,
    sleep_interval: Annotated[
        float,
        typer.Option(min=0, metavar="S", help="Seconds from one video's start to the next; never over 250 an hour."),
    ] = 5.0,
    cookies: Cookies = None,
    cookies_from_browser: CookiesFromBrowser = None,
    proxy: Proxy = None,
    retries: Retries = 5,
    retry_sleep: RetrySleep = 1.0,
    ytdlp_opt: YtdlpOpt = None,
    config: ConfigFile = None,
    set_values: SetValues = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download videos, or their sound alone.

    A file counts once it decodes to its expected length. What became of every video is in ledger.jsonl; a second run brings only
    what is missing.
    """
    from sca.cli.shared.download_progress import download_progress
    from sca.data.acquire.download import download as bring
    from sca.data.acquire.downloader import FetchOptions
    from sca.data.acquire.targets import choose, read_wanted

    limit = None if rate_limit is None else max(_rate(rate_limit) // jobs, 1)
    languages = tuple(one.strip() for one in (subtitles or "").split(",") if one.strip())
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
    options = FetchOptions(output_path.absolute(), only_audio, format, limit, languages)
    wanted = choose(read_wanted(sources), shuffle=shuffle, seed=seed, count=download_count)
    with download_progress(quiet=quiet) as listener:
        summary = bring(
            wanted, options, site, archive=archive, jobs=jobs, sleep_interval_s=sleep_interval, listener=listener
        )
    if json:
        emit_json(_document(summary, output_path))
    else:
        _show(summary, output_path)
    _leave(summary, output_path)


def _rate(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)i?B?(?:/s)?", text.strip(), re.IGNORECASE)
    rate = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if rate <= 0:
        raise UsageError(f"--rate-limit should be bytes a second, got {text!r}", hint="such as 500K or 2M")
    return rate


def _document(summary: "Summary", folder: Path) -> dict[str, object]:
    from dataclasses import asdict

    counts = {status: summary.count(status) for status in ("verified", "skipped", "failed")}
    items = [asdict(entry) for entry in summary.entries]
    return {"output": str(folder), "requested": len(items), **counts, "items": items}


def _show(summary: "Summary", folder: Path) -> None:
    if not summary.entries:
        stderr().print("sca: there is nothing to download", markup=False)
    out().print(
        f"{summary.count('verified')} verified ({summary.total('bytes') / 1e6:.1f} MB, {summary.total('seconds') / 3600:.2f} h), "
        f"{summary.count('skipped')} skipped (already there), {summary.count('failed')} failed; in {folder}",
        markup=False,
    )


def _leave(summary: "Summary", folder: Path) -> None:
    failed = [entry for entry in summary.entries if entry.status == "failed"]
    if failed:
        again = sum(entry.retryable for entry in failed)
        raise PartialFailure(
            f"{len(failed)} of {counted(len(summary.entries), 'video')} failed, {again} of them may come another time",
            hint=f"the reasons are in {folder / 'ledger.jsonl'}; the same command again tries what is missing",
        )
