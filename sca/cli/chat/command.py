"""`sca chat`: talk to a language model, by typed text or by voice."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sca.cli.chat.options import AnswerOptions
from sca.cli.live.options import DeviceOptions
from sca.cli.shared.console import emit_json, print_line, print_text
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.settings_options import settings_options
from sca.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sca.config import Settings

__all__ = ["chat"]


@settings_options(
    "llm.base_url", "llm.model", "llm.system_prompt", "chat.voice", "recognition.engine", "live.turn_model"
)
def chat(
    *,
    settings: "Settings",
    offline: Annotated[
        bool, typer.Option("--offline", help="Use models on this machine only, whatever the settings name.")
    ] = False,
    answers: AnswerOptions,
    devices: DeviceOptions,
    list_parts: Annotated[bool, typer.Option("--list", help="List the parts and what is missing, and end.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Talk to a language model, by typed text or by voice.

    Each line of standard input is answered in text on standard output, with --output or --play also spoken. With --mic, a
    recognizer, the language model and a voice take turns with you, and you may interrupt.
    """
    if offline:
        settings = _without_network(settings)
    if list_parts:
        _list(settings, as_json=as_json)
    elif devices.mic:
        if answers.out is not None or answers.play:
            raise UsageError("--output and --play are for typed text, and --mic speaks on the loudspeaker")
        document, interrupted = _talk(settings, devices, quiet=quiet, as_json=as_json)
        if as_json:
            emit_json(document, "mic")
        if interrupted:
            raise typer.Exit(130)
    else:
        if any(v is not None for v in (devices.input_device, devices.echo, devices.seconds)):
            raise UsageError("--input-device, --echo and --seconds need --mic", hint="add --mic, or remove them")
        from sca.cli.chat.typed import run_typed

        document = run_typed(settings, answers, devices, quiet=quiet, as_json=as_json)
        if as_json:
            emit_json(document)


def _without_network(settings: "Settings") -> "Settings":
    from sca.infer.conversation.local import offline_settings

    if settings.origin("llm.base_url").startswith("command line"):
        raise UsageError("--offline and --llm-url contradict each other", hint="remove one of them")
    return offline_settings(settings)


def _talk(
    settings: "Settings", devices: DeviceOptions, *, quiet: bool, as_json: bool
) -> "tuple[Mapping[str, Any], bool]":
    """Run a conversation on the microphone and print its summary; return it, and whether a signal ended it."""
    from sca.cli.live.mic import mic_options, run_on_mic, summary
    from sca.cli.live.options import RecordOptions
    from sca.infer.engines.cascade.engine import load

    engine = load(settings)
    try:
        document, interrupted = run_on_mic(mic_options(devices, RecordOptions()), settings, quiet=quiet, engine=engine)
    finally:
        engine.close()
    if not as_json:
        line = engine.latency.line()
        print_text(summary(document) + (f"{line}\n" if line else ""))
    return {**document, "latency_by_part_ms": engine.latency.document()}, interrupted


def _list(settings: "Settings", *, as_json: bool) -> None:
    from dataclasses import asdict

    from sca.infer.conversation.local import part_statuses

    statuses = list(part_statuses(settings))
    if as_json:
        emit_json([asdict(status) for status in statuses], "list")
        return
    for status in statuses:
        found = "ok" if status.problem is None else f"missing: {status.problem}"
        print_line(f"{status.part:<15} {status.name:<24} {found}")
        if status.fix:
            print_line(f"{'':<15} {status.fix}")
