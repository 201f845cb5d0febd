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
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                raise OutputError(
                    f"the disk is full while writing {target}",
                    hint="free some space or give another folder; what is finished is kept and a second run goes on",
                ) from error
            case errno.EFBIG:
                raise OutputError(
                    f"{target} is larger than its file system, or a limit on this process, allows",
                    hint="give a folder on another file system, or ask for smaller files; what is finished is kept",
                ) from error
            case errno.EACCES | errno.EPERM | errno.EROFS:
                raise OutputError(f"no permission to write {target}", hint="give a folder you can write to") from error
            case errno.ENOTDIR | errno.EEXIST | errno.EISDIR:
                raise OutputError(
                    f"{target} cannot be made: something else has that name ({error.strerror})"
                ) from error
            case _:
                raise
