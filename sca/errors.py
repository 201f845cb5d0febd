"""The errors that a user can meet, and their exit codes.

    ScaError                     1   a bug in sca, unless a subclass sets another code
    ├── UsageError               2   the command line does not make sense
    │   └── UnknownNameError     2   no engine, format, voice … has the given name
    ├── ConfigError              3   a setting is unknown, invalid, or contradicts another
    │   └── GridError            3   frames, chunks and sample rates do not divide evenly
    ├── MissingToolError         4   a required program, extra or model file is not installed
    ├── InputError               5   the input is not what it should be
    │   ├── DamageError          5   a part of a recording cannot be decoded
    │   ├── TooLargeError        5   a file, or a line of it, is larger than what is read
    │   ├── VerificationError    5   a data set does not match its report
    │   └── OutputError          5   the output cannot be written (permission, full disk, other settings)
    ├── NoMemoryError            5   there is not enough memory
    ├── UpstreamError            6   the network, a hub or a site did not answer
    └── PartialFailure           7   the run finished, and some items failed

An interrupt has exit code 130. Each error has a message (what and where) and a hint (what to do). `sca.cli.main` is the
one module that prints them and converts them to exit codes.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from typing_extensions import override

from sca.textutil import did_you_mean

__all__ = [
    "ConfigError",
    "DamageError",
    "GridError",
    "InputError",
    "MissingToolError",
    "NoMemoryError",
    "OutputError",
    "PartialFailure",
    "ScaError",
    "TooLargeError",
    "UnknownNameError",
    "UpstreamError",
    "UsageError",
    "VerificationError",
    "check_target",
    "error_of_system",
    "is_of_system",
    "unknown_name",
    "writing",
]


class ScaError(Exception):
    """Base class of the errors.

    Attributes:
        message: What is wrong, and where.
        hint: What to do about it.
        lines: The lines of a message that has several; a message without is one line, whatever is in it.
    """

    exit_code = 1
    lines: tuple[str, ...] = ()

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes return errors by pickle, which would lose the keyword-only hint.
        return _rebuild, (type(self), self.message, self.hint), {"lines": self.lines} if self.lines else None


class UsageError(ScaError):
    """The arguments contradict each other or name something that does not exist."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No engine, format, voice or another choice has the given name.

    Attributes:
        name: The name, by which the commands find the option that it was given to.
    """

    def __init__(self, message: str, *, hint: str | None = None, name: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_unknown, (self.message, self.hint, self.name)


def unknown_name(message: str, name: str, choices: Iterable[str], *, all_in: str = "") -> UnknownNameError:
    """Return the error for a name that does not exist, with the nearest name and the choices in its hint.

    Args:
        message: What does not exist.
        name: The name.
        choices: The names that exist, in the order in which they are listed.
        all_in: The command that lists all choices, for those that are too many for a line.
    """
    names = list(choices)
    shown = names[:_CHOICES_SHOWN] if all_in else names
    rest = f" and {len(names) - len(shown)} more ({all_in})" if len(names) > len(shown) else ""
    hint = f"{did_you_mean(name, names)}available: {', '.join(shown) or 'none'}{rest}"
    return UnknownNameError(message, hint=hint, name=name)


class ConfigError(ScaError):
    """A setting is unknown, invalid, or contradicts another."""

    exit_code = 3


class GridError(ConfigError):
    """A chunk is not a whole number of samples or mel frames."""


class MissingToolError(ScaError):
    """A program, an optional extra or a model file is not installed."""

    exit_code = 4


class InputError(ScaError):
    """A file or folder given as input is not what it should be."""

    exit_code = 5


class DamageError(InputError):
    """A part of a recording cannot be decoded.

    Attributes:
        needed_s: The limit in seconds of an hour (`audio.accept_damage_s`) from which on the recording is accepted; None
            if no limit accepts it.
    """

    def __init__(self, message: str, *, hint: str | None = None, needed_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.needed_s = needed_s

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_damage, (self.message, self.hint, self.needed_s)


class TooLargeError(InputError, ValueError):
    """A file, or a line of it, is larger than what is read. A `ValueError` too: readers convert these to issues."""


class VerificationError(InputError):
    """A data set does not match its report."""


class OutputError(InputError):
    """An output cannot be written to its path."""


class NoMemoryError(ScaError):
    """There is not enough memory. It may suffice another time, so what failed for it is tried again."""

    exit_code = 5


class UpstreamError(ScaError):
    """The network, a hub or a site did not answer, or refused the request."""

    exit_code = 6


class PartialFailure(ScaError):  # noqa: N818 - not an error of the run, which has finished
    """The run finished; some of its items failed."""

    exit_code = 7


def _rebuild(kind: type[ScaError], message: str, hint: str | None) -> ScaError:
    return kind(message, hint=hint)


def _rebuild_unknown(message: str, hint: str | None, name: str) -> UnknownNameError:
    return UnknownNameError(message, hint=hint, name=name)


def _rebuild_damage(message: str, hint: str | None, needed_s: float | None) -> DamageError:
    return DamageError(message, hint=hint, needed_s=needed_s)


# An error with one of these numbers is a mistake of the program: a closed file, a wrong argument.
_OF_THE_PROGRAM = frozenset(
    {errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTTY, errno.ESPIPE, errno.ECHILD, errno.ESRCH, errno.EINTR}
    | {errno.EAGAIN, errno.EPIPE, errno.EDOM, errno.ERANGE, errno.EDEADLK}
)
_OF_THE_NETWORK = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
    | {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENOTCONN, errno.EHOSTDOWN}
)
_OF_THE_MACHINE = frozenset(
    {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO}
)
_CHOICES_SHOWN = 12
"""Names in a hint that has a command for the others."""
_CONTINUES = "finished results are kept, and the same command continues from there"


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Convert the operating system's errors while `target` is written to an `OutputError`."""
    try:
        yield
    except OSError as error:
        converted = _output_error(error, target, "create", "write")
        if converted is None:
            raise
        raise converted from error


def check_target(path: Path) -> None:
    """Check before the work begins that a file can be created at `path`; create its folder.

    Raises:
        OutputError: The path is a folder, a device or a pipe (which a file must not replace), or no file can be created
            there.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if path.exists() and not path.is_file():
            raise OutputError(f"{path} is a device or pipe, not a regular file", hint="give the name of a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass


def is_of_system(error: OSError) -> bool:
    """Return whether the machine, its drive or its network is the cause of an error, and not the file.

    What is optional and cannot be read for such a reason must not count as missing: the next run can read it.
    """
    return error.errno in _OF_THE_MACHINE


def error_of_system(error: BaseException) -> ScaError | None:
    """Convert an error of the operating system, or a lack of memory, to one of ours.

    Args:
        error: Any exception.

    Returns:
        The error to report; None if the exception is a mistake of the program.
    """
    if isinstance(error, MemoryError):
        return NoMemoryError(
            "there is not enough memory", hint=f"use fewer jobs, or a machine with more memory; {_CONTINUES}"
        )
    if not isinstance(error, OSError):
        return None
    reason = error.strerror or str(error)
    # The numbers of these classes are not those of `errno`.
    if type(error).__module__ in ("ssl", "socket") and not isinstance(error, TimeoutError):
        return UpstreamError(f"no connection: {reason}", hint="check the address and the network, and try again")
    name = error.filename
    if not isinstance(name, str):  # an open file and a socket have no name
        return _error_without_name(error, reason)
    if error.errno == errno.ENOENT:
        return InputError(f"{name} does not exist", hint="give another path; the file may have been moved meanwhile")
    return _output_error(error, Path(name), "use", "use")


def _error_without_name(error: OSError, reason: str) -> ScaError | None:
    if error.errno is None or error.errno in _OF_THE_PROGRAM:
        return None
    if error.errno in _OF_THE_NETWORK:
        return UpstreamError(f"no connection: {reason}", hint="check the address and the network, and try again")
    return _output_error(error, Path("a file or standard output"), "use", "write")


def _output_error(error: OSError, target: Path, action: str, permission: str) -> OutputError | None:
    """Convert an error about `target`.

    Args:
        error: The operating-system error.
        target: The path that the work is about.
        action: What failed, such as `create`.
        permission: What the user must be allowed to do, such as `write`.
    """
    failed = f"cannot {action} {target}"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return OutputError(
                f"the disk is full while writing {target}",
                hint="free some space or give another folder; finished results are kept and a second run continues",
            )
        case errno.EFBIG:
            return OutputError(
                f"{target} is larger than its file system, or a limit on this process, allows",
                hint="give a folder on another file system, or make smaller files; finished results are kept",
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return OutputError(f"no permission to {permission} {target}", hint=f"give a folder you can {permission}")
        case errno.ENOTDIR | errno.EEXIST | errno.EISDIR:
            reason = _non_folder_above(target) or error.strerror
            detail = f"the name is already in use ({reason})" if action == "create" else reason
            return OutputError(f"{failed}: {detail}", hint="give another name")
        case errno.ENOENT:
            if not _is_about(error, target):
                return None
            return OutputError(f"{failed}: the folder does not exist", hint="give a folder that you can write to")
        case errno.ENAMETOOLONG | errno.ELOOP:
            return OutputError(f"{failed}: {error.strerror}", hint="give another name")
        case errno.EMFILE | errno.ENFILE:
            return OutputError(
                f"{failed}: too many files are open", hint="raise the limit (`ulimit -n 4096`), or use fewer jobs"
            )
        case errno.ENOLCK | errno.EOPNOTSUPP:
            return OutputError(
                f"{target} cannot be locked: {error.strerror}",
                hint="give a folder on a disk of this machine, or mount the network drive with locks",
            )
        case code if code is None or code in _OF_THE_PROGRAM:
            return None
    return OutputError(f"{failed}: {error.strerror}", hint=f"check the drive, then run again; {_CONTINUES}")


def _non_folder_above(target: Path) -> str | None:
    """Describe the nearest existing parent of `target` if it is not a folder."""
    existing = next((path for path in target.parents if path.is_symlink() or path.exists()), None)
    return None if existing is None or existing.is_dir() else f"{existing} is not a folder"


def _is_about(error: OSError, target: Path) -> bool:
    """Whether the missing path is the place of `target`, and not an input that is needed to create it."""
    missing = Path(error.filename) if isinstance(error.filename, str) else target
    return missing.parent == target.parent or missing in target.parents
