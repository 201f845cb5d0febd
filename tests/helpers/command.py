"""Runs `sca` commands in the process of the tests, for tests that do not need a process of the command's own.

A process takes one to seven seconds of processor time until it has imported what the command needs.
"""

from subprocess import CompletedProcess

from typer.testing import CliRunner

from sca.cli.main import app

__all__ = ["sca"]


def sca(*words: object, text: str = "") -> CompletedProcess[str]:
    """Run a command with `text` as its input and return what `subprocess.run` would. An exception that is a bug is raised."""
    arguments = [str(word) for word in words]
    done = CliRunner().invoke(app, arguments, input=text)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return CompletedProcess(["sca", *arguments], done.exit_code, done.stdout, done.stderr)
