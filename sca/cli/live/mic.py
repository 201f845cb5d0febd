"""`sca live --mic`: the same loop on a microphone and a loudspeaker."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.errors import UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.infer.interfaces import SessionListener
    from sca.infer.runners.mic import MicOptions, MicSessionHandle

__all__ = ["on_mic", "options_from", "summary"]

ListenerFactory = Callable[["MicSessionHandle"], AbstractContextManager["SessionListener"]]


def options_from(
    input_device: str | None,
    output_device: str | None,
    backend: str,
    echo: str | None,
    buffer_ms: int,
    seconds: float | None,
    record: Path | None,
    transcript: Path | None,
    timing: Path | None,
) -> "MicOptions":
    """The command line as options. Raises `UsageError` for an echo treatment that does not exist."""
    from sca.infer.runners.mic import MicOptions

    match echo:
        case None | "cancel" | "gate" | "none":
            pass
        case _:
            raise UsageError(f"--echo should be cancel, gate or none, got {echo!r}")
    return MicOptions(input_device, output_device, backend, echo, buffer_ms, seconds, record, transcript, timing)


def on_mic(options: "MicOptions", settings: "Settings", *, quiet: bool) -> dict[str, Any]:
    """Run the session and return what `timing.json` holds. Raises KeyboardInterrupt when a signal ended it."""
    from sca.cli.live.screen import LiveScreen, PlainLog, screen
    from sca.infer.engines.registry import load_engine
    from sca.infer.interfaces import BaseListener
    from sca.infer.runners.mic import run_mic

    engine = load_engine(settings.live.engine, settings)
    watched = not quiet and sys.stderr.isatty() and sys.stdout.isatty()
    view = LiveScreen(engine.info.name, time.monotonic) if watched else PlainLog()

    @contextmanager
    def watching(control: "MicSessionHandle") -> Iterator["SessionListener"]:
        if isinstance(view, LiveScreen):
            with screen(view, control):
                yield view
        else:
            yield BaseListener() if quiet else view

    notify = (lambda line: None) if quiet else view.notify
    document, signalled = run_mic(engine, settings, options, notify=notify, make_listener=watching)
    if signalled:
        raise KeyboardInterrupt
    return document


def summary(document: dict[str, Any]) -> str:
    """What a session on devices came to, in lines."""
    latency, devices = document["latency_ms"], document["devices"]
    cut = sum(turn["interrupted"] is not None for turn in document["turns"])
    lines = [
        f"heard {document['heard_s']:.2f} s, said {document['said_samples'] / 24_000:.2f} s in "
        f"{counted(len(document['turns']), 'turn')}"
        f" ({cut} interrupted)"
    ]
    if latency["count"]:
        lines.append(f"mouth to ear: p50 {latency['p50']:g} ms, p95 {latency['p95']:g} ms, p99 {latency['p99']:g} ms")
    heard, said = devices["input"], devices["output"]
    lines.append(
        f"dropped {document['dropped']} of {counted(document['chunks_in'], 'chunk')} and "
        f"{counted(heard['dropped'], 'sample')} of the microphone; "
        f"{counted(said['underruns'], 'gap')}, {heard['clipped']} clipped, {heard['non_finite']} without a number"
    )
    lines += [
        f"the {name} device was opened again {counted(d['reopened'], 'time')}"
        for name, d in (("input", heard), ("output", said))
        if d["reopened"]
    ]
    return "\n".join(lines) + "\n"
