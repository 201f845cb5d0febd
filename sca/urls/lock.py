"""One writer per URL: an object `.sca-url.lock` with the owner, which is written again while the owner lives.

Stores with conditional requests (S3, GCS) let only one of two writers create it. A lock that was not written again for
`LOCK_EXPIRES_S`, by the clock of the server, or whose process on this machine has ended, is taken over.
"""

import json
import os
import socket
import uuid
from typing import Any

from sca.errors import InputError, OutputError
from sca.urls.manifest import OWN_FILES
from sca.urls.store import Store

__all__ = ["LOCK_EXPIRES_S", "SHARD", "UrlLock"]

LOCK_EXPIRES_S = 120.0
SHARD = "shard-"
"""What the names of the parts begin with that are shards of a run over the whole folder."""
_CLOCK = f"{OWN_FILES}.clock"


class UrlLock:
    """The lock of a URL."""

    def __init__(self, store: Store, part: str = "") -> None:
        """Create the lock without taking it.

        Args:
            store: The URL.
            part: The part of the folder that is locked; empty for all of it.
        """
        self._store = store
        self._name = f"{OWN_FILES}.{part}.lock" if part else f"{OWN_FILES}.lock"
        self._owner = {"owner": uuid.uuid4().hex, "host": socket.gethostname(), "process": os.getpid()}

    def take(self) -> str | None:
        """Take the lock.

        Returns:
            A remark if the lock of another run was taken over.

        Raises:
            InputError: Another run holds it.
            UpstreamError: The URL cannot be written.
        """
        remark = None
        for _ in range(3):
            if self._store.create(self._name, self._content()) and self._is_held():
                self._check_others()
                return remark
            holder = self._holder(self._name)
            if holder is None:
                continue
            where = f"process {holder.get('process')} on {holder.get('host')}"
            left_s = self._left_s(holder, self._name)
            if left_s > 0:
                raise InputError(
                    f"another run is writing to {self._store.url} ({where})",
                    hint=f"wait for it; if it was killed, run again in {left_s:.0f} s",
                )
            remark = f"took over the lock of {self._store.url} from a run that ended ({where})"
            self._store.delete([self._name])
        raise InputError(f"another run is writing to {self._store.url}", hint="wait for it")

    def renew(self) -> None:
        """Write the lock again.

        Raises:
            OutputError: Another run took it over, such as while this machine slept.
            UpstreamError: The URL cannot be written.
        """
        self.check()
        self._store.write(self._name, self._content())

    def check(self) -> None:
        """Check that this run still holds the lock. Errors are those of `renew`."""
        if not self._is_held():
            raise OutputError(f"another run took over {self._store.url}", hint="run again when it has ended")

    def release(self) -> None:
        """Delete the lock if this run holds it."""
        if self._is_held():
            self._store.delete([self._name])

    def _check_others(self) -> None:
        """Check that no run holds the whole folder while this one holds a shard, and the other way round.

        Raises:
            InputError: One does; this lock is released.
        """
        whole, shard = f"{OWN_FILES}.lock", f"{OWN_FILES}.{SHARD}"
        if self._name == whole:
            others = [name for name in self._store.names() if name.startswith(shard) and name.endswith(".lock")]
        else:
            others = [whole] if self._name.startswith(shard) else []
        for name in others:
            holder = self._holder(name)
            if holder is not None and self._left_s(holder, name) > 0:
                self.release()
                where = f"process {holder.get('process')} on {holder.get('host')}"
                raise InputError(f"another run is writing to {self._store.url} ({where})", hint="wait for it")

    def _left_s(self, holder: dict[str, Any], name: str) -> float:
        """Return how long the lock of a run is valid if the run does not renew it."""
        return 0.0 if self._has_ended(holder) else LOCK_EXPIRES_S - self._age_s(name)

    def _content(self) -> bytes:
        return json.dumps(self._owner).encode()

    def _is_held(self) -> bool:
        holder = self._holder(self._name)
        return holder is not None and holder.get("owner") == self._owner["owner"]

    def _holder(self, name: str) -> dict[str, Any] | None:
        """Return what a lock says; None without a lock, empty if it is damaged."""
        try:
            document = json.loads(self._store.read(name))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def _has_ended(self, holder: dict[str, Any]) -> bool:
        """Return whether the owner was a process of this machine that has ended."""
        if holder.get("host") != self._owner["host"] or os.name != "posix":
            return False
        try:
            os.kill(int(holder["process"]), 0)
        except ProcessLookupError:
            return True
        except (KeyError, TypeError, ValueError, OSError):
            return False
        return False

    def _age_s(self, name: str) -> float:
        """Return how long ago a lock was written, by the clock of the server."""
        self._store.write(_CLOCK, b"")
        try:
            return self._store.entry(_CLOCK).modified_s - self._store.entry(name).modified_s
        except FileNotFoundError:
            return 0.0  # it was released just now
        finally:
            self._store.delete([_CLOCK])
