"""Download one video: fetch its metadata, download its media, check that they decode to their length, and publish them.

Media are downloaded to a hidden folder under names made of the id alone. A later run finds them there even if the title
has changed, and continues at the byte they reached.
"""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sca.data.acquire.media_file import archive_key, decoded_sound, file_id, file_name, info_path, provenance
from sca.data.acquire.published import OwnFile, VideoLocks
from sca.data.acquire.youtube import Site, VideoInfo, ffmpeg_program, open_ydl
from sca.data.acquire.youtube_errors import Failure, FailureKind, classify
from sca.data.runs.files import publish, sha256_of, write_json
from sca.data.runs.progress import ItemProgress
from sca.errors import InputError, ScaError, writing

__all__ = [
    "INCOMPLETE",
    "AlreadyDownloadedError",
    "DownloadFailedError",
    "DownloadOptions",
    "DownloadStoppedError",
    "DownloadedVideo",
    "VideoDownloader",
]

INCOMPLETE = ".incomplete"
_FILE_ID = "sca_file_id"
"""The field of the metadata with the name of partial files. yt-dlp keeps names in `_id` fields as they are."""
_EXPIRED_STATUSES = (403, 404, 410, 429)


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """What to download.

    Attributes:
        folder: The folder to write to.
        only_audio: Whether to download the best sound alone.
        format: A format specification of yt-dlp; None is the best.
        rate_limit: Bytes per second of one download.
        subtitles: Languages of subtitles to download as well.
    """

    folder: Path
    only_audio: bool = False
    format: str | None = None
    rate_limit: int | None = None
    subtitles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DownloadedVideo:
    """A video that was downloaded and checked.

    Attributes:
        key: Its line in the archive.
        file: The file.
        title: Its title.
        size_bytes: The size of the file.
        seconds: The length of its sound, by decoding all of it.
        notes: Remarks.
    """

    key: str
    file: Path
    title: str
    size_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()


class DownloadFailedError(Exception):
    """A video could not be downloaded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class AlreadyDownloadedError(Exception):
    """The video is in the archive, under a key that only its metadata contain."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class DownloadStoppedError(Exception):
    """The run ended while a video was being downloaded."""


class VideoDownloader:
    """Downloads videos one after another, in one thread. A context manager."""

    def __init__(
        self,
        options: DownloadOptions,
        site: Site,
        *,
        stop: threading.Event,
        on_progress: Callable[[ItemProgress], None],
        locks: VideoLocks,
    ) -> None:
        """Create a downloader.

        Args:
            options: What to download.
            site: How to reach the site.
            stop: Set when the run ends.
            on_progress: Called when a download proceeds. Stages are "looking", "downloading" (in bytes) and "checking".
            locks: The locks of the videos of this run, the same for all downloaders.
        """
        self._options, self._stop, self._on_progress, self._locks = options, stop, on_progress, locks
        self._item, self._title = "", ""
        self._ydl = open_ydl(site, **_ydl_options(options), progress_hooks=[self._progress_hook])
        self._subtitles_ydl = open_ydl(site, **_subtitle_options(options)) if options.subtitles else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        for ydl in (self._ydl, self._subtitles_ydl):
            if ydl is not None:
                ydl.close()

    def download(self, item: str, url: str, is_done: Callable[[str], bool]) -> DownloadedVideo:
        """Download one video.

        Args:
            item: Its name in messages.
            url: Its URL.
            is_done: Whether the archive has a key.

        Raises:
            DownloadFailedError: This video could not be downloaded.
            AlreadyDownloadedError: The archive has it.
            DownloadStoppedError: The run ended.
            ScaError: No video can be downloaded.
        """
        self._item, self._title = item, item
        self._ydl.params["logger"].begin()
        try:
            return self._download_once(url, is_done)
        except DownloadFailedError as error:
            # Media URLs expire, and a page may be broken by chance: request the page once more.
            expired = error.failure.kind is FailureKind.media and error.failure.status in _EXPIRED_STATUSES
            if not expired and not isinstance(error.__cause__, InputError):
                raise
        return self._download_once(url, is_done)

    def _download_once(self, url: str, is_done: Callable[[str], bool]) -> DownloadedVideo:
        self._report("looking")
        info = self._request(lambda: self._ydl.extract_info(url, download=False))
        _check_kind(info)
        self._title = str(info.get("title") or self._item)
        key = archive_key(info)
        if is_done(key):
            raise AlreadyDownloadedError(key)
        with self._locks.hold(key):
            return self._fetch(key, info)

    def _fetch(self, key: str, info: VideoInfo) -> DownloadedVideo:
        name, extension = file_id(info), str(info["ext"])
        target = self._options.folder / file_name(self._title, name, extension)
        earlier = target.with_name(file_name(self._title, str(info["id"]), extension))  # the name that 0.1 gave
        # Published by a run that was killed before it could record it.
        arrived = next((path for path in (target, earlier) if OwnFile(path, key).is_complete()), None)
        if arrived is None:
            self._check_free(target, key)
            info = self._request(lambda: self._ydl.process_ie_result(info | {_FILE_ID: name}, download=True))
            downloaded = Path(info["requested_downloads"][0]["filepath"])
            target = target.with_name(file_name(self._title, name, downloaded.suffix[1:]))
            self._check_free(target, key)
        else:
            downloaded = target = arrived
        seconds, notes = self._checked_sound(downloaded, info.get("duration"))
        with writing(target):
            digest = sha256_of(downloaded)
        size = downloaded.stat().st_size
        facts = {"file": target.name, "bytes": size, "sha256": digest, "seconds": round(seconds, 3)}
        write_json(info_path(target), provenance(info) | {"sca": facts})
        with writing(target):
            publish(downloaded, target)
            if arrived is not None:
                OwnFile(target, key).remove_copies(self._options.folder / INCOMPLETE, name)
        notes += self._download_subtitles(info, target)
        return DownloadedVideo(key, target, self._title, size, seconds, notes)

    def _check_free(self, target: Path, key: str) -> None:
        """Raise an error if a file that is not this video's has the name, before anything is replaced."""
        strange = OwnFile(target, key).stranger()
        if strange is not None:
            reason = f"{strange.name} is in the folder and is not a download of this video: move it away"
            raise DownloadFailedError(Failure(FailureKind.gone, reason))

    def _request(self, request: Callable[[], VideoInfo]) -> VideoInfo:
        """Call yt-dlp and convert its exceptions."""
        from yt_dlp.utils import DownloadCancelled

        try:
            return request()
        except DownloadCancelled as error:
            raise DownloadStoppedError from error
        except (ScaError, DownloadStoppedError):
            raise
        except Exception as error:
            failure = classify(error, self._ydl)
            if failure.kind is FailureKind.disk:
                raise failure.as_error(f"writing to {self._options.folder}") from error
            raise DownloadFailedError(failure) from error

    def _checked_sound(self, file: Path, expected_s: float | None) -> tuple[float, tuple[str, ...]]:
        """Decode the whole file. A broken one is removed, because the download cannot continue from it."""
        self._report("checking")
        try:
            return decoded_sound(file, expected_s, self._check_stop)
        except InputError as error:
            file.unlink(missing_ok=True)
            reason = error.message.replace(str(file), "the downloaded file")
            raise DownloadFailedError(Failure(FailureKind.broken, reason)) from error

    def _download_subtitles(self, info: VideoInfo, target: Path) -> tuple[str, ...]:
        """Write subtitles beside the file. An error is returned as a note."""
        if self._subtitles_ydl is None:
            return ()
        try:
            result = self._subtitles_ydl.process_ie_result(dict(info), download=True)
            subtitles = result.get("requested_subtitles") or {}
            for language, subtitle in subtitles.items():
                name = f"{target.stem}.{language}.{subtitle['ext']}"
                shutil.move(subtitle["filepath"], target.with_name(name))
        except Exception as error:  # noqa: BLE001 - subtitles are an extra: no error in them may cost the sound
            return (f"no subtitles: {classify(error).reason}",)
        return () if subtitles else (f"no subtitles in {', '.join(self._options.subtitles)}",)

    def _progress_hook(self, status: VideoInfo) -> None:
        from yt_dlp.utils import DownloadCancelled

        if self._stop.is_set():
            raise DownloadCancelled
        if status["status"] == "downloading":
            total = status.get("total_bytes") or status.get("total_bytes_estimate")
            self._report("downloading", int(status.get("downloaded_bytes") or 0), None if total is None else int(total))

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise DownloadStoppedError

    def _report(self, stage: str, done_bytes: int = 0, total_bytes: int | None = None) -> None:
        self._check_stop()
        self._on_progress(ItemProgress(self._item, done_bytes, total_bytes, stage, self._title))


def _ydl_options(options: DownloadOptions) -> dict[str, object]:
    folder = str((options.folder / INCOMPLETE).absolute()).replace("%", "%%")
    best = "bestaudio/best" if options.only_audio else "bestvideo*+bestaudio/best/bestaudio"
    return {
        "outtmpl": {"default": f"{folder}/%({_FILE_ID}).80B.%(format_id).40B.%(ext)s"},
        "format": options.format or best,
        "ratelimit": options.rate_limit,
        "continuedl": True,
        # A playlist is rejected, so its videos are not looked up.
        "extract_flat": "in_playlist",
        "playlist_items": "1",
        "updatetime": False,
        "ffmpeg_location": ffmpeg_program(),
        # A file stays byte for byte what the site serves. The repair of HLS streams needs an ffmpeg that reads transport
        # streams, and some builds crash on them.
        "fixup": "never",
    }


def _subtitle_options(options: DownloadOptions) -> dict[str, object]:
    return _ydl_options(options) | {
        "writesubtitles": True,
        "writeautomaticsub": True,
        "subtitleslangs": list(options.subtitles),
        "skip_download": True,
        "subtitlesformat": "vtt/best",
    }


def _check_kind(info: VideoInfo | None) -> None:
    """Raise an error for anything but one finished video."""
    if info is None:
        raise DownloadFailedError(Failure(FailureKind.broken, "the site returned no metadata"))
    if info.get("entries") is not None:
        raise DownloadFailedError(
            Failure(FailureKind.gone, "a playlist, not a video: give the videos, or search for them")
        )
    if info.get("live_status") in ("is_live", "is_upcoming"):
        raise DownloadFailedError(Failure(FailureKind.broken, "live, or not started yet: try again when it has ended"))
