"""The `sca` command: its subcommands, and the conversion of errors to a message and an exit code."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer._click.shell_completion import add_completion_class
from typer.exceptions import TyperException
from typing_extensions import override

from sca.cli.acquire.download import download
from sca.cli.acquire.search import search
from sca.cli.browse.command import browse
from sca.cli.build_duplex import build_duplex
from sca.cli.calibrate import calibrate
from sca.cli.chat.command import chat
from sca.cli.config import app as config_app
from sca.cli.convert import convert
from sca.cli.demo import demo
from sca.cli.devices import devices
from sca.cli.doctor.command import doctor
from sca.cli.eval.app import app as eval_app
from sca.cli.executor.options import WORDS
from sca.cli.export import export
from sca.cli.inspect import inspect
from sca.cli.live.command import live
from sca.cli.models.app import app as models_app
from sca.cli.run.command import run_recipe_command
from sca.cli.say.command import say
from sca.cli.serve import serve
from sca.cli.shared.bash_completion import BashWithColons
from sca.cli.shared.command import Command, Group
from sca.cli.shared.console import CommandInterrupt, hide_details, prepare_streams, print_note, report
from sca.cli.shared.settings_options import SettingsCommand
from sca.cli.shared.signals import end_on_signals
from sca.cli.status import status
from sca.cli.synth import synth
from sca.cli.train.command import train
from sca.cli.transcode import transcode
from sca.cli.transcribe import transcribe
from sca.cli.turn.app import app as turn_app
from sca.cli.verify import verify
from sca.cli.watch.command import watch
from sca.errors import ScaError, error_of_system
from sca.textutil import printable

__all__ = ["Boundary", "app", "report", "run"]

Raised = TypeVar("Raised", bound=BaseException)


class Boundary(Group):
    """The root command. A user's error becomes a message and an exit code; a bug of sca is raised unchanged."""

    @override
    def _main_shell_completion(self, *arguments: Any, **options: Any) -> None:
        add_completion_class(BashWithColons, "bash")
        super()._main_shell_completion(*arguments, **options)

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = tuple(args)
        with _escaped():
            return super().parse_args(ctx, args)

    @override
    def invoke(self, ctx: Any) -> Any:
        # Here and not around `app()`, which is too late: Typer ends an interrupt and a closed pipe on its own,
        # silently. `except*`, because a task group wraps even a single error.
        exit_ = typer.Exit()
        hide_details()
        try:
            with _system_errors_converted():
                try:
                    with _escaped():
                        return super().invoke(ctx)
                finally:
                    sys.stdout.flush()  # a closed pipe raises here and not when the interpreter ends
        except* ScaError as errors:
            codes = [report(error) for error in _leaves(errors)]
            exit_ = typer.Exit(codes[0])
        except* KeyboardInterrupt as interrupts:
            with suppress(OSError):  # a terminal that was closed sent SIGHUP
                print_note(f"sca: interrupted; {_what_remains(interrupts)}")
            exit_ = typer.Exit(130)
        except* BrokenPipeError:
            _discard_stdout()
        raise exit_


@contextmanager
def _escaped() -> Iterator[None]:
    """Escape the message about a wrong command line, which may have names of files in it."""
    try:
        yield
    except TyperException as error:
        error.message = "\n".join(map(printable, error.message.split("\n")))
        raise


def _what_remains(interrupts: BaseExceptionGroup[KeyboardInterrupt]) -> str:
    told = next((error.remains for error in _leaves(interrupts) if isinstance(error, CommandInterrupt)), None)
    return told or "finished results are kept, and the same command continues from there"


def _leaves(errors: BaseExceptionGroup[Raised]) -> Iterator[Raised]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@contextmanager
def _system_errors_converted() -> Iterator[None]:
    """Convert a system error or a lack of memory that no command handled to one of our errors."""
    try:
        yield
    except (OSError, MemoryError) as error:
        converted = error_of_system(error)
        if converted is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            _discard_stdout()  # stdout may be what is full: no second attempt when the interpreter ends
        raise converted from error
    except BaseExceptionGroup as errors:
        known = [error_of_system(error) for error in _leaves(errors)]
        if known[0] is None or None in known:
            raise
        raise known[0] from errors


def _discard_stdout() -> None:
    """Redirect stdout to nowhere, because its reader is gone (`sca … | head`) or it cannot be written."""
    with suppress(OSError):  # a stdout without a file descriptor cannot be redirected
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _with_dashes(name: str) -> str:
    """Accept options with underscores (`--model_path`), as programs with argparse often have them."""
    return name.replace("_", "-")


app = typer.Typer(
    name="sca",
    cls=Boundary,
    help="Turn recordings of conversations into full-duplex training data, and run full-duplex speech models live.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _with_dashes},
)
# Under each heading in the order of use.
_DATA, _LIVE, _TOOLS = "Data", "Live", "Tools"
app.command("demo", cls=SettingsCommand, rich_help_panel=_DATA)(demo)
app.command("search", cls=SettingsCommand, rich_help_panel=_DATA)(search)
app.command("download", cls=SettingsCommand, rich_help_panel=_DATA)(download)
app.command("transcode", cls=SettingsCommand, rich_help_panel=_DATA)(transcode)
app.command("transcribe", cls=SettingsCommand, rich_help_panel=_DATA)(transcribe)
app.command("convert", cls=SettingsCommand, rich_help_panel=_DATA)(convert)
app.command("synth", cls=SettingsCommand, rich_help_panel=_DATA)(synth)
app.command("calibrate", cls=SettingsCommand, rich_help_panel=_DATA)(calibrate)
app.command("build-duplex", cls=SettingsCommand, rich_help_panel=_DATA)(build_duplex)
app.command("verify", cls=SettingsCommand, rich_help_panel=_DATA)(verify)
app.command("inspect", cls=SettingsCommand, rich_help_panel=_DATA)(inspect)
app.command("browse", cls=SettingsCommand, rich_help_panel=_DATA)(browse)
app.command("export", cls=SettingsCommand, rich_help_panel=_DATA)(export)
app.command("train", cls=SettingsCommand, rich_help_panel=_DATA)(train)
app.command("run", cls=Command, rich_help_panel=_DATA)(run_recipe_command)
app.command("status", cls=Command, rich_help_panel=_DATA)(status)
app.command("build-duplex-dataset", cls=SettingsCommand, hidden=True)(build_duplex)
app.command("live", cls=SettingsCommand, rich_help_panel=_LIVE)(live)
app.command("chat", cls=SettingsCommand, rich_help_panel=_LIVE)(chat)
app.command("say", cls=SettingsCommand, rich_help_panel=_LIVE)(say)
app.command("watch", cls=SettingsCommand, rich_help_panel=_LIVE)(watch)
app.command("serve", cls=SettingsCommand, rich_help_panel=_LIVE)(serve)
app.add_typer(turn_app, name="turn", cls=Group, rich_help_panel=_LIVE)
app.add_typer(eval_app, name="eval", cls=Group, rich_help_panel=_LIVE)
app.command("run-live", cls=SettingsCommand, hidden=True)(live)
app.command("doctor", cls=SettingsCommand, rich_help_panel=_TOOLS)(doctor)
app.command("devices", cls=Command, rich_help_panel=_TOOLS)(devices)
app.add_typer(models_app, name="models", cls=Group, rich_help_panel=_TOOLS)
app.add_typer(config_app, name="config", cls=Group, rich_help_panel=_TOOLS)


def _print_version(requested: bool) -> None:
    if requested:
        from sca.distribution import __version__

        typer.echo(f"sca {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options that come before a subcommand."""


def run() -> NoReturn:
    """Run the command line: the entry point of the console script."""
    prepare_streams()
    end_on_signals()
    try:
        with _system_errors_converted():  # again here: `sca --help` with a full disk does not reach `Boundary.invoke`
            app(prog_name="sca")
    except ScaError as error:
        sys.exit(report(error))
    except Exception:  # noqa: BLE001 - the process boundary: all that remains are bugs of sca
        traceback.print_exc()
        print_note("sca: this is a bug in sca; please report it with the lines above")
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    run()
