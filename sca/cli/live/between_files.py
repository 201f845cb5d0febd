"""`sca live --file`: a session between files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from sca.cli.live.summary import session_lines
from sca.cli.shared.console import print_note
from sca.cli.shared.progress import AudioProgress, audio_progress
from sca.infer.frames import ControlFrame, ErrorFrame
from sca.infer.interfaces import BaseListener
from sca.textutil import counted
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import numpy as np

    from sca.config import Settings
    from sca.infer.runners.file import OutputFiles

__all__ = ["run_on_file", "summary"]


class _Listener(BaseListener):
    """Advances the progress display and collects notices of the engine."""

    def __init__(self, progress: AudioProgress) -> None:
        self._progress = progress
        self.notices: list[str] = []

    @override
    def on_input(self, samples: "np.ndarray", chunk_index: int) -> None:
        self._progress.advance(f"chunk {chunk_index}", len(samples) / HEARD_HZ)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, ErrorFrame) and not frame.fatal:
            self.notices.append(frame.message)


def run_on_file(
    file: Path, outputs: "OutputFiles", settings: "Settings", *, realtime: bool, quiet: bool
) -> Mapping[str, Any]:
    """Run the session and return the contents of `timing.json`, and why nothing was said, if nothing was."""
    from sca.audio.decode import probe
    from sca.infer.engines.choice import simple_engine
    from sca.infer.engines.registry import load_engine
    from sca.infer.runners.file import run_file
    from sca.infer.runners.silent_answer import silence_reason

    outputs.check(file)
    duration_s = probe(file).duration_s
    engine = load_engine(simple_engine(settings), settings)
    if not quiet:
        print_note(f"{engine.info.name}: {engine.info.summary}")
    with audio_progress("input chunks", quiet=quiet) as progress:
        listener = _Listener(progress)
        total = -(-int((duration_s or 0) * 1000) // int(settings.grid.chunk_s * 1000))
        progress.start(total, total)
        document = run_file(file, outputs, engine, settings, realtime=realtime, listeners=[listener])
    for notice in listener.notices:
        print_note(f"{engine.info.name}: {notice}")
    return {**document, "silent_because": silence_reason(file, document, engine.info, settings.live)}


def summary(document: Mapping[str, Any]) -> str:
    """Format the result of a session in lines."""
    lines = session_lines(document, document["turns_begun"], document["interruptions"])
    if document["silent_because"]:
        lines.append(f"nothing was said: {document['silent_because']}")
    if document["dropped"] or document["late"]:
        lines.append(
            f"dropped {document['dropped']} of {counted(document['chunks_in'], 'chunk')}, {document['late']} late"
        )
    if document["non_finite"] or document["clipped"]:
        lines.append(
            f"in the input: {counted(document['non_finite'], 'sample')} without a number (replaced by 0), "
            f"{document['clipped']} clipped"
        )
    return "\n".join(lines) + "\n"
