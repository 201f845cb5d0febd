"""`sca train`: train the thinker of a Qwen3-Omni model on rows of `sca build-duplex`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import CommandInterrupt, emit_json, print_line
from sca.cli.shared.hub import Hub, Private
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.settings_options import settings_options
from sca.cli.train.output import LogLines, document, show
from sca.errors import UsageError

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.train.run.summary import TrainSummary

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
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the parameters, memory and time of the run, and train nothing."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder from its last checkpoint, if it has one.")
    ] = False,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            "--push-to-hub",
            metavar="REPO",
            help="Upload the best weights, or the last ones, to this hub repository.",
            show_default=False,
        ),
    ] = None,
    private: Private = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on a data set, so that it listens while it speaks.

    The result is a LoRA adapter for `sca live --engine qwen-omni`, in DIR/last. Ctrl-C ends the run after the step in
    progress with a checkpoint, from which --resume continues.
    """
    from sca.infer.engines.qwen_omni.loading.requirements import check_installed

    hub = Hub(push_to_hub, private)
    hub.check()
    check_installed("torch", "transformers", "accelerate", "peft", needed_by="sca train", extra="train")
    if check:
        _check(data, settings, json=json)
        return
    if dry_run:
        _dry_run(data, settings, json=json)
        return
    if output is None:
        raise UsageError("--output is missing", hint="give the folder of the run with -o DIR")
    summary = _run(data, output, settings, hub, resume=resume, quiet=quiet)
    if not summary.is_main:  # accelerate launch runs the command in several processes
        return
    url = None
    try:
        url = _push(summary, hub)
    finally:  # the weights exist even if the upload fails
        if json:
            emit_json({**document(summary), "hub": url})
        else:
            show(summary, url)


def _run(data: str, output: Path, settings: "Settings", hub: Hub, *, resume: bool, quiet: bool) -> "TrainSummary":
    from sca.train.run.hub import check_repository
    from sca.train.run.run import train as run
    from sca.train.run.stop import TrainingInterrupt

    if hub.push_to_hub is not None:
        check_repository(hub.push_to_hub)
    try:
        return run(data, output, settings, resume=resume, listener=None if quiet else LogLines())
    except TrainingInterrupt as interrupt:
        raise CommandInterrupt(interrupt.remains) from None


def _push(summary: "TrainSummary", hub: Hub) -> str | None:
    if hub.push_to_hub is None:
        return None
    from sca.train.run.hub import push_model

    return push_model(summary.best or summary.last, hub.push_to_hub, private=hub.private)


def _check(data: str, settings: "Settings", *, json: bool) -> None:
    """Check the model without training it."""
    from dataclasses import asdict

    from sca.train.run.check import check

    result = check(data, settings)
    if json:
        emit_json(asdict(result), "check")
    else:
        print_line(str(result))


def _dry_run(data: str, settings: "Settings", *, json: bool) -> None:
    """Compute what the run would need."""
    from sca.cli.train.dry_run import document as of_dry_run
    from sca.cli.train.dry_run import show as show_dry_run
    from sca.train.run.dry_run import dry_run

    found = dry_run(data, settings)
    if json:
        emit_json(of_dry_run(found), "plan")
    else:
        show_dry_run(found)
