"""The decoder processes of this process: started when needed, and used again."""

import atexit
import os
import threading
from functools import cache
from pathlib import Path

from sca.audio.decoder.process import DecoderProcess, Limits
from sca.cores import usable_cores
from sca.errors import InputError

__all__ = ["DecoderPool", "default_pool"]

_MOST_REQUESTS = 1000
"""After so many requests, a process is replaced: what FFmpeg leaks counts as memory of the next file."""


class DecoderPool:
    """Decoder processes. A process that crashed, hung or reached a limit is never used again.

    Args:
        limits: What each process may use.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._idle: list[DecoderProcess] = []
        self._most_idle = usable_cores()
        self._inherited: list[DecoderProcess] = []
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):  # Windows has no fork
            os.register_at_fork(after_in_child=self._forget)

    def take(self, path: Path) -> DecoderProcess:
        """Return a process that nothing else uses.

        Args:
            path: The file that it will read, for messages.

        Raises:
            InputError: No process can be started.
        """
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive:
                    return process
                process.stop()
        try:
            return DecoderProcess(self._limits)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"no decoder process can be started to read {path}: {reason}") from error

    def give(self, process: DecoderProcess) -> None:
        """Take back a process."""
        with self._lock:
            if process.is_usable and process.requests < _MOST_REQUESTS and len(self._idle) < self._most_idle:
                self._idle.append(process)
                return
        process.stop()

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.stop()

    def _forget(self) -> None:
        """Leave the processes to the parent, of which this process is a fork."""
        self._lock = threading.Lock()
        self._inherited += self._idle  # never used, and never collected
        self._idle = []


@cache
def default_pool() -> DecoderPool:
    """Return the pool of this process."""
    return DecoderPool()
