"""`sca models`: list, fetch, check and delete the models of the catalogue."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.models.get import get
from sca.cli.shared.console import emit_json, out
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import SettingsCommand, settings_options
from sca.errors import InputError

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.models import Model

__all__ = ["app"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of the catalogue.")]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME…", help="Models of the catalogue.", show_default=False)
]

app = typer.Typer(invoke_without_command=True)
app.command("get", cls=SettingsCommand)(get)


@app.callback()
def models(context: typer.Context, json: Json = False) -> None:
    """List the models that can be fetched by name from package indexes, and fetch, check or delete them."""
    if context.invoked_subcommand is None:
        from sca.config import load_settings

        _list(load_settings().paths.resolved_cache_dir, json=json)


@app.command("list", cls=SettingsCommand)
@settings_options(set_values=False)
def list_(*, settings: "Settings", json: Json = False) -> None:
    """List the models: what they do, their size, and whether they are on this machine."""
    _list(settings.paths.resolved_cache_dir, json=json)


@app.command(cls=SettingsCommand)
@settings_options(set_values=False)
def check(names: Names = None, *, settings: "Settings", json: Json = False) -> None:
    """Compare every file of the fetched models with its SHA-256.

    Without names, all models are checked. The exit code is 5 if a file is damaged, or if a named model is missing.
    """
    from sca.models.store import damaged_files, folder_of

    rows, bad = [], []
    for model in _named(names):
        folder = folder_of(model, settings.paths.resolved_cache_dir)
        problems = damaged_files(model, folder) if folder.is_dir() else []
        state = "damaged" if problems else "ok" if folder.is_dir() else "missing"
        rows.append({"name": model.name, "state": state, "folder": str(folder), "problems": problems})
        if state == "damaged" or (state == "missing" and names):
            bad.append(f"{model.name}: {state}")
    if json:
        emit_json(rows)
    else:
        for row in rows:
            out().print(f"{row['name']:<16} {row['state']}", markup=False)
            for problem in row["problems"]:
                out().print(f"    {problem}", markup=False)
    if bad:
        raise InputError(
            "; ".join(bad),
            hint="sca models get NAME fetches it again",
        )


@app.command(cls=SettingsCommand)
@settings_options(set_values=False)
def path(name: Name, *, settings: "Settings", json: Json = False) -> None:
    """Print the folder of a fetched model."""
    from sca.models import resolve

    folder = resolve(f"pkg:{name.removeprefix('pkg:')}", settings.paths.resolved_cache_dir)
    if json:
        emit_json({"name": name, "folder": str(folder)})
    else:
        sys.stdout.write(f"{folder}\n")


@app.command(cls=SettingsCommand)
@settings_options(set_values=False)
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Models of the catalogue.")],
    *,
    settings: "Settings",
    json: Json = False,
) -> None:
    """Delete fetched models, and what interrupted downloads of them left."""
    from sca.models.store import remove as delete

    removed = {model.name: delete(model, settings.paths.resolved_cache_dir) for model in _named(names)}
    if json:
        emit_json({name: [str(folder) for folder in folders] for name, folders in removed.items()})
        return
    for name, folders in removed.items():
        out().print(f"{name}: {', '.join(map(str, folders)) + ' deleted' if folders else 'was not here'}", markup=False)


def _named(names: Sequence[str] | None) -> "list[Model]":
    """Return the named models, or all without names."""
    from sca.models.catalog import by_name, models

    return [by_name(name) for name in names] if names else list(models().values())


def _list(cache_dir: Path, *, json: bool) -> None:
    from sca.models import models
    from sca.models.store import folder_of, is_present

    present = {model.name: is_present(model, folder_of(model, cache_dir)) for model in models().values()}
    if json:
        emit_json([_document(model, cache_dir, present=present[model.name]) for model in models().values()])
        return
    lines = [("NAME", "JOB", "MB", "HERE", "")]
    for model in models().values():
        megabytes = f"{model.download_bytes / 1e6:.0f}"
        lines.append((model.name, model.job, megabytes, "yes" if present[model.name] else "no", model.title))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for name, job, megabytes, here, title in lines:
        columns = f"{name:<{widths[0]}}  {job:<{widths[1]}}  {megabytes:>{widths[2]}}  {here:<{widths[3]}}"
        sys.stdout.write(f"{columns}  {title}".rstrip() + "\n")


def _document(model: "Model", cache_dir: Path, *, present: bool) -> dict[str, object]:
    from sca.models.store import folder_of

    return {
        "name": model.name,
        "job": model.job,
        "title": model.title,
        "bytes": model.download_bytes,
        "present": present,
        "folder": str(folder_of(model, cache_dir)),
        "hub": model.hub,
        "platform": model.platform,
        "licence": model.licence,
        "origin": model.origin,
        "packages": [f"{archive.index}:{archive.requirement}" for archive in model.archives],
        "sha256": model.digest,
    }
