"""What yt-dlp's errors mean: whether one video is the matter or the way to all of them, and whether to ask again."""

import errno
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sca.errors import OutputError, ScaError, UpstreamError

__all__ = ["Failure", "Kind", "classify", "tidy"]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TRAILERS = re.compile(
    r"(; please report this issue on | \(caused by |\. Use --cookies|\. See {2}?https|; see {2}?https).*", re.DOTALL
)
_PREFIX = re.compile(r"^(ERROR: )?(\[[\w:+.-]+\] )?([\w-]{11}: )?(Got error: )?")
# Said by the site of a video that may be had later, or by somebody else: wait, or give cookies.
_REFUSED = re.compile(
    r"not a bot|rate.?limit|try again later|too many requests|captcha|content isn.t available, try", re.I
)
_LATER = re.compile(
    r"premieres? in|will begin in|live event has ended|no video formats found|failed to extract|unable to extract|processing",
    re.I,
)
_GAVE_UP = re.compile(r"giving up after", re.IGNORECASE)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Kind(StrEnum):
    """What kept a video from coming."""

    unreachable = "unreachable"  # no answer at all: no network, proxy down
    refused = "refused"  # the site does not serve us for now: 429, 403, "are you a bot"
    media = "media"  # the page came, its media did not
    gone = "gone"  # private, removed, members only: asking again is no use
    broken = "broken"  # what came is not what was promised, or could not be understood
    disk = "disk"  # cannot be written


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of yt-dlp's in our words. status: of HTTP, if that was it."""

    kind: Kind
    reason: str
    status: int | None = None

    @property
    def retryable(self) -> bool:
        """Whether another run may succeed."""
        return self.kind is not Kind.gone

    def as_error(self, what: str) -> ScaError:
        """The error that ends a run because of this. what: what was being done, as in "searching"."""
        if self.kind is Kind.disk:
            hint = "free some space or give another folder; what is finished is kept and a second run goes on"
            return OutputError(f"{what}: {self.reason}", hint=hint)
        hints = {
            Kind.unreachable: "check the network and --proxy, then run the same command again",
            Kind.refused: "wait a while, or give --cookies-from-browser; then run the same command again",
            Kind.broken: "update yt-dlp if this goes on: uv sync --upgrade-package yt-dlp",
        }
        return UpstreamError(f"{what}: {self.reason}", hint=hints.get(self.kind))


def classify(error: BaseException, ydl: Any = None) -> Failure:
    """What an exception out of yt-dlp means. ydl: the object it came out of, which knows more of some."""
    from yt_dlp.networking.exceptions import HTTPError, ProxyError, TransportError
    from yt_dlp.utils import ContentTooShortError, GeoRestrictedError, UnsupportedError

    chain = _chain(error)
    text = _clean(error)
    disk = next((one for one in chain if isinstance(one, OSError) and one.errno in _FULL), None)
    if disk is not None or "Errno 28]" in text:
        return Failure(Kind.disk, f"the disk is full ({_clean(disk) if disk else text})")
    for one in chain:
        match one:
            case UnsupportedError():
                return Failure(Kind.gone, "yt-dlp knows no site with this address")
            case GeoRestrictedError():
                return Failure(Kind.gone, text)
            case ContentTooShortError():
                return Failure(Kind.media, text)
            case HTTPError(status=status):
                return _of_status(status, text, media=_is_media(error))
            case ProxyError():
                return Failure(Kind.unreachable, f"the proxy cannot be reached, or refuses{_cause(text)}")
            case TransportError():
                return Failure(Kind.media if _is_media(error) else Kind.unreachable, text)
            case PermissionError() | IsADirectoryError() | NotADirectoryError():
                return Failure(Kind.disk, f"cannot be written ({_clean(one)})")
    if _REFUSED.search(text):
        return Failure(Kind.refused, text)
    if _GAVE_UP.search(text):
        found = re.search(r"HTTP Error (\d{3})", text)
        status = int(found[1]) if found else None
        return Failure(Kind.media, text if status is None else f"HTTP {status} for the media", status)
    if "any player response" in text and ydl is not None and (said := ydl.params["logger"].no_answer):
        return Failure(Kind.refused if "HTTP Error" in said else Kind.unreachable, said)
    expected = any(getattr(one, "expected", False) for one in chain)
    return Failure(Kind.gone if expected and not _LATER.search(text) else Kind.broken, text)


def _of_status(status: int, text: str, *, media: bool) -> Failure:
    if media:
        return Failure(Kind.media, f"HTTP {status} for the media", status)
    if status in (403, 429) or status >= 500:
        return Failure(Kind.refused, text, status)
    return Failure(Kind.gone if status in (404, 410) else Kind.broken, text, status)


def _is_media(error: BaseException) -> bool:
    return "unable to download video data" in str(error) or _GAVE_UP.search(str(error)) is not None


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what caused it, by Python's own links and by yt-dlp's."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or one in found:
            continue
        found.append(one)
        info = getattr(one, "exc_info", None) or (None, None)
        waiting += [info[1], getattr(one, "cause", None), one.__cause__, one.__context__]
    return found


def _cause(text: str) -> str:
    """The operating system's words in a long message, in brackets."""
    found = re.search(r"\[Errno [^\]]*\] ([\w ]+)", text)
    return f" ({found[1]})" if found else ""


def _clean(error: BaseException) -> str:
    return tidy(str(error)) or type(error).__name__


def tidy(text: str) -> str:
    """One line without yt-dlp's decorations."""
    text = _PREFIX.sub("", _TRAILERS.sub("", _ANSI.sub("", text)).strip())
    return " ".join(text.split())
