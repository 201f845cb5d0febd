"""The `sca` command: its subcommands, and the one place where an error becomes a line and an exit code."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from sca.cli.acquire.download import download
from sca.cli.acquire.search import search
from sca.cli.build_duplex import build_duplex
from sca.cli.config import app as config_app
from sca.cli.convert import convert
from sca.cli.demo import demo
from sca.cli.devices import devices
from sca.cli.doctor.command import doctor
from sca.cli.eval import app as eval_app
from sca.cli.export import export
from sca.cli.inspect import inspect
from sca.cli.live.command import live
from sca.cli.serve import serve
from sca.cli.transcode import transcode
from sca.cli.transcribe import transcribe
from sca.cli.turn.command import app as turn_app
from sca.cli.verify import verify
from sca.errors import ScaError, refused

__all__ = ["Boundary", "app", "report", "run"]


def report(error: ScaError) -> int:
    """Print an error as one line and its hint, and return its exit code."""
    sys.stderr.write(f"sca: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"     {error.hint}\n")
    return error.exit_code


class Boundary(TyperGroup):
    """The root command: what a user did leaves it as a line and an exit code, a bug of ours as the exception it is."""

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        # Here and not around `app()`, where it would be too late: Typer ends an interrupt and a closed pipe on its own,
        # without a word. `except*` because a task group wraps even a single error.
        leave = typer.Exit()
        try:
            with _refusals_told():
                try:
                    return super().invoke(ctx)
                finally:
                    sys.stdout.flush()  # shows a reader that left now and not at the interpreter's end
        except* ScaError as errors:
            codes = [report(error) for error in _leaves(errors)]
            leave = typer.Exit(codes[0])
        except* KeyboardInterrupt:
            sys.stderr.write("sca: interrupted; what is finished is kept, and the same command goes on from there\n")
            leave = typer.Exit(130)
        except* BrokenPipeError:
            _discard_stdout()
        raise leave


def _leaves(errors: BaseExceptionGroup[ScaError]) -> Iterator[ScaError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@contextmanager
def _refusals_told() -> Iterator[None]:
    """Turn what the system refuses, and no command saw coming, into an error of ours."""
    try:
        yield
    except OSError as error:
        told = refused(error)
        if told is None:
            raise
        if error.filename is None:
            _discard_stdout()  # which may be what is full: not again at the interpreter's end
        raise told from error


def _discard_stdout() -> None:
    """Stdout takes no more, such as when its reader left (`sca … | head`). What is still written goes nowhere, quietly."""
    with suppress(OSError):  # a stdout that is no file has nothing to point elsewhere
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


app = typer.Typer(
    name="sca",
    cls=Boundary,
    help="Recordings of people talking become full-duplex training data; full-duplex speech models run live.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The order of the road: recordings to data, data to proof, then the live half, then the tool itself.
app.command("demo")(demo)
app.command("search")(search)
app.command("download")(download)
app.command("transcode")(transcode)
app.command("transcribe")(transcribe)
app.command("convert")(convert)
app.command("build-duplex")(build_duplex)
app.command("build-duplex-dataset", hidden=True)(build_duplex)
app.command("verify")(verify)
app.command("inspect")(inspect)
app.command("export")(export)
app.command("live")(live)
app.command("run-live", hidden=True)(live)
app.command("serve")(serve)
app.add_typer(turn_app, name="turn")
app.add_typer(eval_app, name="eval")
app.command("devices")(devices)
app.command("doctor")(doctor)
app.add_typer(config_app, name="config")


def _version(asked: bool) -> None:
    if asked:
        from sca.version import __version__

        typer.echo(f"sca {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options that come before a subcommand."""


def run() -> NoReturn:
    """Entry point of the console script."""
    if not sys.stdout.isatty():
        app.rich_markup_mode = None  # no boxes in a file or a pipe, and `sca --help` there takes half the time
    try:
        with _refusals_told():  # once more: `sca --help` into a full disk gets to no subcommand
            app(prog_name="sca")
    except ScaError as error:
        sys.exit(report(error))
    except Exception:  # noqa: BLE001 - the process boundary: whatever gets here is a bug of ours
        traceback.print_exc()
        sys.stderr.write("sca: this is a bug of sca, not of yours; please report it with the lines above\n")
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    run()
