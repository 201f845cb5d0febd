"""Requests to the file systems of URLs: a cut connection is tried again, and every error is one of sca.

The libraries of S3, the hub and HTTP have their own trees of exceptions, most of them no `OSError`; they are recognised
by their package, because importing the packages here would require all of them.
"""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from typing_extensions import override

from sca.distribution import install_packages
from sca.errors import InputError, MissingToolError, ScaError, UpstreamError
from sca.textutil import first_line

__all__ = ["RangeFile", "connect", "is_network_error", "requesting", "try_again"]

Result = TypeVar("Result")

_HTTP_PACKAGES = frozenset(
    {"aiobotocore", "aiohttp", "botocore", "gcsfs", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"}
)
# huggingface_hub (httpx) and s3fs (botocore) try these again by themselves.
_TRIED_AGAIN = frozenset({"aiobotocore", "botocore", "huggingface_hub", "httpcore", "httpcore2", "httpx", "httpx2"})
_PAUSES_S = (0.5, 2.0)  # before the second and the third try
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_CREDENTIALS = {
    "hf": "log in with `hf auth login`, or set HF_TOKEN",
    "s3": "give the keys as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile of ~/.aws, or storage_options",
}
_REFUSED = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")


def connect(url: str, options: dict[str, object]) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Args:
        url: The URL.
        options: Arguments of the file system.

    Raises:
        MissingToolError: The package of the file system is not installed.
        InputError: No file system has the protocol, or the options are not valid.
    """
    from fsspec.core import url_to_fs

    protocol = _protocol(url)
    try:
        system, path = url_to_fs(url, **options)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        hint = install_packages(package) if package else "install the package that fsspec names"
        raise MissingToolError(f"{url} needs a package: {first_line(error)}", hint=hint) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{url} cannot be opened: {first_line(error)}") from error
    return system, path


@contextmanager
def requesting(url: str, action: str = "read") -> Iterator[None]:
    """Turn the errors of requests into those of sca.

    Args:
        url: What is requested, for messages.
        action: What is done with it, for messages: read, written or deleted.

    Raises:
        FileNotFoundError: It does not exist.
        UpstreamError: It cannot be read, written or deleted.
    """
    try:
        yield
    except (ScaError, FileNotFoundError):
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(url) from error
    except Exception as error:
        if not is_network_error(error):
            raise
        raise UpstreamError(f"{url} cannot be {action}: {first_line(error)}", hint=_hint(url, error)) from error


def try_again(request: Callable[[], Result]) -> Result:
    """Return the result of a request; after a cut connection or a time-out, try it up to two times more."""
    for pause_s in _PAUSES_S:
        try:
            return request()
        except Exception as error:
            if not _is_cut(error):
                raise
            time.sleep(pause_s)
    return request()


def is_network_error(error: Exception) -> bool:
    """Return whether an error is one of the system or of an HTTP library, not of a program."""
    return isinstance(error, OSError) or _package(error) in _HTTP_PACKAGES


class RangeFile(io.RawIOBase):
    """A file at a URL; every read is one request."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        """Create the file at its start.

        Args:
            read_range: Returns the bytes from an offset, given as offset and number.
            size: The size of the file.
        """
        super().__init__()
        self._read_range = read_range
        self._size = size
        self._at = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._at

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    @override
    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        content = self._read_range(self._at, wanted) if wanted else b""
        self._at += len(content)
        return content

    @override
    def readall(self) -> bytes:
        return self.read()

    @override
    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _protocol(url: str) -> str:
    return url.partition("://")[0].rpartition("::")[2]


def _package(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def _is_cut(error: Exception) -> bool:
    """Return whether a request failed in a way that another try can mend."""
    if _package(error) in _TRIED_AGAIN:
        return False
    return isinstance(error, ConnectionError | TimeoutError) or _package(error) in _HTTP_PACKAGES


def _hint(url: str, error: Exception) -> str | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ in _REFUSED:
        return _CREDENTIALS.get(_protocol(url), "give the credentials of its server")
    return "check the connection and try again"
