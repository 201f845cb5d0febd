"""`sca browse`: look through all rows of a data set in the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.options import Insecure
from sca.cli.shared.settings_options import settings_options

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["browse"]


@settings_options("serve.host", "serve.port", "serve.auth_key", "serve.tls_cert", "serve.tls_key")
def browse(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Data set made by sca build-duplex, its export to Parquet or WebDataset, or the URL of one "
            "(hf://datasets/OWNER/NAME, s3://BUCKET/NAME).",
        ),
    ],
    row: Annotated[str | None, typer.Argument(metavar="ROW", help="Id of the row to open.", show_default=False)] = None,
    *,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="DATA",
            help="Another build to compare with: rows added, removed and changed.",
            show_default=False,
        ),
    ] = None,
    drops: Annotated[
        Path | None,
        typer.Option(
            "--drops",
            metavar="FILE",
            help="List of marked rows to write, for sca build-duplex --drops. Not set: DATA.drops.jsonl beside the "
            "data set, or in this folder for a URL.",
            show_default=False,
        ),
    ] = None,
    settings: "Settings",
    insecure: Insecure = False,
) -> None:
    """Look through all rows of a data set in the browser: filters, distributions, sound, and rows to leave out.

    The data set is only read. Marked rows are listed in a file of their own, which sca build-duplex --drops leaves out.
    """
    from sca.browse.app import run

    run(data, settings, row=row, against=against, drops=drops, insecure=insecure)
