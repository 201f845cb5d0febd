"""`sca live --mic`: a session on a microphone and a loudspeaker."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sca.cli.live.options import DeviceOptions, RecordOptions
from sca.cli.live.summary import session_lines
from sca.cli.shared.console import print_note
from sca.errors import UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.engine import Engine
    from sca.infer.interfaces import SessionListener
    from sca.infer.runners.mic import MicOptions, MicSessionHandle

__all__ = ["mic_options", "run_on_mic", "summary"]


def mic_options(devices: DeviceOptions, records: RecordOptions) -> "MicOptions":
    """Convert the options of the command line. Raises `UsageError` for an unknown handling of echo."""
    from sca.infer.runners.mic import MicOptions

    match devices.echo:
        case None | "cancel" | "gate" | "none" as echo:
            return MicOptions(
                input_device=devices.input_device,
                output_device=devices.output_device,
                backend=devices.backend,
                echo=echo,
                buffer_ms=devices.buffer_ms,
                seconds=devices.seconds,
                record=records.record,
                transcript=records.transcript,
                timing=records.timing,
            )
    raise UsageError(f"--echo should be cancel, gate or none, got {devices.echo!r}")


def run_on_mic(
    options: "MicOptions", settings: "Settings", *, quiet: bool, engine: "Engine | None" = None
) -> tuple[Mapping[str, Any], bool]:
    """Run the session; return the contents of `timing.json`, and whether a signal ended it.

    Args:
        options: Devices and recordings.
        settings: The settings, which name the engine.
        quiet: Whether nothing is shown.
        engine: The engine, instead of that of the settings.
    """
    from sca.cli.live.screen import LiveScreen, PlainLog, screen
    from sca.infer.engines.choice import choose_engine
    from sca.infer.engines.registry import load_engine
    from sca.infer.interfaces import BaseListener
    from sca.infer.runners.mic import run_mic

    if engine is None:
        choice = choose_engine(settings)
        if not quiet:
            print_note(f"sca live: {choice.line}")
        engine = load_engine(choice.name, settings)
    interactive = not quiet and sys.stderr.isatty() and sys.stdout.isatty()
    greeting = f"Talk now, for example: “{engine.info.examples[0]}”" if engine.info.examples else "Talk now."
    view = LiveScreen(engine.info.name, time.monotonic, greeting) if interactive else PlainLog()
    if not interactive and not quiet:
        view.notify(f"{greeting} Ctrl-C ends the session.")

    @contextmanager
    def make_listener(session: "MicSessionHandle") -> Iterator["SessionListener"]:
        if isinstance(view, LiveScreen):
            with screen(view, session):
                yield view
        else:
            yield BaseListener() if quiet else view

    notify = (lambda line: None) if quiet else view.notify
    document, interrupted = run_mic(engine, settings, options, notify=notify, make_listener=make_listener)
    return document, interrupted


def summary(document: Mapping[str, Any]) -> str:
    """Format the result of a session in lines."""
    devices = document["devices"]
    interruptions = sum(turn["interrupted"] is not None for turn in document["turns"])
    lines = session_lines(document, len(document["turns"]), interruptions)
    source, sink = devices["input"], devices["output"]
    lines.append(
        f"dropped {document['dropped']} of {counted(document['chunks_in'], 'chunk')} and "
        f"{counted(source['dropped'], 'sample')} of the microphone; "
        f"{counted(sink['underruns'], 'gap')}, {source['clipped']} clipped, {source['non_finite']} without a number"
    )
    lines += [
        f"the {name} device was reopened {counted(device['reopened'], 'time')}"
        for name, device in (("input", source), ("output", sink))
        if device["reopened"]
    ]
    return "\n".join(lines) + "\n"
