"""Start of Ray on this machine, loopback only, and the connection to a cluster."""

import logging
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sca.cores import usable_cores
from sca.errors import MissingToolError, UpstreamError
from sca.textutil import first_line

__all__ = ["Cluster", "connect", "set_switches"]

_SWITCHES = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, workers would build the environment anew and hang
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
_STARTS = 3
"""On a busy machine the head of Ray may miss its own time limits."""
_STORE_BYTES = 128 << 20
"""Results of jobs are small: sound goes to files."""
_PROBE_S = 5.0
"""How long an address may take to accept a connection. Ray tries for 75 s, and then ends the process."""
_ADVICE = "start it with ray start --head, and give its address with --address HOST:PORT"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection to Ray.

    Attributes:
        ray: The module `ray`.
        folder: The temporary files of a Ray that this process started; None for a running cluster.
    """

    ray: Any
    folder: Path | None

    def close(self) -> None:
        """Leave the cluster. A Ray that this process started ends, also what is left of a failed start."""
        ours: list[Any] = []
        try:
            ours = _processes(self.folder)
            with suppress(Exception):
                self.ray.shutdown()
        finally:  # also after a second interrupt, which may come while the processes are looked up
            for process in ours or _processes(self.folder):
                with suppress(Exception):
                    process.kill()
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)


def set_switches() -> None:
    """Set what Ray reads from the environment before it is imported."""
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)


def connect(address: str | None, workers: int) -> Cluster:
    """Connect to a cluster, or start one.

    Args:
        address: The address of a cluster; None starts Ray here.
        workers: Processors of a Ray that is started here; 0 is all.

    Raises:
        MissingToolError: Ray is not installed.
        UpstreamError: The cluster cannot be reached, or Ray cannot be started.
    """
    set_switches()
    try:
        import ray
    except ImportError as error:
        raise MissingToolError("--executor ray needs the package ray", hint="pip install 'sca-duplex[ray]'") from error
    _silence(ray)
    if address is not None:
        return _join(ray, address)
    for _ in range(_STARTS - 1):
        with suppress(Exception):
            return _start(ray, workers)
    try:
        return _start(ray, workers)
    except Exception as error:
        raise UpstreamError(
            f"Ray cannot be started: {first_line(error)}", hint="--executor local needs no Ray"
        ) from error


def _join(ray: Any, address: str) -> Cluster:
    _probe(address)
    try:
        ray.init(address=address, **_QUIET)
    except Exception as error:
        where = "no Ray cluster was found" if address == "auto" else f"the Ray cluster at {address} cannot be reached"
        raise UpstreamError(f"{where}: {first_line(error)}", hint=_ADVICE) from error
    return Cluster(ray, None)


def _probe(address: str) -> None:
    """Check that something listens at an address HOST:PORT, also at the one that `auto` means.

    Raises:
        UpstreamError: Nothing does.
    """
    named = _automatic() if address == "auto" else address
    if named is None:
        return  # Ray looks for processes of a cluster on this machine, and reports at once if there are none
    found = urlsplit(named if "://" in named else f"//{named}")
    try:
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise UpstreamError(f"{named} is not the address of a Ray cluster", hint=_ADVICE)
    try:
        socket.create_connection((host, port), timeout=_PROBE_S).close()
    except OSError as error:
        raise UpstreamError(f"no Ray cluster answers at {named}: {error.strerror or error}", hint=_ADVICE) from error


def _automatic() -> str | None:
    """Return the address that Ray takes for `auto`: of the environment, or what `ray start` left, even if it has ended."""
    with suppress(OSError):
        left = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", "ray_current_cluster").read_text()
        return os.environ.get("RAY_ADDRESS") or left.strip()
    return os.environ.get("RAY_ADDRESS") or None


def _silence(ray: Any) -> None:
    """Keep Ray from writing to the output of the command: standard output may be JSON."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Reports of dead workers go to standard output; we report the items. Ray 2.59 has no public way to stop them: the thread
    # `listen_error_messages` starts in every driver, whatever `log_to_driver`, `RAY_LOG_TO_DRIVER` and the level are.
    ray._private.worker.print_to_stdstream = lambda *arguments, **options: None


def _start(ray: Any, workers: int) -> Cluster:
    cluster = Cluster(ray, Path(tempfile.mkdtemp(prefix="sca-ray-")))
    try:
        ray.init(
            address="local",
            num_cpus=workers or usable_cores(),
            object_store_memory=_STORE_BYTES,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(cluster.folder),
            **_QUIET,
        )
    except BaseException:
        cluster.close()
        raise
    return cluster


def _processes(folder: Path | None) -> list[Any]:
    """Return the processes below this one that belong to the Ray with these temporary files; none of a running cluster."""
    import psutil

    if folder is None:
        return []
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if str(folder) in " ".join(child.cmdline()) or child.cmdline()[0].startswith("ray::"):
                found.append(child)
    return found
