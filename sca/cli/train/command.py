"""`sca train`: train the thinker of a Qwen3-Omni model on rows of `sca build-duplex`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import CommandInterrupt, emit_json, print_line
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.settings_options import settings_options
from sca.cli.train.output import LogLines, document, show
from sca.errors import UsageError

if TYPE_CHECKING:
    from sca.config import Settings

__all__ = ["train"]


@settings_options(
    "qwen.model_id",
    "train.method",
    "train.targets",
    "train.rank",
    "train.max_steps",
    "train.epochs",
    "train.learning_rate",
    "train.batch_size",
    "train.packing",
    "train.batch_tokens",
    "train.save_every",
    "train.eval_every",
)
def train(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Data set of sca build-duplex, or its export: a folder or a URL."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run.", show_default=False),
    ] = None,
    *,
    settings: "Settings",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check the model only: later audio changes no earlier logit, and live logits are those of the training.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder from its last checkpoint, if it has one.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a data set, so that it listens while it speaks.

    The result is a LoRA adapter for `sca live --engine qwen-omni`, in DIR/last. Ctrl-C ends the run after the step in
    progress with a checkpoint, from which --resume continues.
    """
    from sca.infer.engines.qwen_omni.loading.requirements import check_installed

    check_installed("torch", "transformers", "accelerate", "peft")
    if check:
        _check(data, settings, json=json)
        return
    if output is None:
        raise UsageError("--output is missing", hint="give the folder of the run with -o DIR")
    from sca.train.run.run import train as run
    from sca.train.run.stop import TrainingInterrupt

    try:
        summary = run(data, output, settings, resume=resume, listener=None if quiet else LogLines())
    except TrainingInterrupt as interrupt:
        raise CommandInterrupt(interrupt.remains) from None
    if json:
        emit_json(document(summary))
    else:
        show(summary)


def _check(data: str, settings: "Settings", *, json: bool) -> None:
    """Check the model without training it."""
    from dataclasses import asdict

    from sca.train.run.check import check

    result = check(data, settings)
    if json:
        emit_json(asdict(result), "check")
    else:
        print_line(str(result))
