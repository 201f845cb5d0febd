"""Folders of data sets: on disk, or at a URL of fsspec such as `hf://datasets/owner/name` or `s3://bucket/name`.

Files are read whole or in part. What a URL needs beyond fsspec is a package of its own: `hf://` comes with
huggingface_hub, `s3://` needs s3fs.
"""

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from sca.errors import InputError
from sca.textutil import first_line
from sca.urls.requests import RangeFile, connect, requesting, try_again

__all__ = ["DataFolder"]

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class DataFolder:
    """A folder that can be read. It can be pickled, and used after a fork: each process connects itself.

    Attributes:
        name: The path or the URL, for messages.
        local: The folder on disk; None for a URL.
    """

    def __init__(self, path: str | os.PathLike[str], storage_options: Mapping[str, object] | None = None) -> None:
        """Create the folder without reading it.

        Args:
            path: A path, a URL of fsspec, or `owner/name` of the hub if neither that path nor its parent exists.
            storage_options: Arguments of the file system of a URL, such as keys and endpoints.
        """
        name = _hub_url(str(path)) or str(path)
        self.name = name.rstrip("/") if "://" in name else name
        self.local = None if "://" in self.name else Path(path)
        self._options = dict(storage_options or {})
        self._system: tuple[int, Any, str] | None = None

    def __str__(self) -> str:
        return self.name

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_system": None}

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: The file does not exist.
            InputError: The file cannot be read (on disk).
            UpstreamError: The file cannot be read (at a URL).
        """
        if self.local is not None:
            with _reading(self.local / name):
                return (self.local / name).read_bytes()
        system, root = self._connect()
        with requesting(f"{self.name}/{name}"):
            content: bytes = try_again(lambda: system.cat_file(f"{root}/{name}"))
            return content

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Return `size` bytes of a file from `offset`, fewer at its end. Errors are those of `read`."""
        if self.local is not None:
            with _reading(self.local / name), (self.local / name).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        system, root = self._connect()
        # File systems without asynchronous requests would read 5 MB ahead.
        options = {} if system.async_impl else {"cache_type": "none"}
        with requesting(f"{self.name}/{name}"):
            content: bytes = try_again(
                lambda: system.cat_file(f"{root}/{name}", start=offset, end=offset + size, **options)
            )
            return content

    def open(self, name: str, *, ahead: int = 0) -> IO[bytes]:
        """Open a file for reading and seeking. Errors are those of `read`.

        Args:
            name: The file.
            ahead: Bytes that a read of a URL requests at least; with 0 every read is one request of its own size.
        """
        if self.local is not None:
            with _reading(self.local / name):
                return (self.local / name).open("rb")
        system, root = self._connect()
        with requesting(f"{self.name}/{name}"):
            size: int = try_again(lambda: system.info(f"{root}/{name}"))["size"]
        file = RangeFile(partial(self.read_range, name), size)
        return cast(IO[bytes], io.BufferedReader(file, ahead) if ahead else file)

    def identity(self, name: str) -> str:
        """Return a text that changes when the content of a file at a URL changes. Errors are those of `read`."""
        system, root = self._connect()
        with requesting(f"{self.name}/{name}"):
            return str(try_again(lambda: system.ukey(f"{root}/{name}")))

    def download(self, name: str, path: Path) -> None:
        """Copy a file at a URL to an existing folder on disk. Errors are those of `read`."""
        system, root = self._connect()
        with requesting(f"{self.name}/{name}"):
            try_again(lambda: system.get_file(f"{root}/{name}", str(path)))

    def _connect(self) -> tuple[Any, str]:
        """Return the file system of this process and the path in it."""
        if self._system is None or self._system[0] != os.getpid():
            with requesting(self.name):
                self._system = (os.getpid(), *connect(self.name, self._options))
        return self._system[1], self._system[2]


def _hub_url(path: str) -> str | None:
    """Return the URL of a data set on the hub if a path is its id; None if it is or could be a path on disk."""
    if not _HUB_ID.fullmatch(path) or Path(path).exists() or Path(path).parent.exists():
        return None
    return f"hf://datasets/{path}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the errors of a file on disk into those of sca."""
    try:
        yield
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
