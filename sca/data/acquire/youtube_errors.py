"""Classify the errors of yt-dlp: whether an error concerns one video or all requests, and whether a retry may help."""

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sca.distribution import upgrade
from sca.errors import OutputError, ScaError, UpstreamError

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL

__all__ = ["Failure", "FailureKind", "classify", "clean_message"]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TRAILERS = re.compile(
    r"(; please report this issue on | \(caused by |\. Use --cookies|\. See {2}?https|; see {2}?https).*", re.DOTALL
)
_PREFIX = re.compile(r"^(ERROR: )?(\[[\w:+.-]+\] )?([\w-]{11}: )?(Got error: )?")
# The site refuses for now, or refuses anonymous users: wait, or use cookies.
_REFUSED = re.compile(
    r"not a bot|rate.?limit|try again later|too many requests|captcha|content isn.t available, try", re.I
)
# The video may become available.
_LATER = re.compile(
    r"premieres? in|will begin in|live event has ended|no video formats found|failed to extract|unable to extract|processing",
    re.I,
)
# The site shows the video to certain accounts only.
_NEEDS_ACCOUNT = re.compile(
    r"\bprivate\b|members?.only|join this channel|(confirm|verify) your age|age.?restricted|sign in|log ?in\b|logged.in"
    r"|registered users|requires payment|\bpremium\b",
    re.I,
)
_ACCOUNT_HINT = "an account that may see it is needed: give its cookies with --cookies-from-browser or --cookies"
_ROBOT_HINT = "wait a while, or give --cookies-from-browser or --cookies"
# Warnings that explain why no format is left, or why a page was refused.
_EXPLAINS = re.compile(
    r"\bSABR\b|cookies|PO Token|\bDRM\b|missing a url|challenge|sign in|age.?restricted|your country", re.I
)
_CLIENT = re.compile(r"\S+ client")
_MAX_EXPLANATIONS = 2
_GAVE_UP = re.compile(r"giving up after", re.IGNORECASE)
_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FailureKind(StrEnum):
    """Why a video could not be downloaded."""

    unreachable = "unreachable"  # no answer: no network, proxy down
    refused = "refused"  # the site does not serve this client for now: 429, 403, "are you a bot"
    media = "media"  # the page was loaded, its media were not
    gone = "gone"  # private, removed, members only: a retry does not help
    broken = "broken"  # the content differs from what the site announced, or cannot be parsed
    disk = "disk"  # the file cannot be written


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified error of yt-dlp.

    Attributes:
        kind: What failed.
        reason: The message on one line.
        status: The HTTP status, if the error is one.
    """

    kind: FailureKind
    reason: str
    status: int | None = None

    @property
    def retryable(self) -> bool:
        """Whether another run may succeed."""
        return self.kind is not FailureKind.gone

    def as_error(self, activity: str) -> ScaError:
        """Return the error that ends a run because of this failure.

        Args:
            activity: What was being done, such as "searching".
        """
        if self.kind is FailureKind.disk:
            hint = "free some space or give another folder; finished files are kept, and a second run continues"
            return OutputError(f"{activity}: {self.reason}", hint=hint)
        hints = {
            FailureKind.unreachable: "check the network and --proxy, then run the same command again",
            FailureKind.refused: "wait a while, or give --cookies-from-browser; then run the same command again",
            FailureKind.broken: f"update yt-dlp if this goes on: {upgrade('yt-dlp')}",
        }
        return UpstreamError(f"{activity}: {self.reason}", hint=hints.get(self.kind))


def classify(error: BaseException, ydl: "YoutubeDL | None" = None) -> Failure:
    """Classify an exception of yt-dlp. The reason includes what yt-dlp warned about, and the options that may help.

    Args:
        error: The exception.
        ydl: The object that raised it; its logger has details of some errors.
    """
    failure = _classify(error, ydl)
    details = [] if ydl is None else _explanations(failure, ydl.params["logger"].warnings)
    if _REFUSED.search(failure.reason) and "not a bot" in failure.reason:
        details.append(_ROBOT_HINT)
    elif failure.kind is FailureKind.gone and _NEEDS_ACCOUNT.search("; ".join([failure.reason, *details])):
        details.append(_ACCOUNT_HINT)
    return replace(failure, reason=f"{failure.reason} ({'; '.join(details)})") if details else failure


def _explanations(failure: Failure, warnings: Sequence[str]) -> list[str]:
    """Return the warnings that may explain a failure of one video, without repetitions."""
    if failure.kind not in (FailureKind.gone, FailureKind.broken, FailureKind.media):
        return []
    cleaned = (clean_message(text).rstrip(".") for text in warnings)
    # yt-dlp repeats a warning for every client of the site that it tries.
    found = {_CLIENT.sub("", text): text for text in cleaned if _EXPLAINS.search(text) and text not in failure.reason}
    return list(found.values())[:_MAX_EXPLANATIONS]


def _classify(error: BaseException, ydl: "YoutubeDL | None") -> Failure:
    chain = _chain(error)
    text = _message(error)
    disk = next((e for e in chain if isinstance(e, OSError) and e.errno in _DISK_ERRNOS), None)
    if disk is not None or "Errno 28]" in text:
        return Failure(FailureKind.disk, f"the disk is full ({_message(disk) if disk else text})")
    for cause in chain:
        failure = _by_class(cause, text, media=_is_media(error))
        if failure is not None:
            return failure
    if _REFUSED.search(text):
        return Failure(FailureKind.refused, text)
    if _GAVE_UP.search(text):
        http_error = re.search(r"HTTP Error (\d{3})", text)
        status = int(http_error[1]) if http_error else None
        return Failure(FailureKind.media, text if status is None else f"HTTP {status} for the media", status)
    if "any player response" in text and ydl is not None and (request := ydl.params["logger"].failed_request):
        kind = FailureKind.refused if "HTTP Error" in request else FailureKind.unreachable
        return Failure(kind, request)
    expected = any(getattr(e, "expected", False) for e in chain)
    return Failure(FailureKind.gone if expected and not _LATER.search(text) else FailureKind.broken, text)


def _by_class(error: BaseException, text: str, *, media: bool) -> Failure | None:
    """Classify one exception of a chain by its class.

    Args:
        error: The exception.
        text: The message of the whole chain.
        media: Whether the media were being downloaded.
    """
    from yt_dlp.networking.exceptions import HTTPError, ProxyError, TransportError
    from yt_dlp.utils import ContentTooShortError, GeoRestrictedError, UnsupportedError

    match error:
        case UnsupportedError():
            return Failure(FailureKind.gone, "yt-dlp does not support this site")
        case GeoRestrictedError():
            return Failure(FailureKind.gone, text)
        case ContentTooShortError():
            return Failure(FailureKind.media, text)
        case HTTPError(status=status):
            return _by_status(status, text, media=media)
        case ProxyError():
            return Failure(FailureKind.unreachable, f"the proxy cannot be reached, or refuses{_system_cause(text)}")
        case TransportError():
            return Failure(FailureKind.media if media else FailureKind.unreachable, text)
        case PermissionError() | IsADirectoryError() | NotADirectoryError():
            return Failure(FailureKind.disk, f"cannot be written ({_message(error)})")
    return None


def _by_status(status: int, text: str, *, media: bool) -> Failure:
    if media:
        return Failure(FailureKind.media, f"HTTP {status} for the media", status)
    if status in (403, 429) or status >= 500:
        return Failure(FailureKind.refused, text, status)
    return Failure(FailureKind.gone if status in (404, 410) else FailureKind.broken, text, status)


def _is_media(error: BaseException) -> bool:
    return "unable to download video data" in str(error) or _GAVE_UP.search(str(error)) is not None


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and its causes, by Python's links and by those of yt-dlp."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or cause in found:
            continue
        found.append(cause)
        exc_info = getattr(cause, "exc_info", None) or (None, None)
        waiting += [exc_info[1], getattr(cause, "cause", None), cause.__cause__, cause.__context__]
    return found


def _system_cause(text: str) -> str:
    """Return the message of the operating system that is in a longer message, in brackets."""
    found = re.search(r"\[Errno [^\]]*\] ([\w ]+)", text)
    return f" ({found[1]})" if found else ""


def _message(error: BaseException) -> str:
    return clean_message(str(error)) or type(error).__name__


def clean_message(text: str) -> str:
    """Return a message of yt-dlp on one line, without its prefixes and its requests for reports."""
    text = _PREFIX.sub("", _TRAILERS.sub("", _ANSI.sub("", text)).strip())
    return " ".join(text.split())
