"""Bring one video: look it up, get its media, prove that they decode to their length, and only then give them their name.

Media arrive in a hidden folder under names made of the id alone, so that a later run finds them whatever became of the title,
and go on from the byte they reached. Knows nothing of lists, ledgers or archives.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sca.data.acquire.media_file import beside, decoded_seconds, file_name, key_of, provenance
from sca.data.acquire.youtube import Site, ffmpeg_program, open_ydl
from sca.data.acquire.youtube_errors import Failure, Kind, classify
from sca.data.runs.files import write_json
from sca.errors import InputError, ScaError, writing

__all__ = ["INCOMPLETE", "AlreadyError", "FailedError", "FetchOptions", "Fetched", "Fetcher", "StoppedError", "Tick"]

INCOMPLETE = ".incomplete"
_EXPIRED = (403, 404, 410, 429)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """What to bring. rate_limit: bytes a second.   subtitles: languages, none by default."""

    folder: Path
    only_audio: bool = False
    format: str | None = None
    rate_limit: int | None = None
    subtitles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A video that is there and proven. seconds: what its sound decoded to."""

    key: str
    file: Path
    title: str
    size_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """Where a video is: `stage` is looking, downloading or checking."""

    item: str
    title: str
    stage: str
    done_bytes: int = 0
    total_bytes: int | None = None


class FailedError(Exception):
    """A video did not come."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class AlreadyError(Exception):
    """The video, known by its key only after a look at it, was brought before."""


class StoppedError(Exception):
    """The run was called off while this video was under way."""


class Fetcher:
    """Brings videos one after another; for one thread. A context manager."""

    def __init__(
        self, options: FetchOptions, site: Site, *, stopped: Callable[[], bool], tick: Callable[[Tick], None]
    ) -> None:
        self._options, self._stopped, self._tick = options, stopped, tick
        self._item, self._title = "", ""
        self._ydl = open_ydl(site, **_ydl_options(options), progress_hooks=[self._hook])
        self._captions = open_ydl(site, **_caption_options(options)) if options.subtitles else None

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._ydl, self._captions):
            if one is not None:
                one.close()

    def fetch(self, item: str, url: str, done: Callable[[str], bool]) -> Fetched:
        """Bring one video. done: whether a key was brought before.

        Raises `FailedError`, `AlreadyError` or `StoppedError`; a `ScaError` is the end for every other video as well.
        """
        self._item, self._title = item, item
        try:
            return self._once(url, done)
        except FailedError as first:
            # Media addresses expire, and a page may have been a bad one: ask for the page once more.
            again = first.failure.kind is Kind.media and first.failure.status in _EXPIRED
            if not again and not isinstance(first.__cause__, InputError):
                raise
        return self._once(url, done)

    def _once(self, url: str, done: Callable[[str], bool]) -> Fetched:
        self._say("looking")
        info = self._asked(lambda: self._ydl.extract_info(url, download=False))
        _check_kind(info)
        self._title = str(info.get("title") or self._item)
        key = key_of(info)
        if done(key):
            raise AlreadyError(key)
        target = self._options.folder / file_name(self._title, str(info["id"]), str(info["ext"]))
        if not target.is_file():
            info = self._asked(lambda: self._ydl.process_ie_result(info, download=True))
            arrived = Path(info["requested_downloads"][0]["filepath"])
            target = target.with_name(file_name(self._title, str(info["id"]), arrived.suffix[1:]))
        else:
            arrived = target  # published by a run that was killed before it could say so
        seconds = self._proven(arrived, info.get("duration"))
        with writing(target), arrived.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = arrived.stat().st_size
        proof = {"file": target.name, "bytes": size, "sha256": digest, "seconds": round(seconds, 3)}
        write_json(beside(target), provenance(info) | {"sca": proof})
        with writing(target):
            arrived.replace(target)
        return Fetched(key, target, self._title, size, seconds, self._subtitles(info, target))

    def _asked(self, ask: Callable[[], Any]) -> Any:
        from yt_dlp.utils import DownloadCancelled

        try:
            return ask()
        except DownloadCancelled as error:
            raise StoppedError from error
        except (ScaError, StoppedError):
            raise
        except Exception as error:
            failure = classify(error, self._ydl)
            if failure.kind is Kind.disk:
                raise failure.as_error(f"writing to {self._options.folder}") from error
            raise FailedError(failure) from error

    def _proven(self, file: Path, expected_s: float | None) -> float:
        """Decode all of it; what is broken is taken away, because it cannot be gone on with."""
        self._say("checking")
        try:
            return decoded_seconds(file, expected_s, self._checkpoint)
        except InputError as error:
            file.unlink(missing_ok=True)
            reason = error.message.replace(str(file), "what came")
            raise FailedError(Failure(Kind.broken, reason)) from error

    def _subtitles(self, info: dict[str, Any], target: Path) -> tuple[str, ...]:
        """Put subtitles beside the file. Whatever goes wrong with them is a note."""
        if self._captions is None:
            return ()
        try:
            made = self._captions.process_ie_result(dict(info), download=True)
            got = made.get("requested_subtitles") or {}
            for language, one in got.items():
                name = f"{target.stem}.{language}.{one['ext']}"
                shutil.move(one["filepath"], target.with_name(name))
        except Exception as error:  # noqa: BLE001 - the boundary of an extra that must not cost the sound
            return (f"no subtitles: {classify(error).reason}",)
        return () if got else (f"no subtitles in {', '.join(self._options.subtitles)}",)

    def _hook(self, status: dict[str, Any]) -> None:
        from yt_dlp.utils import DownloadCancelled

        if self._stopped():
            raise DownloadCancelled
        if status["status"] == "downloading":
            total = status.get("total_bytes") or status.get("total_bytes_estimate")
            self._say("downloading", int(status.get("downloaded_bytes") or 0), None if total is None else int(total))

    def _checkpoint(self) -> None:
        if self._stopped():
            raise StoppedError

    def _say(self, stage: str, done_bytes: int = 0, total_bytes: int | None = None) -> None:
        self._checkpoint()
        self._tick(Tick(self._item, self._title, stage, done_bytes, total_bytes))


def _ydl_options(options: FetchOptions) -> dict[str, Any]:
    folder = str((options.folder / INCOMPLETE).absolute()).replace("%", "%%")
    chosen = "bestaudio/best" if options.only_audio else "bestvideo*+bestaudio/best/bestaudio"
    return {
        "outtmpl": {"default": f"{folder}/%(id).80B.%(format_id).40B.%(ext)s"},
        "format": options.format or chosen,
        "ratelimit": options.rate_limit,
        "continuedl": True,
        # A list is refused, so nothing in it has to be looked at.
        "extract_flat": "in_playlist",
        "playlist_items": "1",
        "updatetime": False,
        "ffmpeg_location": ffmpeg_program(),
        # Sound alone stays byte for byte what the site serves.
        "fixup": "never" if options.only_audio else "detect_or_warn",
    }


def _caption_options(options: FetchOptions) -> dict[str, Any]:
    wanted = {"writesubtitles": True, "writeautomaticsub": True, "subtitleslangs": list(options.subtitles)}
    return _ydl_options(options) | wanted | {"skip_download": True, "subtitlesformat": "vtt/best"}


def _check_kind(info: dict[str, Any] | None) -> None:
    if info is None:
        raise FailedError(Failure(Kind.broken, "the site gave nothing"))
    if info.get("entries") is not None:
        raise FailedError(Failure(Kind.gone, "a list of videos, not one: give the videos, or search for them"))
    if info.get("live_status") in ("is_live", "is_upcoming"):
        raise FailedError(Failure(Kind.broken, "live, or not begun yet: ask again when it is over"))
