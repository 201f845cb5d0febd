"""The `sca` command: its subcommands, and the one place where an error becomes a line and an exit code."""

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from sca.errors import ScaError

app = typer.Typer(
    name="sca",
    help="Recordings of people talking become full-duplex training data; full-duplex speech models run live.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from sca import __version__

        typer.echo(f"sca {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)] = False,
) -> None:
    """Hold the options that come before a subcommand."""


def report(error: ScaError) -> int:
    """Print an error as one line and its hint, and return its exit code."""
    sys.stderr.write(f"sca: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"     {error.hint}\n")
    return error.exit_code


def run() -> NoReturn:
    """Entry point of the console script."""
    try:
        app(prog_name="sca")
        code = 0
    except ScaError as error:
        code = report(error)
    except KeyboardInterrupt:
        sys.stderr.write("sca: interrupted; what is finished is kept, and the same command goes on from there\n")
        code = 130
    except BrokenPipeError:
        # The reader of our stdout left (`sca … | head`). Point stdout elsewhere so that the interpreter's last flush is quiet.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123
        code = 0
    except Exception:  # noqa: BLE001 - the process boundary: whatever gets here is a bug of ours
        traceback.print_exc()
        sys.stderr.write("sca: this is a bug of sca, not of yours; please report it with the lines above\n")
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    run()
