"""A run over a file for measurements: an engine that reports a problem gives no numbers."""

from pathlib import Path

from typing_extensions import override

from sca.config import Settings
from sca.errors import UpstreamError
from sca.infer.engine import Engine
from sca.infer.frames import ControlFrame, ErrorFrame
from sca.infer.generation import GenerationOptions
from sca.infer.interfaces import BaseListener
from sca.infer.runners.file import FileReport, OutputFiles, run_file

__all__ = ["run_measured", "silence_of"]


class _Problems(BaseListener):
    def __init__(self) -> None:
        self.first: str | None = None

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, ErrorFrame) and self.first is None:
            self.first = frame.message


def run_measured(
    source: Path, output: Path, engine: Engine, settings: Settings, generation: GenerationOptions | None = None
) -> FileReport:
    """Run a session over a file in simulated time, in lockstep.

    Args:
        source: The input file.
        output: The output track.
        engine: The engine.
        settings: The settings of the session.
        generation: Options of the session; None for those of the engine.

    Raises:
        UpstreamError: The engine reported a problem, so its silence is not a result.
        ScaError: See `run_file`.
    """
    problems = _Problems()
    report = run_file(source, OutputFiles(output), engine, settings, listeners=[problems], generation=generation)
    if problems.first is not None:
        raise UpstreamError(problems.first)
    return report


def silence_of(engine: Engine) -> str:
    """Return why an engine that was silent in all items has no numbers."""
    return (
        f"the engine {engine.info.name} was silent in all items. It answers in the background: its steps must wait in "
        "lockstep (SessionConfig.pace)"
    )
