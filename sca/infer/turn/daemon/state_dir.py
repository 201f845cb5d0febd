"""The folder of a background turn server: who runs in it, its log, and a lock for who starts and stops it.

It holds `server.json` (who it is), `server.log` with its predecessors, and `lock`; a lock on the folder itself says that the log
is being written, which goes on for a moment after the server has ended. A `server.json` that a crash left behind is
recognised, because it also says when the process began, and what stands in its command.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sca.errors import UsageError, writing
from sca.infer.turn.daemon import process_id as process

__all__ = ["Running", "StateDir"]


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started.   since: when its process began, in its system's words.   mark: stands in its command."""

    pid: int
    since: str
    url: str
    mark: str

    def alive(self) -> bool:
        """Whether it still runs: the same process with the same command."""
        return process.is_running(self.pid, self.since) and self.mark in process.command_line(self.pid)


class StateDir:
    """The folder of a server; it need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._pid_file = folder / "server.json"
        self._lock = folder / "lock"

    def make(self) -> None:
        """Make the folder, for its owner only: a log may say who asked. Raises `OutputError`."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def running(self) -> Running | None:
        """The server that runs here. A record of one that does not run any more, or that cannot be read, is none."""
        try:
            document = json.loads(self._pid_file.read_text())
            server = Running(**{field.name: document[field.name] for field in fields(Running)})
            return server if isinstance(server.pid, int) and server.alive() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stale(self) -> bool:
        """Whether there is a record, and it is of no server that runs."""
        return self._pid_file.exists() and self.running() is None

    def record(self, server: Running) -> None:
        """Write who runs here, all at once."""
        with writing(self._pid_file):
            partial = self._pid_file.with_suffix(".partial")
            partial.write_text(json.dumps(asdict(server)) + "\n")
            partial.replace(self._pid_file)

    def forget(self) -> None:
        """Remove the record."""
        self._pid_file.unlink(missing_ok=True)

    @contextmanager
    def logging(self) -> Iterator[int]:
        """A file descriptor for the process that writes the log: until the last who has it closes it, there is a writer."""
        held = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_SH)
            yield held
        finally:
            os.close(held)

    def active(self) -> bool:
        """Whether a server runs here, or the last words of one are still being written to the log."""
        return self.running() is not None or self._written()

    def _written(self) -> bool:
        with suppress(OSError):
            probe = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(probe)
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other starts and stops out of this folder. Raises `UsageError` when one is under way."""
        self.make()
        with writing(self._lock):
            file = self._lock.open("a")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"another start or stop is under way in {self.folder}") from error
            yield

    def purge(self) -> list[Path]:
        """Remove what was made here and nothing else; the folder too when that leaves it empty. Returns what is gone."""
        gone = [path for path in self._made() if path.is_file()]
        for path in gone:
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
            gone.append(self.folder)
        return gone

    def _made(self) -> Iterator[Path]:
        yield from (self._pid_file, self._pid_file.with_suffix(".partial"), self._lock, self.log)
        yield from (path for path in sorted(self.folder.glob("server.log.*")) if path.suffix[1:].isdecimal())
