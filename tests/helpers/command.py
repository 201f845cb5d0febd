"""Runs `sca` commands in the process of the tests, for tests that do not need a process of the command's own.

A process takes one to seven seconds of processor time until it has imported what the command needs.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

from typer.testing import CliRunner

from sca.cli.main import app

__all__ = ["sca"]


def sca(*words: object, text: str = "") -> CompletedProcess[str]:
    """Run a command with `text` as its input and return what `subprocess.run` would. An exception that is a bug is raised."""
    arguments = [str(word) for word in words]
    with _logging_as_before():
        done = CliRunner().invoke(app, arguments, input=text)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return CompletedProcess(["sca", *arguments], done.exit_code, done.stdout, done.stderr)


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """Undo what a server sets: a handler that writes to the output of its command, and levels."""
    loggers = [logging.getLogger(name) for name in (None, "sca", "uvicorn")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    try:
        yield
    finally:
        for logger, (handlers, level) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(level)
