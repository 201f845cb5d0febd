"""Folders of data sets: on disk, or at a URL of fsspec such as `hf://datasets/owner/name` or `s3://bucket/name`.

Files are read whole or in part. What a URL needs beyond fsspec is a package of its own: `hf://` comes with
huggingface_hub, `s3://` needs s3fs.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sca.errors import InputError, MissingToolError, ScaError, UpstreamError
from sca.textutil import first_line

__all__ = ["DataFolder"]


class DataFolder:
    """A folder that can be read. It can be pickled, and used after a fork: each process connects itself.

    Attributes:
        name: The path or the URL, for messages.
        local: The folder on disk; None for a URL.
    """

    def __init__(self, path: str | os.PathLike[str], storage_options: Mapping[str, object] | None = None) -> None:
        """Create the folder without reading it.

        Args:
            path: A path, or a URL of fsspec.
            storage_options: Arguments of the file system of a URL, such as keys and endpoints.
        """
        self.name = str(path).rstrip("/") if "://" in str(path) else str(path)
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
        with self._reading(name):
            if self.local is not None:
                return (self.local / name).read_bytes()
            system, root = self._connect()
            content: bytes = system.cat_file(f"{root}/{name}")
            return content

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Return `size` bytes of a file from `offset`, fewer at its end. Errors are those of `read`."""
        with self._reading(name):
            if self.local is not None:
                with (self.local / name).open("rb") as file:
                    file.seek(offset)
                    return file.read(size)
            system, root = self._connect()
            # File systems without asynchronous requests would read 5 MB ahead.
            options = {} if system.async_impl else {"cache_type": "none"}
            content: bytes = system.cat_file(f"{root}/{name}", start=offset, end=offset + size, **options)
            return content

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading and seeking. Errors are those of `read`."""
        with self._reading(name):
            if self.local is not None:
                return (self.local / name).open("rb")
            system, root = self._connect()
            file: IO[bytes] = system.open(f"{root}/{name}", "rb")
            return file

    def _connect(self) -> tuple[Any, str]:
        """Return the file system of this process and the path in it."""
        if self._system is None or self._system[0] != os.getpid():
            from fsspec.core import url_to_fs

            try:
                system, root = url_to_fs(self.name, **self._options)
            except ImportError as error:
                raise MissingToolError(
                    f"{self.name} needs a package: {first_line(error)}", hint="s3:// needs s3fs, gs:// needs gcsfs"
                ) from error
            except ValueError as error:
                raise InputError(f"{self.name} cannot be opened: {first_line(error)}") from error
            self._system = (os.getpid(), system, root)
        return self._system[1], self._system[2]

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (ScaError, FileNotFoundError):
            raise
        except NotADirectoryError as error:
            raise FileNotFoundError(name) from error
        except OSError as error:
            if self.local is not None:
                raise InputError(f"{self.local / name} cannot be read: {first_line(error)}") from error
            raise UpstreamError(f"{self.name}/{name} cannot be read: {first_line(error)}") from error
