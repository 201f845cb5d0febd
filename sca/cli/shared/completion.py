"""Completion of values in a shell: names of formats, models and rows. Nothing is imported before it is asked for."""

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

__all__ = [
    "complete_formats",
    "complete_from",
    "complete_layouts",
    "complete_models",
    "complete_rows",
]

_MAX_ROWS = 500


def complete_from(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a completion that offers the names that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def complete_layouts(incomplete: str) -> list[str]:
    """Offer the layouts of corpora."""
    from sca.data.corpora.registry import corpus_formats

    return complete_from(corpus_formats())(incomplete)


def complete_formats(incomplete: str) -> list[str]:
    """Offer the formats of exports."""
    from sca.data.export.registry import exporter_names

    return complete_from(exporter_names())(incomplete)


def complete_models(incomplete: str) -> list[str]:
    """Offer the models of the catalogue."""
    from sca.models.catalog import models

    return complete_from(models())(incomplete)


def complete_rows(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the rows and sessions of the data set that is named before, as they are typed."""
    from sca.data.duplex.model.row_names import typed_row_id
    from sca.data.duplex.storage.reader import open_dataset
    from sca.errors import ScaError

    try:
        reader = open_dataset(Path(ctx.params["data"]))
        names = [*reader.sessions, *(row for batch in reader.batches() for row in batch.column("row_id").to_pylist())]
    except (ScaError, OSError, KeyError):
        return []  # a shell shows nothing for a data set that cannot be read
    return complete_from(map(typed_row_id, names))(incomplete)[:_MAX_ROWS]
