"""The list of downloaded videos, in the format of yt-dlp's `--download-archive`."""

import os
from pathlib import Path

from sca.errors import InputError, check_target, writing

__all__ = ["Archive"]


class Archive:
    """Keys of downloaded videos, one per line."""

    def __init__(self, path: Path) -> None:
        """Read the file, if it exists.

        Raises:
            InputError: It cannot be read.
            OutputError: It cannot be written.
        """
        self.path = path
        check_target(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as an archive: {error}") from error
        self._keys = {line.strip() for line in lines}

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        """Append a key, synced."""
        if key in self._keys:
            return
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{key}\n")
                file.flush()
                os.fsync(file.fileno())
        self._keys.add(key)
