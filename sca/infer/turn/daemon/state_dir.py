"""The state directory of a background turn server: its record, its log, and a lock for starting and stopping it.

Files: `server.json` (the record), `server.log` and its rotated predecessors, `lock`. A lock on the directory itself
indicates that the log is being written, which continues for a moment after the server has ended. A record that a crash
left behind is detected by the start time and the command line of the process.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sca.errors import MissingToolError, UsageError, writing
from sca.files.locks import HeldError, locked
from sca.infer.turn.daemon.process_id import command_line, is_running

try:
    import fcntl
except ImportError as error:
    hint = "sca turn serve runs the server in the foreground"
    raise MissingToolError("a turn server in the background needs Linux or macOS", hint=hint) from error

__all__ = ["ServerRecord", "StateDir"]


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A server that was started; the content of `server.json`.

    Attributes:
        pid: Its process.
        since: The start time of its process, see `process_id.start_time`.
        url: Its address.
        mark: A part of its command line.
    """

    pid: int
    since: str
    url: str
    mark: str

    def is_running(self) -> bool:
        """Return whether the same process with the same command is still running."""
        return is_running(self.pid, self.since) and self.mark in command_line(self.pid)


class StateDir:
    """The state directory of one server. It need not exist.

    Attributes:
        path: The directory.
        log: The log file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "server.log"
        self._record_file = path / "server.json"
        self._lock_file = path / "lock"

    def create(self) -> None:
        """Create the directory, readable by its owner only, because a log may contain addresses of clients.

        Raises:
            OutputError: The directory cannot be created.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def running(self) -> ServerRecord | None:
        """Return the running server; None if the record is missing, unreadable or stale."""
        try:
            document = json.loads(self._record_file.read_text())
            record = ServerRecord(**{field.name: document[field.name] for field in fields(ServerRecord)})
            return record if isinstance(record.pid, int) and record.is_running() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_stale(self) -> bool:
        """Return whether there is a record of a server that is not running."""
        return self._record_file.exists() and self.running() is None

    def write_record(self, record: ServerRecord) -> None:
        """Write the record atomically.

        Raises:
            OutputError: The record cannot be written.
        """
        with writing(self._record_file):
            partial = self._record_file.with_suffix(".partial")
            partial.write_text(json.dumps(asdict(record)) + "\n")
            partial.replace(self._record_file)

    def remove_record(self) -> None:
        """Remove the record."""
        self._record_file.unlink(missing_ok=True)

    @contextmanager
    def log_lock(self) -> Iterator[int]:
        """Hold the lock that indicates that the log is being written.

        Yields:
            A file descriptor to pass on to the process that writes the log. The lock is held until all copies are
            closed.
        """
        # Not filelock: its locks cannot be inherited by a child process.
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield descriptor
        finally:
            os.close(descriptor)

    def is_active(self) -> bool:
        """Return whether a server is running, or the rest of its output is still being written to the log."""
        return self.running() is not None or self._log_is_locked()

    def _log_is_locked(self) -> bool:
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
        return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Prevent other processes from starting or stopping the server during the block.

        Raises:
            UsageError: Another process is starting or stopping it.
            OutputError: The directory or the lock file cannot be created.
        """
        self.create()
        with ExitStack() as held:
            try:
                held.enter_context(locked(self._lock_file))
            except HeldError as error:
                raise UsageError(f"another start or stop is in progress in {self.path}") from error
            yield

    def purge(self) -> list[Path]:
        """Remove the files of the server, and the directory if it is then empty.

        Returns:
            What was removed.
        """
        removed = [path for path in self._files() if path.is_file()]
        for path in removed:
            path.unlink(missing_ok=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()
            removed.append(self.path)
        return removed

    def _files(self) -> Iterator[Path]:
        yield from (self._record_file, self._record_file.with_suffix(".partial"), self._lock_file, self.log)
        yield from (path for path in sorted(self.path.glob("server.log.*")) if path.suffix[1:].isdecimal())
