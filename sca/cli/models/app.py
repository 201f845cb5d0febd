"""`sca models`: list, fetch, check and delete the models of the catalogue."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.models.get import get
from sca.cli.shared.completion import complete_models
from sca.cli.shared.console import begin_command, emit_json, print_line, print_note
from sca.cli.shared.options import Json
from sca.cli.shared.settings_options import SettingsCommand, settings_options
from sca.errors import InputError
from sca.textutil import command_line

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.models import Model
    from sca.models.store import Installed

__all__ = ["app"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of the catalogue.", autocompletion=complete_models)]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME…", help="Models of the catalogue.", show_default=False, autocompletion=complete_models
    ),
]

app = typer.Typer(invoke_without_command=True)
app.command("get", cls=SettingsCommand)(get)


@app.callback()
def models(context: typer.Context, json: Json = False) -> None:
    """List the models that can be fetched by name, and fetch, check or delete them."""
    if context.invoked_subcommand is None:
        from sca.config import load_settings

        begin_command("sca models list")
        _list(load_settings().paths.resolved_cache_dir, json=json)


@app.command("list", cls=SettingsCommand)
@settings_options()
def list_(*, settings: "Settings", json: Json = False) -> None:
    """List the models: what they do, their size, and whether they are on this machine."""
    _list(settings.paths.resolved_cache_dir, json=json)


@app.command(cls=SettingsCommand)
@settings_options()
def check(names: Names = None, *, settings: "Settings", json: Json = False) -> None:
    """Compare every file of the fetched models with its SHA-256.

    Without names, all models are checked. The exit code is 5 if a file is damaged, or if a named model is missing.
    """
    from sca.models.store import folder_of, installed

    rows: list[dict[str, object]] = []
    bad: dict[str, str] = {}
    cache_dir = settings.paths.resolved_cache_dir
    for model in _named(names):
        found = installed(model, cache_dir, complete=False)
        problems = found.damage() if found else []
        state = "damaged" if problems else "ok" if found else "missing"
        folder = found.folder if found else folder_of(model, cache_dir)
        row = {"name": model.name, "state": state, "folder": str(folder), "problems": problems}
        rows.append({**row, **_origin(found)})
        if not json:
            _print_state(model.name, state, found, problems)
        if state == "damaged" or (state == "missing" and names):
            bad[model.name] = state
    if json:
        emit_json(rows)
    if bad:
        raise InputError(
            "; ".join(f"{name}: {state}" for name, state in bad.items()),
            hint=f"{command_line('models', 'get', *bad)} fetches what is damaged or missing",
        )


def _print_state(name: str, state: str, found: "Installed | None", problems: Sequence[str]) -> None:
    print_line(f"{name:<16} {state:<8} {found.origin.line if found else ''}".rstrip())
    for text in sorted(found.origin.documents) if found else ():
        print_line(f"    {text}: compared with the SHA-256 that it had when it was fetched")
    for problem in problems:
        print_line(f"    {problem}")


@app.command(cls=SettingsCommand)
@settings_options()
def path(name: Name, *, settings: "Settings", json: Json = False) -> None:
    """Print the folder of a fetched model."""
    from sca.models import resolve
    from sca.models.catalog import by_name
    from sca.models.store import installed

    cache_dir = settings.paths.resolved_cache_dir
    folder = resolve(f"pkg:{name.removeprefix('pkg:')}", cache_dir)
    found = installed(by_name(name), cache_dir)
    if json:
        emit_json({"name": name, "folder": str(folder)} | _origin(found))
        return
    print_line(f"{folder}")
    if found is not None:
        print_note(f"sca: {found.content.name} is from {found.origin.line}")


@app.command(cls=SettingsCommand)
@settings_options()
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
        print_line(f"{name}: {', '.join(map(str, folders)) + ' deleted' if folders else 'was not here'}")


def _named(names: Sequence[str] | None) -> "list[Model]":
    """Return the named models, or all without names."""
    from sca.models.catalog import by_name, models

    return [by_name(name) for name in names] if names else list(models().values())


def _origin(found: "Installed | None") -> dict[str, object]:
    """Return where a model came from, and the texts whose hash was recorded when they arrived."""
    if found is None:
        return {"source": None, "revision": None, "recorded": []}
    origin = found.origin
    return {"source": origin.source, "revision": origin.revision, "recorded": sorted(origin.documents)}


def _list(cache_dir: Path, *, json: bool) -> None:
    from sca.models import models
    from sca.models.store import installed

    found = {model.name: installed(model, cache_dir) for model in models().values()}
    if json:
        emit_json([_document(model, cache_dir, found[model.name]) for model in models().values()])
        return
    lines = [("NAME", "JOB", "MB", "HERE", "FROM", "")]
    for model in models().values():
        here = found[model.name]
        megabytes = f"{model.download_bytes / 1e6:.0f}"
        source = here.origin.source if here else ", ".join(model.contents())
        lines.append((model.name, model.job, megabytes, "yes" if here else "no", source, model.title))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for name, job, megabytes, is_here, source, title in lines:
        columns = f"{name:<{widths[0]}}  {job:<{widths[1]}}  {megabytes:>{widths[2]}}  {is_here:<{widths[3]}}"
        print_line(f"{columns}  {source:<{widths[4]}}  {title}".rstrip() + "")


def _document(model: "Model", cache_dir: Path, found: "Installed | None") -> dict[str, object]:
    from sca.models.store import folder_of

    return {
        "name": model.name,
        "job": model.job,
        "title": model.title,
        "bytes": model.download_bytes,
        "present": found is not None,
        "folder": str(found.folder if found else folder_of(model, cache_dir)),
        "hub": model.hub.repository if model.hub else None,
        "hub_revision": model.hub.revision if model.hub else None,
        "platform": model.platform,
        "licence": model.licence,
        "origin": model.origin,
        "packages": [f"{archive.index}:{archive.requirement}" for archive in model.archives],
        "sha256": (found.content if found else model).digest,
    } | _origin(found)
