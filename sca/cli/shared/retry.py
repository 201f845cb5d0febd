"""The option `--retry-failed` of the commands that record their items in a ledger."""

from typing import Annotated

import typer

__all__ = ["RetryFailed"]

RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed/--no-retry-failed",
        help="Try items again that failed in an earlier run, or report them as failed without trying.",
    ),
]
