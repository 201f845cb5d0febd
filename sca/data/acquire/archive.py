"""The list of downloaded videos, in the format of yt-dlp's `--download-archive`."""

import os
import re
from pathlib import Path
from typing import BinaryIO

from sca.errors import InputError, check_target, writing
from sca.files.bounded import read_whole
from sca.textutil import printable

__all__ = ["Archive"]

_MAX_LINE_BYTES = 1 << 16
_KEY = re.compile(r"generic .+|\S+ \S+")


class Archive:
    """Keys of downloaded videos, one per line."""

    def __init__(self, path: Path) -> None:
        """Read the file, if it exists.

        Raises:
            InputError: It cannot be read, or is another text.
            OutputError: It cannot be written.
        """
        self.path = path
        check_target(path)
        try:
            lines = read_whole(path).decode().split("\n") if path.exists() else []
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as an archive: {error}") from error
        self._keys = {line.strip() for line in lines}
        found = sorted(self._keys - {""})
        if found and not any(map(_KEY.fullmatch, found)):
            raise InputError(
                f"{path} is not a list of downloads: it has {printable(found[0][:60])!r}",
                hint="its lines have a site and an id, such as youtube dQw4w9WgXcQ; move it away, or give --archive FILE",
            )

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        """Append a key, synced.

        Raises:
            ValueError: The key would be more than one line, see `sca.data.acquire.media_file.archive_key`.
            OutputError: The file cannot be written.
        """
        if not key.isprintable():
            raise ValueError(f"{key!r} is not one line")
        if key not in self._keys:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a+b") as file:
                    line = f"{key}\n".encode()
                    file.write(_end_of_line(file, line) + line)
                    file.flush()
                    os.fsync(file.fileno())
            self._keys.add(key)


def _end_of_line(file: BinaryIO, line: bytes) -> bytes:
    """Return a newline if the last line has none, because the archive was written by hand.

    A last line that is the beginning of the new one was cut off by a crash while the same key was added: it is removed.
    """
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - _MAX_LINE_BYTES)
    file.seek(start)
    last = file.read().rpartition(b"\n")[2]
    if last and line.startswith(last):
        file.truncate(end - len(last))
        return b""
    return b"\n" if last else b""
