"""Every error a user can meet, and the exit code it ends in.

    ScaError                     1   a bug of ours, unless a subclass says otherwise
    ├── UsageError               2   the command line does not make sense
    ├── ConfigError              3   a setting is unknown, of the wrong type, or does not fit another
    │   └── GridError            3   frames, chunks and sample rates do not divide
    ├── MissingToolError         4   a program, an extra or a model file that is needed is not installed
    ├── InputError               5   what was read is not what it should be
    │   ├── VerificationError    5   a data set is not what its report says
    │   └── OutputError          5   what was made cannot be written (permission, full disk, other settings)
    ├── UpstreamError            6   the network, a hub or a site did not answer
    └── PartialFailure           7   the run ended, and some items failed

An interrupt ends in 130. `sca.cli.main` is the one place that turns these into a line on stderr and an exit code; nothing
else prints them. Each carries a message (what, where) and a hint (what to do).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

__all__ = [
    "ConfigError",
    "GridError",
    "InputError",
    "MissingToolError",
    "OutputError",
    "PartialFailure",
    "ScaError",
    "UpstreamError",
    "UsageError",
    "VerificationError",
    "check_target",
    "refused",
    "writing",
]


class ScaError(Exception):
    """The root: `message` says what and where, `hint` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send errors home by pickle; the default would lose the keyword-only hint.
        return _rebuild, (type(self), self.message, self.hint)


class UsageError(ScaError):
    """The arguments contradict each other or name something that cannot be."""

    exit_code = 2


class ConfigError(ScaError):
    """A setting is unknown, has the wrong type, or contradicts another."""

    exit_code = 3


class GridError(ConfigError):
    """A chunk is not a whole number of samples or mel frames."""


class MissingToolError(ScaError):
    """A program, an optional extra or a model file is not installed."""

    exit_code = 4


class InputError(ScaError):
    """A file or folder that was given is not what it should be."""

    exit_code = 5


class VerificationError(InputError):
    """A data set does not hold what its report promises."""


class OutputError(InputError):
    """A result cannot be written where it was asked for."""


class UpstreamError(ScaError):
    """A network, hub or site did not answer, or said no."""

    exit_code = 6


class PartialFailure(ScaError):  # noqa: N818 - not an error of the run: most of it worked
    """The run finished; some of its items did not."""

    exit_code = 7


def _rebuild(kind: type[ScaError], message: str, hint: str | None) -> ScaError:
    return kind(message, hint=hint)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing `target` into one `OutputError`."""
    try:
        yield
    except OSError as error:
        told = _refusal(error, target, f"{target} cannot be made", "write")
        if told is None:
            raise
        raise told from error


def check_target(path: Path) -> None:
    """Make the folder of `path`. Raises `OutputError` for a folder, a device or a pipe, and where no file can be made.

    A file that replaces a device takes its place for all; and what is only seen at the end of the work is seen too late.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if path.exists() and not path.is_file():
            raise OutputError(f"{path} is no file but a device or a pipe", hint="give the name of a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass


def refused(error: OSError) -> InputError | None:
    """What the operating system refused, as a line and a hint; None for what no user can mend."""
    name = error.filename
    if not isinstance(name, str):  # a file that is open already has no name any more
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return _refusal(error, Path("a file or standard output"), "", "") if full else None
    if error.errno == errno.ENOENT:
        return InputError(f"{name} is not there", hint="give one that is; something may have moved it away meanwhile")
    return _refusal(error, Path(name), f"{name} cannot be used", "use")


def _refusal(error: OSError, target: Path, cannot: str, verb: str) -> OutputError | None:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return OutputError(
                f"the disk is full while writing {target}",
                hint="free some space or give another folder; what is finished is kept and a second run goes on",
            )
        case errno.EFBIG:
            return OutputError(
                f"{target} is larger than its file system, or a limit on this process, allows",
                hint="give a folder on another file system, or ask for smaller files; what is finished is kept",
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return OutputError(f"no permission to {verb} {target}", hint=f"give a folder you can {verb}")
        case errno.ENOTDIR | errno.EEXIST | errno.EISDIR:
            why = _in_the_way(target) or error.strerror
            return OutputError(f"{cannot}: something else has that name ({why})", hint="give another name")
        case errno.ENOENT if _is_about(error, target):
            return OutputError(f"{cannot}: there is no such folder", hint="give a folder that you can write to")
        case errno.ENAMETOOLONG | errno.ELOOP:
            return OutputError(f"{cannot}: {error.strerror}", hint="give another name")
    return None


def _in_the_way(target: Path) -> str | None:
    """The folder of `target` that is none."""
    there = next((path for path in target.parents if path.is_symlink() or path.exists()), None)
    return None if there is None or there.is_dir() else f"{there} is no folder"


def _is_about(error: OSError, target: Path) -> bool:
    """Whether what is missing is the place of `target` and not something that was read to make it."""
    named = Path(error.filename) if isinstance(error.filename, str) else target
    return named.parent == target.parent or named in target.parents
